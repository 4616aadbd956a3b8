//! What the Linux archive has for shells and for `man`.

use std::fs::{self, File};

use flate2::read::GzDecoder;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Program, Tool};
use registry_proxy_outer::{Context, Outcome};

use crate::{DEADLINE, package};

const TARGET: &str = "registry-proxy-x86_64";

#[test]
fn the_archives_completions_are_those_that_the_binary_prints_and_its_man_pages_have_no_fault() -> Outcome {
    let folder = tempfile::tempdir()?;
    let archive = File::open(package(&format!("linux/{TARGET}.tar.gz"))?)?;
    tar::Archive::new(GzDecoder::new(archive)).unpack(folder.path())?;
    let inside = folder.path().join(TARGET);
    for (shell, name) in [
        ("bash", "registry-proxy.bash"),
        ("zsh", "_registry-proxy"),
        ("fish", "registry-proxy.fish"),
        ("powershell", "registry-proxy.ps1"),
        ("elvish", "registry-proxy.elv"),
    ] {
        let program = Program::at("registry-proxy", &inside.join("registry-proxy"))?;
        let printed = program.arguments(["completions", shell]).run(DEADLINE)?.success()?;
        equal(shell, &fs::read_to_string(inside.join("completions").join(name))?, &printed)?;
    }
    let mut pages = Vec::new();
    for entry in fs::read_dir(inside.join("man/man1"))? {
        let path = entry?.path();
        // Its exit status is that of the worst thing it found; of style it has opinions only.
        Program::tool(Tool::MANDOC)?
            .arguments(["-T", "lint", "-W", "warning"])
            .argument(&path)
            .run(DEADLINE)?
            .success()?;
        pages.push(path.file_name().context("a name")?.to_string_lossy().into_owned());
    }
    for page in ["registry-proxy.1", "registry-proxy-client.1", "registry-proxy-cache-purge.1"] {
        ensure(pages.iter().any(|name| name == page), format_args!("no {page} in {pages:?}"))?;
    }
    Ok(())
}
