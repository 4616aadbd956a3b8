//! What a machine must have, and how it gets it.

mod packages;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Test;
use crate::run::Shown;

/// The target that the core is compiled for, to prove that it needs no operating system.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// A program and the Debian package that has it.
struct Tool {
    name: &'static str,
    package: &'static str,
}

/// `ring` brings C and assembler.
const INNER_TOOLS: [Tool; 1] = [Tool { name: "cc", package: "build-essential" }];

/// The same list as `REQUIRED_TOOLS` of the outer tests, which fail one by one where this fails once.
const OUTER_TOOLS: [Tool; 9] = [
    Tool { name: "containerd", package: "containerd" },
    Tool { name: "ctr", package: "containerd" },
    Tool { name: "docker", package: "docker.io" },
    Tool { name: "dockerd", package: "docker.io" },
    Tool { name: "docker-registry", package: "docker-registry" },
    Tool { name: "podman", package: "podman" },
    Tool { name: "runc", package: "runc" },
    Tool { name: "setpriv", package: "util-linux" },
    Tool { name: "skopeo", package: "skopeo" },
];

/// Fails with the names of what is missing, unless it may be and has been installed.
pub(crate) fn prepare(arguments: &Test) -> Result<(), String> {
    if arguments.install {
        install(arguments)?;
    }
    let missing = missing(arguments);
    let mut lines: Vec<String> =
        missing.iter().map(|tool| format!("  {:<16} Debian package {}", tool.name, tool.package)).collect();
    if !has_wasm_target() {
        lines.push(format!("  {WASM}: rustup target add {WASM}"));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let advice = if arguments.install {
        "Installing did not help; see above."
    } else {
        "`cargo xtask test --install` installs it; --inner-only needs much less."
    };
    Err(format!("this machine lacks\n{}\n{advice}", lines.join("\n")))
}

/// Whether we may do what only root may.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn install(arguments: &Test) -> Result<(), String> {
    let mut names: Vec<&str> = missing(arguments).iter().map(|tool| tool.package).collect();
    names.dedup();
    if !names.is_empty() {
        eprintln!("These Debian packages will be installed: {}", names.join(" "));
        packages::install(&names)?;
    }
    if !has_wasm_target() {
        eprintln!("This Rust target will be installed: {WASM}");
        Shown::new("rustup", &["target", "add", WASM]).run()?;
    }
    Ok(())
}

fn missing(arguments: &Test) -> Vec<Tool> {
    let outer = OUTER_TOOLS.into_iter().filter(|_| arguments.outer);
    INNER_TOOLS.into_iter().chain(outer).filter(|tool| find(tool.name).is_none()).collect()
}

/// Looks where ordinary users' shells do not look, too: daemons are in sbin.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Asks the compiler, because not every Rust comes from rustup.
fn has_wasm_target() -> bool {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output();
    output.is_ok_and(|output| {
        let root = String::from_utf8_lossy(&output.stdout);
        Path::new(root.trim()).join("lib/rustlib").join(WASM).is_dir()
    })
}
