//! Records the first minutes with the product in a terminal: what is typed, and what is shown. `cargo xtask docs` makes the
//! picture of the README from it.
//!
//! `PROXY_UNDER_TEST` names the binary, the first argument the file to write. A registry of the tests stands in for Docker Hub:
//! one variable of the environment says so, and nothing that is typed does.

use std::env;
use std::fs;
use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::process::{Program, Tool, keep_logs_quiet};
use registry_proxy_outer::registry::{Registry, Seed};
use registry_proxy_outer::{Context, Outcome};

const IMAGE: &str = "library/alpine:3.20";
const DEADLINE: Duration = Duration::from_secs(30);
/// What is typed in another terminal once the server runs.
const COMMANDS: [&str; 4] = [
    "registry-proxy client docker",
    "skopeo copy --src-tls-verify=false docker://127.0.0.1:3000/library/alpine:3.20 dir:alpine",
    "curl -sI http://127.0.0.1:3000/v2/library/alpine/manifests/3.20",
    "registry-proxy cache list",
];
const HEAD: &str = "\
# What a terminal showed; a registry of the tests stands in for Docker Hub. Recorded with the binary in
# PROXY_UNDER_TEST: cargo run -p registry-proxy-outer --example first_minutes -- docs/images/first-minutes.txt
";

fn main() -> Outcome {
    keep_logs_quiet();
    let target = env::args().nth(1).context("expected the file to write")?;
    let binary = env::var("PROXY_UNDER_TEST").context("PROXY_UNDER_TEST names no binary")?;
    let home = tempfile::tempdir()?;
    // The binary has the name that people type.
    let programs = home.path().join("bin");
    fs::create_dir(&programs)?;
    std::os::unix::fs::symlink(Path::new(&binary).canonicalize()?, programs.join("registry-proxy"))?;
    let registry = Registry::fresh()?;
    let seed = Seed::prepare(home.path())?;
    Skopeo::new()?.push(&seed.layout("sample"), &format!("{}/{IMAGE}", registry.address()), &[])?;
    let upstream = format!(
        "[{{ name = 'docker.io', urls = ['http://{}'], insecure = true, default = true }}]",
        registry.address()
    );
    let path =
        env::join_paths([programs].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())))?;
    let shell = |words: &[&str]| -> Outcome<Program> {
        let program =
            Program::tool(Tool::SHELL)?.arguments(["-c", "cd \"$0\" && exec \"$@\""]).argument(home.path());
        let program = program.arguments(words).variable("HOME", home.path()).variable("PATH", &path);
        // Root's cache would be the machine's.
        let program = program.variable("XDG_CACHE_HOME", home.path().join(".cache"));
        Ok(program.variable("REGISTRY_PROXY_UPSTREAM", &upstream))
    };
    // At a terminal the server says what to do with it; `script` is one. What runs in it is a session of its own, and is not
    // ended with it.
    let log = home.path().join("log");
    let start = "echo $$ > process && exec registry-proxy";
    let terminal = ["script", "--quiet", "--flush", "--command", start, "/dev/null"];
    let mut server = shell(&terminal)?.start(&log)?;
    let recorded = server.wait_for_log("listening on http").and_then(|_| {
        let mut text = format!("{HEAD}$ registry-proxy\n{}", shown(&server.log()));
        for command in COMMANDS {
            let said = shell(&["sh", "-c", &format!("exec 2>&1; {command}")])?.run(DEADLINE)?.output;
            text.extend(["\n$ ", command, "\n", shown(&said).as_str()]);
        }
        Ok(text)
    });
    shell(&["sh", "-c", "kill \"$(cat process)\""])?.run(DEADLINE)?;
    server.wait(DEADLINE)?;
    let text = recorded?;
    let text = text.replace(&home.path().display().to_string(), "/home/you");
    fs::write(&target, text).context(target)
}

/// As it stands on the screen, without colours: a terminal ends lines by two characters, and nothing is behind the last line.
fn shown(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let plain = pieces.fold(first, |plain, piece| plain + piece.split_once('m').map_or("", |(_, rest)| rest));
    let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned() + "\n"
}
