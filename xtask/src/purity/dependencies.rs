//! What the core may not depend on, not even through something else.

use crate::machine::WASM;
use crate::run::cargo;

/// A crate and the reason why it is not for the core.
const BANNED: [(&str, &str); 22] = [
    ("tokio", "a runtime: the platform brings its own"),
    ("async-std", "a runtime: the platform brings its own"),
    ("smol", "a runtime: the platform brings its own"),
    ("async-io", "sockets and timers of one operating system"),
    ("mio", "sockets of one operating system"),
    ("socket2", "sockets of one operating system"),
    ("libc", "system calls"),
    ("rustix", "system calls"),
    ("windows-sys", "system calls"),
    ("hyper", "speaks to sockets; the core knows the types of `http` only"),
    ("hyper-util", "speaks to sockets; the core knows the types of `http` only"),
    ("reqwest", "speaks to sockets; upstreams are reached through the platform"),
    ("rustls", "TLS belongs to the platform"),
    ("openssl", "TLS belongs to the platform"),
    ("native-tls", "TLS belongs to the platform"),
    ("ring", "C and assembler, which a wasm target may lack"),
    ("aws-lc-sys", "C and assembler, which a wasm target may lack"),
    ("getrandom", "randomness comes through the platform, so that tests can repeat it"),
    ("rand", "randomness comes through the platform, so that tests can repeat it"),
    ("chrono", "reads the clock; time comes through the platform"),
    ("js-sys", "ties the core to one host of wasm"),
    ("wasm-bindgen", "ties the core to one host of wasm"),
];

/// A crate, the beginning of the versions that are not for the core, and the reason.
const OUTDATED: [(&str, &str, &str); 1] =
    [("sha2", "v0.10.", "hashes in software on aarch64; 0.11 takes the processor's own instructions")];

pub(super) fn faults() -> Result<Vec<String>, String> {
    let package = "registry-proxy-core";
    let tree = cargo(&["tree", "-p", package, "-e", "normal", "--target", WASM, "--prefix", "none"]).output()?;
    if !tree.starts_with(package) {
        return Err(format!("cargo tree says nothing of {package}:\n{tree}"));
    }
    let has = |name: &str| tree.lines().any(|line| line.split(' ').next() == Some(name));
    let is_outdated =
        |name: &str, version: &str| tree.lines().any(|line| line.starts_with(&format!("{name} {version}")));
    let banned = BANNED.into_iter().filter(|(name, _)| has(name)).map(|(name, reason)| (name.to_owned(), reason));
    let outdated = OUTDATED
        .into_iter()
        .filter(|(name, version, _)| is_outdated(name, version))
        .map(|(name, version, reason)| (format!("{name} {version}x"), reason));
    Ok(banned
        .chain(outdated)
        .map(|(name, reason)| {
            format!("depends on {name}: {reason} (cargo tree -p {package} -e normal --target {WASM})")
        })
        .collect())
}
