//! `registry-proxy cache export`: writes images of the cache into one archive. A file is there whole or not at all.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use registry_proxy_core::Config;
use registry_proxy_core::bundle::{
    BundleImage, Disposition, INDEX_FILE, LAYOUT_FILE, LAYOUT_JSON, LayoutReader, PlatformFilter, blob_path,
    index_json,
};
use registry_proxy_core::digest::{Digest, Hasher};
use serde::Serialize;
use tar::{Builder, Header};

use super::access::{CacheAccess, damaged};
use super::archive::BLOCK;
use super::plan::{CarriedContent, ExportPlan, LeftOut, Planner};
use super::show::Show;
use super::source::BundleSource;
use crate::human::size;

/// What is exported, and how.
pub(super) struct Export<'a> {
    pub(super) access: &'a CacheAccess,
    pub(super) config: &'a Config,
    pub(super) images: Vec<BundleImage>,
    pub(super) platforms: PlatformFilter,
    /// Earlier bundles: what they have is on the other side.
    pub(super) since: Vec<String>,
    pub(super) show: &'a Show,
}

/// A line of what an export tells.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ExportEvent<'a> {
    LeftOut(&'a LeftOut),
    /// An image that the bundle names.
    Image {
        name: &'a str,
        digest: &'a Digest,
    },
    /// The end.
    Exported(&'a ExportTotals),
}

/// What an export has written.
#[derive(Debug, Serialize)]
struct ExportTotals {
    images: usize,
    manifests: usize,
    blobs: usize,
    /// Of manifests and blobs.
    bytes: u64,
}

impl Export<'_> {
    /// Writes the archive to a file; `-`: to standard output.
    pub(super) async fn run(self, output: &str) -> Result<(), String> {
        if output == "-" && io::stdout().is_terminal() {
            return Err("standard output is a terminal: write to a file, or into a pipe".to_owned());
        }
        let plan = self.plan().await?;
        let wrong = |error: io::Error| format!("{output}: {error}");
        let is_place = |path: &Path| fs::metadata(path).is_ok_and(|found| !found.is_file());
        if output == "-" {
            self.write(&plan, io::stdout()).await?;
        } else if is_place(Path::new(output)) {
            let device = OpenOptions::new().write(true).open(output).map_err(wrong)?;
            self.write(&plan, device).await?;
        } else {
            let unfinished = UnfinishedFile::create(Path::new(output)).map_err(wrong)?;
            let file = unfinished.file.try_clone().map_err(wrong)?;
            self.write(&plan, file).await?;
            unfinished.finish().map_err(wrong)?;
        }
        self.tell(&plan);
        Ok(())
    }

    async fn plan(&self) -> Result<ExportPlan, String> {
        let mut before = HashSet::new();
        for place in &self.since {
            before.extend(blobs_of(place).map_err(|what| format!("--since {place}: {what}"))?);
        }
        let (access, config, platforms) = (self.access, self.config, &self.platforms);
        let planner = Planner { access, config, platforms, before: &before };
        let plan = planner.plan(self.images.clone()).await?;
        if plan.missing.is_empty() {
            return Ok(plan);
        }
        let mut text = "not everything is in the cache:\n".to_owned();
        let mut names = Vec::new();
        for (image, what) in &plan.missing {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {image}: {what}");
            names.push(image.to_string());
        }
        Err(text + "fetch these first: registry-proxy warm " + &names.join(" "))
    }

    async fn write(&self, plan: &ExportPlan, output: impl Write) -> Result<(), String> {
        let wrong = |error: io::Error| format!("the bundle cannot be written: {error}");
        let mut output = BufWriter::new(output);
        for (name, text) in [(LAYOUT_FILE, LAYOUT_JSON), (INDEX_FILE, &index_json(&plan.images))] {
            let bytes = text.len() as u64;
            let entry = [&*header_of(name, bytes).map_err(wrong)?, text.as_bytes(), padding_of(bytes)].concat();
            output.write_all(&entry).map_err(wrong)?;
        }
        let total = plan.contents.iter().fold(0, |sum: u64, content| sum.saturating_add(content.bytes));
        let mut done = 0;
        for CarriedContent { is_manifest, digest, bytes } in &plan.contents {
            let found = self.access.content(*is_manifest, digest).await?;
            let (length, mut pieces) = found.ok_or_else(|| gone(digest))?;
            if length != *bytes {
                return Err(damaged(digest));
            }
            let mut hasher = Hasher::new(digest).ok_or_else(|| damaged(digest))?;
            output.write_all(&header_of(&blob_path(digest), length).map_err(wrong)?).map_err(wrong)?;
            let mut written: u64 = 0;
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|what| format!("{digest} cannot be read to its end: {what}"))?;
                hasher.update(&piece);
                written = written.saturating_add(piece.len() as u64);
                output.write_all(&piece).map_err(wrong)?;
                self.show.progress(done + written, Some(total));
            }
            if written != length || !hasher.is(digest) {
                return Err(damaged(digest));
            }
            output.write_all(padding_of(length)).map_err(wrong)?;
            done += length;
        }
        // Only what is complete gets the end mark.
        output.write_all(&[0; 2 * BLOCK]).and_then(|()| output.flush()).map_err(wrong)
    }

    fn tell(&self, plan: &ExportPlan) {
        for image in &plan.images {
            let (name, digest) = (&*image.image.to_string(), &image.digest);
            self.show.line(&ExportEvent::Image { name, digest }, &format!("{name}  {digest}\n"));
            let left_out: Vec<&LeftOut> = plan.left_out.iter().filter(|left_out| left_out.image == name).collect();
            let platforms: Vec<&str> = left_out.iter().map(|left_out| &*left_out.platform).collect();
            if let Some((last, others)) = left_out.split_last() {
                for left_out in others {
                    self.show.line(&ExportEvent::LeftOut(left_out), "");
                }
                let text = format!("  left out, not complete in the cache: {}\n", platforms.join(", "));
                self.show.line(&ExportEvent::LeftOut(last), &text);
            }
        }
        let manifests = plan.contents.iter().filter(|content| content.is_manifest).count();
        let totals = ExportTotals {
            images: plan.images.len(),
            manifests,
            blobs: plan.contents.len() - manifests,
            bytes: plan.contents.iter().fold(0, |sum, content| content.bytes.saturating_add(sum)),
        };
        let ExportTotals { images, blobs, bytes, .. } = totals;
        let text = format!("exported: {images} images, {manifests} manifests, {blobs} layers, {}\n", size(bytes));
        self.show.line(&ExportEvent::Exported(&totals), &text);
    }
}

