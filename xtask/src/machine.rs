//! What a machine must have, and how it gets it.

pub(crate) mod buckets;
pub(crate) mod crates;
pub(crate) mod npm;
mod packages;
pub(crate) mod pypi;
pub(crate) mod target;

use std::env;
use std::path::PathBuf;
use std::process::Command;

use self::npm::Npm;
use self::pypi::PyPi;
use self::target::Target;
use crate::arguments::Test;
use crate::run::Shown;

/// The target that the core is compiled for, to prove that it needs no operating system.
pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// A program, or a file that is no program, and the Debian package that has it.
struct Tool {
    name: &'static str,
    package: &'static str,
}

/// `ring` brings C and assembler.
const INNER_TOOLS: [Tool; 1] = [Tool { name: "cc", package: "build-essential" }];

/// The same list as `REQUIRED_TOOLS` of the outer tests, which fail one by one where this fails once.
const OUTER_TOOLS: [Tool; 25] = [
    Tool { name: "chromium", package: "chromium" },
    Tool { name: "chroot", package: "coreutils" },
    Tool { name: "containerd", package: "containerd" },
    Tool { name: "ctr", package: "containerd" },
    Tool { name: "docker", package: "docker.io" },
    Tool { name: "dockerd", package: "docker.io" },
    Tool { name: "docker-registry", package: "docker-registry" },
    Tool { name: "haproxy", package: "haproxy" },
    Tool { name: "mandoc", package: "mandoc" },
    Tool { name: "mount", package: "mount" },
    Tool { name: "nginx", package: "nginx-light" },
    Tool { name: "npm", package: "npm" },
    Tool { name: "podman", package: "podman" },
    Tool { name: "prometheus", package: "prometheus" },
    Tool { name: "promtool", package: "prometheus" },
    Tool { name: "python3", package: "python3" },
    Tool { name: "readelf", package: "binutils" },
    Tool { name: "runc", package: "runc" },
    Tool { name: "setpriv", package: "util-linux" },
    Tool { name: "sh", package: "dash" },
    Tool { name: "skopeo", package: "skopeo" },
    Tool { name: "squid", package: "squid" },
    Tool { name: "tinyproxy", package: "tinyproxy" },
    Tool { name: "unshare", package: "util-linux" },
    Tool { name: "varnishd", package: "varnish" },
];

/// What the benchmark measures with and against.
const BENCH_TOOLS: [Tool; 5] = [
    Tool { name: "docker-registry", package: "docker-registry" },
    Tool { name: "nginx", package: "nginx-light" },
    Tool { name: "node", package: "nodejs" },
    Tool { name: "npm", package: "npm" },
    Tool { name: "wrk", package: "wrk" },
];

/// What a task needs of the machine.
struct Needs {
    tools: Vec<Tool>,
    targets: Vec<&'static str>,
    npm: &'static [Npm],
    pypi: &'static [PyPi],
}

/// Fails with the names of what the tests lack, unless it may be and has been installed.
pub(crate) fn prepare(arguments: &Test) -> Result<(), String> {
    let outer = OUTER_TOOLS.into_iter().filter(|_| arguments.outer());
    let tools = INNER_TOOLS.into_iter().chain(outer).collect();
    let mut needs = Needs { tools, targets: vec![WASM], npm: &[], pypi: &[] };
    if arguments.outer() {
        needs.npm = &[npm::WORKERS, npm::PAGE];
        needs.pypi = pypi::OUTER;
        // What users run is what the outer tests run.
        needs.targets.push(Target::OWN.triple());
    }
    needs.meet(arguments.install, "`cargo xtask test --install` installs it; --inner-only needs much less.")
}

/// The same for what is compiled for [`WASM`] alone.
pub(crate) fn prepare_wasm(install: bool) -> Result<(), String> {
    let needs = Needs { tools: Vec::new(), targets: vec![WASM], npm: &[], pypi: &[] };
    needs.meet(install, "`cargo xtask purity --install` installs it.")
}

/// The same for binaries that are passed on.
pub(crate) fn prepare_targets(targets: &[Target], install: bool) -> Result<(), String> {
    let needs = Needs {
        tools: targets.iter().flat_map(|target| target.tools()).collect(),
        targets: targets.iter().map(|target| target.triple()).collect(),
        npm: &[],
        pypi: &[],
    };
    needs.meet(install, "`cargo xtask package PLATFORM --install` installs it.")
}

/// For a release, but for what compiles its binaries.
pub(crate) fn prepare_release(install: bool) -> Result<(), String> {
    prepare_python(install)?;
    prepare_crate(&crates::CYCLONEDX, install, "`cargo xtask release --dry-run --install` installs it.")
}

