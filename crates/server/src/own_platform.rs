//! The platform of this machine, as image indexes call it.

/// As a pull on this machine would choose it: Linux, also where the machine runs another system.
pub(crate) fn own_platform() -> String {
    platform_of(std::env::consts::ARCH)
}

/// The platform of a machine that Rust calls so.
pub(crate) fn platform_of(machine: &str) -> String {
    // As image indexes call it: the names of Go.
    let architecture = match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    format!("linux/{architecture}")
}