fn gone(digest: &Digest) -> String {
    format!("{digest} is not in the cache any more: it was evicted or purged while the bundle was written")
}

/// The blobs and manifests that a bundle has.
fn blobs_of(place: &str) -> Result<Vec<Digest>, String> {
    let (mut source, _) = BundleSource::open(place)?;
    let mut reader = LayoutReader::new(u64::MAX);
    let mut digests = Vec::new();
    while let Some(entry) = source.next()? {
        match reader.entry(&entry).map_err(|refusal| refusal.to_string())? {
            Disposition::Keep(digest) => digests.push(digest),
            Disposition::Skip | Disposition::Read(_) => {}
        }
    }
    Ok(digests)
}

/// The header of a file, of the extended kind where the name needs one.
fn header_of(name: &str, bytes: u64) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header, name, io::empty())?;
    Ok(archive.get_ref().clone())
}

/// What stands behind the bytes of an entry.
fn padding_of(bytes: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(bytes % BLOCK as u64).unwrap_or(0);
    ZEROS.get(..(BLOCK - over) % BLOCK).unwrap_or_default()
}

/// A file that is being written beside the one that it will replace.
struct UnfinishedFile {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl UnfinishedFile {
    fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".unfinished-{}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok(Self { file, temporary, path: path.to_owned() })
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.path)?;
        // Nothing is left to be removed.
        self.temporary = PathBuf::new();
        Ok(())
    }
}

impl Drop for UnfinishedFile {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
