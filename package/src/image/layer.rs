//! The only layer: what is in the image, and whose it is.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tar::EntryType;

use crate::elf::Binary;
use crate::error::Error;
use crate::files::{self, Entry};

/// "nonroot", as other images from scratch call theirs.
pub(super) const USER: u64 = 65532;
pub(super) const PROGRAM: &str = "usr/local/bin/registry-proxy";
/// A volume that is mounted here for the first time takes its owner over.
pub(super) const CACHE: &str = "var/cache/registry-proxy";

const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";
const PASSWD: &str = "root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// Everything in the image, in order, uncompressed.
pub(super) fn tar(binary: &Binary, licence: &[u8]) -> Result<Vec<u8>, Error> {
    let folder = |name: &str| Entry { name: format!("{name}/"), mode: 0o755, bytes: Vec::new() };
    let mut tar = tar::Builder::new(Vec::new());
    for entry in [
        folder("etc"),
        Entry::text("etc/group", GROUP),
        Entry::text("etc/passwd", PASSWD),
        folder("etc/ssl"),
        folder("etc/ssl/certs"),
        Entry::text(ROOTS, roots()),
    ] {
        add(&mut tar, &entry, 0)?;
    }
    // Programs that make temporary files expect this, with the sticky bit.
    add(&mut tar, &Entry { name: "tmp/".to_owned(), mode: 0o1777, bytes: Vec::new() }, 0)?;
    for entry in [
        folder("usr"),
        folder("usr/local"),
        folder("usr/local/bin"),
        Entry::program(PROGRAM, &binary.bytes),
        folder("usr/share"),
        folder("usr/share/licenses"),
        folder("usr/share/licenses/registry-proxy"),
        Entry::text("usr/share/licenses/registry-proxy/LICENSE", licence),
        folder("var"),
        folder("var/cache"),
    ] {
        add(&mut tar, &entry, 0)?;
    }
    add(&mut tar, &Entry { mode: 0o700, ..folder(CACHE) }, USER)?;
    tar.into_inner().map_err(|error| Error::io("the layer", error))
}

fn add(tar: &mut tar::Builder<Vec<u8>>, entry: &Entry, owner: u64) -> Result<(), Error> {
    let kind = if entry.name.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
    files::add(tar, entry, kind, owner)
}

/// Mozilla's certificates, as the program has them built in as well. In a file they can be replaced.
fn roots() -> String {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().fold(String::new(), |mut text, certificate| {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in BASE64_STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
        text
    })
}

/// Seconds since 1970 as RFC 3339 has it.
pub(super) fn timestamp(seconds: u64) -> String {
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let mut text = String::new();
    let (hour, minute) = (second / 3600, second / 60 % 60);
    // A String takes everything.
    let _ = write!(text, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}Z", days + 1, second % 60);
    text
}
