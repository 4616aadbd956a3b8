//! Who acts, in the audit log. The core writes its lines, because a purge on the page is the core's.

use std::fmt;

pub(crate) use registry_proxy_core::audit::{AuditEntry, TARGET, record};

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
