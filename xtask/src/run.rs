//! Commands, shown before they run, so that everything here can also be typed by hand.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command under construction.
pub(crate) struct Shown {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    folder: PathBuf,
}

/// The cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Shown {
    let program = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Shown::new(&program, arguments)
}

impl Shown {
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        let words = [&[program], arguments].concat();
        Self { words: words.into_iter().map(str::to_owned).collect(), variables: Vec::new(), folder: workspace() }
    }

    pub(crate) fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.words.extend(arguments);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it there and not in the workspace's folder.
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Runs it with our own output, and fails if it fails.
    pub(crate) fn run(&self) -> Result<(), String> {
        let status = self.command().status().map_err(|error| self.failed(&error))?;
        if status.success() { Ok(()) } else { Err(self.failed(&status)) }
    }

    /// Runs it and gives what it prints.
    pub(crate) fn output(&self) -> Result<String, String> {
        let output = self.command().output().map_err(|error| self.failed(&error))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{}\n{errors}", self.failed(&output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it and gives all that it says, which is shown too.
    pub(crate) fn everything(&self) -> Result<String, String> {
        let output = self.command().output().map_err(|error| self.failed(&error))?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        eprint!("{said}");
        if output.status.success() { Ok(said) } else { Err(self.failed(&output.status)) }
    }

    fn command(&self) -> Command {
        eprintln!("\n$ {self}");
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).envs(self.variables.iter().cloned());
        command.current_dir(&self.folder);
        command
    }

    fn failed(&self, why: &dyn std::fmt::Display) -> String {
        format!("`{self}` failed: {why}")
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.variables {
            write!(formatter, "{name}={value} ")?;
        }
        // Which cargo it is matters to nobody; that it is cargo does.
        let program = self.words[0].rsplit('/').next().unwrap_or_default();
        write!(formatter, "{program} {}", self.words[1..].join(" "))
    }
}

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
    here.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> PathBuf {
    let configured = ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].into_iter().find_map(env::var_os);
    workspace().join(configured.unwrap_or_else(|| "target".into()))
}

/// What the compiler calls this machine.
pub(crate) fn host_triple() -> Result<String, String> {
    let version = Shown::new("rustc", &["--version", "--verbose"]).output()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not say which host it is for".to_owned())
}
