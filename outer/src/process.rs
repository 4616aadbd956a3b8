//! Programs: found by name, run to their end with a deadline, or kept running as a service.
//!
//! Every program is started in a process group of its own and through `setpriv --pdeathsig`, so
//! that none survives a test run which was itself killed. The environment is empty but for what
//! is set here: a proxy variable or a login of the person who runs the tests must not matter.

mod command;
mod service;
mod signal;
mod tool;

pub use command::{Finished, Program};
pub(crate) use service::memory_kib;
pub use service::{Service, keep_logs_quiet};
pub use signal::Signal;
pub(crate) use tool::search_path;
pub use tool::{REQUIRED_TOOLS, Tool};

use std::time::{Duration, Instant};

use crate::{Failure, Outcome};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer, at most for `deadline`.
pub fn wait_until<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if started.elapsed() > deadline {
            return Err(Failure::new(format!("{what}: not within {deadline:?}")));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
