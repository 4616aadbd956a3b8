//! No work after the response: the process stands still while nobody waits for it.

use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{Context, Outcome};

/// A process, and how many wait for it.
pub struct Turnstile {
    group: Option<Pid>,
    inside: Mutex<usize>,
}

/// Somebody waits. The process runs while one of these lives.
pub struct Stay(Arc<Turnstile>);

impl Turnstile {
    /// Freezes the group that this process leads, now and whenever nobody is inside.
    pub fn freezing(process: u32) -> Outcome<Arc<Self>> {
        let group = Pid::from_raw(i32::try_from(process)?).context("no process has the number 0")?;
        let turnstile = Self { group: Some(group), inside: Mutex::new(0) };
        turnstile.send(Signal::STOP);
        Ok(Arc::new(turnstile))
    }

    /// Freezes nothing.
    pub fn open() -> Arc<Self> {
        Arc::new(Self { group: None, inside: Mutex::new(0) })
    }

    /// Lets the process run.
    pub fn enter(self: &Arc<Self>) -> Stay {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if *inside == 0 {
            self.send(Signal::CONT);
        }
        *inside += 1;
        Stay(Arc::clone(self))
    }

    fn leave(&self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        *inside -= 1;
        if *inside == 0 {
            self.send(Signal::STOP);
        }
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A process that has ended is told apart by what it does not answer.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.leave();
    }
}
