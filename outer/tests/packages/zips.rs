//! The zips, read by Python, which has no part in writing them, and started the way the platforms do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use registry_proxy_outer::Outcome;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Program, Tool};
use registry_proxy_outer::proxy::free_port;
use tempfile::TempDir;

use crate::{DEADLINE, health, package};

/// Extracts with the modes, as the platforms do, and says how each file is called.
const EXTRACT: &str = "
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    assert archive.testzip() is None
    for entry in archive.infolist():
        path = archive.extract(entry, sys.argv[2])
        os.chmod(path, entry.external_attr >> 16 & 0o7777)
        print(entry.filename, '%o' % (entry.external_attr >> 16), *entry.date_time)
";

fn extract(name: &str) -> Outcome<(TempDir, String)> {
    let folder = tempfile::tempdir()?;
    let program = Program::tool(Tool::PYTHON)?.arguments(["-c", EXTRACT]).argument(package(name)?);
    let listed = program.argument(folder.path()).run(DEADLINE)?.success()?;
    Ok((folder, listed))
}

#[test]
fn lambda_finds_its_bootstrap() -> Outcome {
    let (folder, listed) = extract("aws/registry-proxy.zip")?;
    let expected = "LICENSE 100644 1980 1 1 0 0 0\nbootstrap 100755 1980 1 1 0 0 0\n";
    equal("entries", &listed.as_str(), &expected)?;
    let said = Program::at("bootstrap", &folder.path().join("bootstrap"))?.argument("--version");
    ensure(said.run(DEADLINE)?.success()?.starts_with("registry-proxy "), "no version")?;
    ensure(package("aws/template.yaml")?.is_file(), "no template")
}

#[test]
fn the_console_of_aliyun_gets_a_zip_with_the_program() -> Outcome {
    let (folder, listed) = extract("aliyun/registry-proxy.zip")?;
    let expected = "LICENSE 100644 1980 1 1 0 0 0\nregistry-proxy 100755 1980 1 1 0 0 0\n";
    equal("entries", &listed.as_str(), &expected)?;
    let said = Program::at("registry-proxy", &folder.path().join("registry-proxy"))?.argument("--version");
    ensure(said.run(DEADLINE)?.success()?.starts_with("registry-proxy "), "no version")
}

#[test]
fn scf_starts_its_script_and_is_answered_on_its_port() -> Outcome {
    let (folder, listed) = extract("tencent/registry-proxy.zip")?;
    for name in ["registry-proxy", "scf_bootstrap"] {
        ensure(listed.contains(&format!("{name} 100755")), &listed)?;
    }
    // 9000 may be taken on a machine of tests.
    let port = free_port()?;
    let script = folder.path().join("scf_bootstrap");
    let text = fs::read_to_string(&script)?;
    ensure(text.contains("PORT=9000"), &text)?;
    fs::write(&script, text.replace("PORT=9000", &format!("PORT={port}")))?;
    started_in(folder.path(), &script)
}

fn started_in(folder: &Path, script: &Path) -> Outcome {
    ensure(fs::metadata(script)?.permissions().mode() & 0o111 != 0, "it cannot be started")?;
    let logs = tempfile::tempdir()?;
    let go = format!("cd {} && exec {}", folder.display(), script.display());
    let program = Program::tool(Tool::SHELL)?.arguments(["-c", &go]);
    let mut service = program.variable("REGISTRY_PROXY_CACHE__STORE", "none").start(&logs.path().join("log"))?;
    health(&mut service).map(drop)
}
