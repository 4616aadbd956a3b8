//! The audit log: who did what to this server, and how it ended. Every administrative action is written here, whichever way it
//! came. The platform writes its lines whatever `log.level` says.
//!
//! Reading is no such action.

use std::fmt::Display;

/// The target of its lines, by which a log collector takes them apart.
pub const TARGET: &str = "registry_proxy::audit";

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditResult {
    /// As it should.
    Done {
        /// What it removed, where it says so.
        size_bytes: Option<u64>,
    },
    /// Otherwise, and why.
    Failed(String),
    /// Whoever wanted it may not.
    Refused(String),
    /// Nobody followed it to its end.
    Abandoned,
}

impl From<Result<(), String>> for AuditResult {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Done { size_bytes: None },
            Err(error) => Self::Failed(error),
        }
    }
}

/// Writes an action that takes no time, and how it ended.
pub fn record(actor: impl Display, action: &'static str, result: impl Into<AuditResult>) {
    write(&actor, action, "", &result.into());
}

fn write(actor: &dyn Display, action: &'static str, detail: &str, result: &AuditResult) {
    let (result, error, size_bytes) = match result {
        AuditResult::Done { size_bytes } => ("done", None, *size_bytes),
        AuditResult::Failed(error) => ("failed", Some(error.as_str()), None),
        AuditResult::Refused(error) => ("refused", Some(error.as_str()), None),
        AuditResult::Abandoned => ("abandoned", None, None),
    };
    tracing::info!(target: TARGET, %actor, action, detail, result, error, size_bytes, "administrative action ended");
}

/// An action that is under way. If nobody says how it ended, it was abandoned.
#[must_use = "an action that nobody follows counts as abandoned"]
pub struct AuditEntry {
    actor: String,
    action: &'static str,
    detail: String,
    result: AuditResult,
}

impl AuditEntry {
    /// Writes that an action begins. `detail`: what it is about; never a secret.
    pub fn begin(actor: impl Display, action: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        tracing::info!(target: TARGET, %actor, action, detail, "administrative action begins");
        Self { actor: actor.to_string(), action, detail, result: AuditResult::Abandoned }
    }

    /// Writes how it ended.
    pub fn end(mut self, result: impl Into<AuditResult>) {
        self.result = result.into();
    }
}

impl Drop for AuditEntry {
    fn drop(&mut self) {
        write(&self.actor, self.action, &self.detail, &self.result);
    }
}
