//! What is passed on, where it is to run: in nothing at all, in the zips, in engines, between other people's proxies.
//!
//! `PACKAGES_UNDER_TEST` names the folder that `cargo xtask package` filled; `cargo xtask test` does that.

mod fronts;
mod image;
mod nginx_only;
mod shell;
mod zips;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_proxy_outer::failure::{ensure, equal};
pub(crate) use registry_proxy_outer::packaged::package;
use registry_proxy_outer::process::{Program, Service, Tool, wait_until};
use registry_proxy_outer::{Context, Outcome, http};

pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

/// Waits until something listens and is well, as its log and its own page have it.
pub(crate) fn health(service: &mut Service) -> Outcome<String> {
    let address = service.wait_for_log("listening on http://")?;
    let address = address.split_whitespace().next().context("no address")?.to_owned();
    let client = http::Client::new()?;
    wait_until("the proxy should be healthy", DEADLINE, || {
        let answer = client.get(format!("http://{address}/healthz")).ask();
        Ok(answer.ok().filter(|answer| answer.status == 200))
    })?;
    Ok(address)
}

/// A folder with the binary and nothing else: no C library, no loader, no certificates, no /etc, no /proc, no /tmp.
fn bare_room() -> Outcome<tempfile::TempDir> {
    let room = tempfile::tempdir()?;
    fs::copy(package("linux/registry-proxy-x86_64")?, room.path().join("registry-proxy"))?;
    Ok(room)
}

fn in_room(room: &Path) -> Outcome<Program> {
    Ok(Program::tool(Tool::CHROOT)?.argument(room).argument("/registry-proxy"))
}

#[test]
fn the_binary_runs_where_there_is_nothing_but_it() -> Outcome {
    let room = bare_room()?;
    let version = in_room(room.path())?.argument("--version").run(DEADLINE)?.success()?;
    ensure(version.starts_with("registry-proxy "), version)?;
    let checked = in_room(room.path())?.argument("check").run(DEADLINE)?.success()?;
    ensure(checked.contains("docker.io"), checked)
}

#[test]
fn it_serves_where_there_is_nothing_but_it() -> Outcome {
    let (room, logs) = (bare_room()?, tempfile::tempdir()?);
    let program = in_room(room.path())?.arguments(["--listen", "127.0.0.1:0"]);
    let mut service = program.variable("REGISTRY_PROXY_CACHE__STORE", "none").start(&logs.path().join("log"))?;
    health(&mut service).map(drop)
}

#[test]
fn it_asks_for_no_library_and_no_loader() -> Outcome {
    let binary = package("linux/registry-proxy-x86_64")?;
    let headers =
        Program::tool(Tool::READELF)?.arguments(["-lW", "-dW"]).argument(&binary).run(DEADLINE)?.success()?;
    for word in ["INTERP", "(NEEDED)"] {
        ensure(!headers.contains(word), format_args!("{word}:\n{headers}"))?;
    }
    ensure(headers.contains("LOAD"), headers)
}

#[test]
fn it_does_not_say_where_it_was_built() -> Outcome {
    let binary = fs::read(package("linux/registry-proxy-x86_64")?)?;
    let home = env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    for place in [format!("{home}/.cargo"), format!("{home}/.rustup"), format!("{}/", workspace.display())] {
        let found = binary.windows(place.len()).any(|window| window == place.as_bytes());
        ensure(!found, format_args!("{place} is in the binary"))?;
    }
    Ok(())
}

#[test]
fn packing_again_gives_the_same_bytes() -> Outcome {
    let again = tempfile::tempdir()?;
    let binary = package("linux/registry-proxy-x86_64")?;
    for (platform, name) in [
        ("linux", "linux/registry-proxy-x86_64.tar.gz"),
        ("aws", "aws/registry-proxy.zip"),
        ("tencent", "tencent/registry-proxy.zip"),
        ("container", "container/registry-proxy.oci.tar"),
    ] {
        let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
        let status = std::process::Command::new(cargo)
            .args(["run", "--quiet", "-p", "registry-proxy-package", "--", platform, "--out"])
            .arg(again.path())
            .arg("--binary")
            .arg(&binary)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .output()?;
        ensure(status.status.success(), String::from_utf8_lossy(&status.stderr))?;
        ensure(fs::read(package(name)?)? == fs::read(again.path().join(name))?, format_args!("{name} differs"))?;
    }
    Ok(())
}

#[test]
fn the_folder_for_aliyun_is_all_that_its_tool_needs() -> Outcome {
    ensure(package("aliyun/s.yaml")?.is_file(), "no s.yaml")?;
    let program = package("aliyun/code/registry-proxy")?;
    equal("mode", &(fs::metadata(&program)?.permissions().mode() & 0o777), &0o755)?;
    let listed: Vec<_> = fs::read_dir(package("aliyun/code")?)?.collect::<Result<_, _>>()?;
    equal("files", &listed.len(), &1)
}
