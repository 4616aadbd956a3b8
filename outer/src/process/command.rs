//! A program with its arguments, and what is known when it has ended.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::{Service, Signal, Tool, tool::search_path, wait_until};
use crate::{Context, Failure, Outcome};

/// A program that has not been started.
pub struct Program {
    name: String,
    words: Vec<String>,
    command: Command,
    input: Option<String>,
}

impl Program {
    /// One of the tools, by its name.
    pub fn tool(tool: Tool) -> Outcome<Self> {
        Self::at(tool.name, &tool.path()?)
    }

    /// The program at `path`; `name` is what messages call it.
    pub fn at(name: &str, path: &Path) -> Outcome<Self> {
        let mut command = Command::new(Tool::SETPRIV.path()?);
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(path)
            .env_clear()
            .env("PATH", env::join_paths(search_path())?)
            .stdin(Stdio::null())
            .process_group(0);
        Ok(Self { name: name.to_owned(), words: Vec::new(), command, input: None })
    }

    /// The same, in a world of its own where names are what the file `hosts` says.
    pub fn with_hosts(name: &str, path: &Path, hosts: &Path) -> Outcome<Self> {
        const MOUNT_AND_BECOME: &str = "\"$1\" --bind \"$2\" /etc/hosts && shift 2 && exec \"$@\"";
        let program = Self::at(name, &Tool::UNSHARE.path()?)?.argument("--mount").argument(Tool::SHELL.path()?);
        let program = program.arguments(["-c", MOUNT_AND_BECOME, "sh"]).argument(Tool::MOUNT.path()?);
        Ok(program.argument(hosts).argument(path))
    }

    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        let argument = argument.as_ref();
        self.words.push(argument.to_string_lossy().into_owned());
        self.command.arg(argument);
        self
    }

    pub fn arguments<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::argument)
    }

    pub fn variable(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from its standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// Runs it to its end.
    pub fn run(mut self, deadline: Duration) -> Outcome<Finished> {
        let mut output = tempfile::tempfile()?;
        let mut errors = tempfile::tempfile()?;
        if let Some(text) = &self.input {
            let mut input = tempfile::tempfile()?;
            input.write_all(text.as_bytes())?;
            input.seek(SeekFrom::Start(0))?;
            self.command.stdin(input);
        }
        self.command.stdout(output.try_clone()?).stderr(errors.try_clone()?);
        let command_line = self.command_line();
        let mut child = self.command.spawn().context(&command_line)?;
        let ended = wait_until(&command_line, deadline, || Ok(child.try_wait()?));
        if ended.is_err() {
            Signal::Kill.send_to_group(child.id())?;
            child.wait()?;
        }
        let (output, errors) = (whole(&mut output)?, whole(&mut errors)?);
        let status = ended.context(format_args!("{output}{errors}"))?;
        Ok(Finished { command_line, status, output, errors })
    }

    /// Starts it and lets it run; its output goes to the file `log`.
    pub fn start(mut self, log: &Path) -> Outcome<Service> {
        let file = File::create(log)?;
        self.command.stdout(file.try_clone()?).stderr(file);
        let child = self.command.spawn().context(self.command_line())?;
        Ok(Service::new(&self.name, child, log))
    }

    fn command_line(&self) -> String {
        format!("{} {}", self.name, self.words.join(" "))
    }
}

/// A program that has ended.
pub struct Finished {
    command_line: String,
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Finished {
    /// Its standard output, if it ended well.
    pub fn success(self) -> Outcome<String> {
        if self.status.success() {
            return Ok(self.output);
        }
        Err(Failure::new(self.describe("failed")))
    }

    /// Its standard error, if it ended badly, as it should have.
    pub fn refusal(self) -> Outcome<String> {
        if self.status.success() {
            return Err(Failure::new(self.describe("succeeded, and should not")));
        }
        Ok(format!("{}{}", self.output, self.errors))
    }

    fn describe(&self, what: &str) -> String {
        format!("`{}` {what} ({}):\n{}{}", self.command_line, self.status, self.output, self.errors)
    }
}

fn whole(file: &mut File) -> Outcome<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