/// For the site.
pub(crate) fn prepare_site(install: bool) -> Result<(), String> {
    prepare_crate(&crates::MDBOOK, install, "`cargo xtask docs --site --install` installs it.")
}

fn prepare_crate(program: &crates::Crate, install: bool, advice: &str) -> Result<(), String> {
    if install && !program.is_there() {
        program.install()?;
    }
    if program.is_there() {
        return Ok(());
    }
    Err(format!("this machine lacks\n  from crates.io, {program}\n{advice}"))
}

/// For the soak, but for what compiles its binary.
pub(crate) fn prepare_soak(install: bool) -> Result<(), String> {
    let tools = vec![Tool { name: "setpriv", package: "util-linux" }, Tool { name: "sh", package: "dash" }];
    let needs = Needs { tools, targets: Vec::new(), npm: &[], pypi: pypi::SOAK };
    needs.meet(install, "`cargo xtask soak --install` installs it.")
}

/// Installs what the benchmark can make use of; it says by itself what it cannot do without.
pub(crate) fn install_for_bench() -> Result<(), String> {
    let tools = INNER_TOOLS.into_iter().chain(BENCH_TOOLS).collect();
    let npm = &[npm::WORKERS, npm::FASTIFY];
    Needs { tools, targets: vec![WASM, Target::OWN.triple()], npm, pypi: pypi::BENCH }.meet(true, "")
}

/// For the checks of deploy/: Python, what asks systemd about the unit, and what deploys to Aliyun.
pub(crate) fn prepare_python(install: bool) -> Result<(), String> {
    let mut tools = vec![
        Tool { name: "python3", package: "python3" },
        Tool { name: "systemd-analyze", package: "systemd" },
        Tool { name: "node", package: "nodejs" },
        Tool { name: "npm", package: "npm" },
        Tool { name: "dash", package: "dash" },
        Tool { name: "rpm", package: "rpm" },
    ];
    let count = tools.len();
    let asks = Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    if !asks.is_ok_and(|output| output.status.success()) {
        // Debian has taken these out of Python. The name is that of no program, so it counts as missing.
        tools.push(Tool { name: "python3 -m venv", package: "python3-venv" });
    }
    let needs = Needs { tools, targets: Vec::new(), npm: &[npm::SERVERLESS_DEVS], pypi: pypi::DEPLOY };
    if install && needs.tools.len() > count {
        needs.install()?;
        return prepare_python(false);
    }
    needs.meet(install, "`cargo xtask deploy --install` installs it.")
}

impl Needs {
    fn meet(&self, install: bool, advice: &str) -> Result<(), String> {
        if install {
            self.install()?;
        }
        let (tools, targets) = self.missing();
        let tools = tools.iter().map(|tool| format!("  {:<16} Debian package {}", tool.name, tool.package));
        let targets = targets.iter().map(|target| format!("  {target}: rustup target add {target}"));
        let npm = self.missing_npm().map(|npm| format!("  from npm, in {npm}"));
        let pypi = self.missing_pypi().map(|pypi| format!("  from PyPI, {pypi}"));
        let lines: Vec<String> = tools.chain(targets).chain(npm).chain(pypi).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let advice = if install { "Installing did not help; see above." } else { advice };
        Err(format!("this machine lacks\n{}\n{advice}", lines.join("\n")))
    }

    fn install(&self) -> Result<(), String> {
        let (tools, targets) = self.missing();
        let mut names: Vec<&str> = tools.iter().map(|tool| tool.package).collect();
        names.dedup();
        if !names.is_empty() {
            eprintln!("These Debian packages will be installed: {}", names.join(" "));
            packages::install(&names)?;
        }
        for target in targets {
            eprintln!("This Rust target will be installed: {target}");
            Shown::new("rustup", &["target", "add", target]).run()?;
        }
        self.missing_npm().try_for_each(Npm::install)?;
        self.missing_pypi().try_for_each(PyPi::install)
    }

    fn missing_npm(&self) -> impl Iterator<Item = &'static Npm> {
        self.npm.iter().filter(|npm| !npm.is_there())
    }

    fn missing_pypi(&self) -> impl Iterator<Item = &'static PyPi> {
        self.pypi.iter().filter(|pypi| !pypi.is_there())
    }

    fn missing(&self) -> (Vec<&Tool>, Vec<&'static str>) {
        let tools = self.tools.iter().filter(|tool| find(tool.name).is_none());
        let targets = self.targets.iter().copied().filter(|target| !target::is_installed(target));
        (tools.collect(), targets.collect())
    }
}

/// Whether we may do what only root may.
pub(crate) fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Looks where ordinary users' shells do not look, too: daemons are in sbin. A whole path is looked for there only.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether the core and the Worker can be compiled.
pub(crate) fn has_wasm_target() -> bool {
    target::is_installed(WASM)
}
