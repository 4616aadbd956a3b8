//! A process that listens: started, waited for, measured, and stopped again
//! however the run ends.

pub(crate) mod bare;
pub(crate) mod events;
pub(crate) mod nginx;
pub(crate) mod node;
pub(crate) mod product;
pub(crate) mod registry;
pub(crate) mod upstream;

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Result, http, process};

/// The longest a start may take.
const START: Duration = Duration::from_secs(10);

/// The longest a polite stop may take.
const STOP: Duration = Duration::from_secs(3);

/// Between two looks at a starting process: far below what is to be measured.
const GLANCE: Duration = Duration::from_micros(200);

/// The file that a service's output goes to, in its directory.
const OUTPUT: &str = "output.log";

pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// From just before the fork until the first answer with 200.
    pub(crate) started_in: Duration,
    child: Child,
}

impl Service {
    /// Runs the command and waits until a GET of `ready` is answered with 200.
    fn start(command: Command, room: &Path, address: SocketAddr, ready: &str) -> Result<Self> {
        let is_ready = || http::get(address, ready).is_ok_and(|answer| answer.head.status == 200);
        Self::start_until(command, room, address, is_ready)
    }

    /// Runs the command and waits until it is ready.
    fn start_until(
        mut command: Command,
        room: &Path,
        address: SocketAddr,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let output = File::create(room.join(OUTPUT))?;
        command.current_dir(room).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let name = command.get_program().display().to_string();
        let start = Instant::now();
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        // From here on the process is stopped when something fails.
        let mut service = Self { address, started_in: Duration::ZERO, child };
        let failure = loop {
            if is_ready() {
                service.started_in = start.elapsed();
                return Ok(service);
            }
            if let Some(status) = service.child.try_wait()? {
                break status.to_string();
            }
            if start.elapsed() > START {
                break format!("it was not ready within {START:?}");
            }
            thread::sleep(GLANCE);
        };
        let said = fs::read_to_string(room.join(OUTPUT)).unwrap_or_default();
        Err(format!("{name} did not start: {failure}\n{said}").into())
    }

    /// Resident memory now, in mebibytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        process::memory(self.child.id(), "VmRSS")
    }

    /// Resident memory at its highest, in mebibytes.
    pub(crate) fn peak(&self) -> Result<f64> {
        process::memory(self.child.id(), "VmHWM")
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        process::cpu(self.child.id())
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Asked first: nginx only takes its workers along when it is.
        if !self.has_ended() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address where nobody is to be found.
pub(crate) fn closed_address() -> Result<SocketAddr> {
    free_address()
}

/// An address nobody listens on. Somebody might before it is used, but then the
/// start fails and says so.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
