//! Signals to a whole process group, sent by the shell because this workspace forbids `unsafe`.

use std::process::{Command, Stdio};

use crate::{Outcome, failure::ensure};

/// The signals the tests send.
#[derive(Debug, Clone, Copy)]
pub enum Signal {
    Hangup,
    Terminate,
    Kill,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Hangup => "HUP",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
        }
    }

    /// Sends it to every process of the group which `leader` leads.
    pub(super) fn send_to_group(self, leader: u32) -> Outcome {
        let status = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("kill -s {} -- -{leader}", self.name()))
            .stderr(Stdio::null())
            .status()?;
        ensure(status.success(), format_args!("no process group {leader}"))
    }
}
