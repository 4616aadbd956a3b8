//! The audit log: who did what to this server, and how it ended. Every administrative action is written here, whichever way it
//! came, but for a purge on the page: the core writes that one (`admin_page/order`), under the same target. The lines have
//! the target `registry_proxy::audit` and are written whatever `log.level` says.
//!
//! Reading is no such action.

use std::fmt;

/// The target of its lines, by which a log collector takes them apart.
pub(crate) const TARGET: &str = "registry_proxy::audit";

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A process that connected to `admin_socket`, as the kernel knows it.
    Socket {
        /// The user it runs as.
        uid: u32,
        /// Its number, where the kernel says it.
        pid: Option<i32>,
    },
    /// Whoever sent SIGHUP: the kernel tells tokio no name.
    Signal,
    /// Nobody: files changed that this server watches.
    ChangedFiles,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { uid, pid: Some(pid) } => write!(f, "uid {uid}, pid {pid}, by admin_socket"),
            Self::Socket { uid, pid: None } => write!(f, "uid {uid}, by admin_socket"),
            Self::Signal => f.write_str("SIGHUP"),
            Self::ChangedFiles => f.write_str("changed files"),
        }
    }
}

/// Writes an action that takes no time, and how it ended.
pub(crate) fn record(actor: Actor, action: &'static str, result: &Result<(), String>) {
    write(actor, action, "", Some(result));
}

fn write(actor: Actor, action: &'static str, detail: &str, result: Option<&Result<(), String>>) {
    let (result, error) = match result {
        Some(Ok(())) => ("done", None),
        Some(Err(error)) => ("failed", Some(error.as_str())),
        None => ("abandoned", None),
    };
    tracing::info!(target: TARGET, %actor, action, detail, result, error, "administrative action ended");
}

/// An action that is under way. If nobody says how it ended, it was abandoned.
#[must_use = "an action that nobody follows counts as abandoned"]
pub(crate) struct AuditEntry {
    actor: Actor,
    action: &'static str,
    detail: String,
    result: Option<Result<(), String>>,
}

impl AuditEntry {
    /// Writes that an action begins. `detail`: what it is about; never a secret.
    pub(crate) fn begin(actor: Actor, action: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        tracing::info!(target: TARGET, %actor, action, detail, "administrative action begins");
        Self { actor, action, detail, result: None }
    }

    /// Writes how it ended.
    pub(crate) fn end(mut self, result: Result<(), String>) {
        self.result = Some(result);
    }
}

impl Drop for AuditEntry {
    fn drop(&mut self) {
        let result = self.result.take();
        write(self.actor, self.action, &self.detail, result.as_ref());
    }
}
