//! Pulling a blob over some connections at once, and reading it slowly.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http::{self, Answer, WINDOW};
use crate::{Error, Result};

/// The longest a single pull may take.
const LIMIT: Duration = Duration::from_mins(3);

/// A slow reader takes this much at a time …
const SIP: usize = 64 << 10;

/// … this often, which makes 2 MiB a second.
const PAUSE: Duration = Duration::from_micros(31_250);

/// How long so many clients take that begin at once, until the last is done.
pub(crate) fn at_once(clients: u32, client: impl Fn(u32) -> Result<()> + Sync) -> Result<Duration> {
    let ready = Barrier::new(usize::try_from(clients)? + 1);
    thread::scope(|scope| {
        let (ready, client) = (&ready, &client);
        let running: Vec<_> = (0..clients)
            .map(|number| {
                scope.spawn(move || {
                    ready.wait();
                    client(number)
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        running.into_iter().try_for_each(joined)?;
        Ok(start.elapsed())
    })
}

/// A blob somewhere.
#[derive(Clone, Copy)]
pub(crate) struct Blob<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) length: u64,
}

impl Blob<'_> {
    /// Pulls the blob over so many connections at once and tells how long it
    /// took until the last of them had all of it.
    pub(crate) fn pull(&self, connections: u32) -> Result<Duration> {
        self.pull_beside(connections, 0)
    }

    /// The same, beside clients that read slowly and keep their connections
    /// until the others are done.
    pub(crate) fn pull_beside(&self, connections: u32, slow: u32) -> Result<Duration> {
        let threads = usize::try_from(connections + slow)?;
        let ready = Barrier::new(threads + 1);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let slow: Vec<_> = (0..slow)
                .map(|_| {
                    scope.spawn(|| {
                        ready.wait();
                        self.sip(&over)
                    })
                })
                .collect();
            let fast: Vec<_> = (0..connections)
                .map(|_| {
                    scope.spawn(|| {
                        ready.wait();
                        self.gulp()
                    })
                })
                .collect();
            ready.wait();
            let start = Instant::now();
            let outcome = fast.into_iter().try_for_each(joined);
            let took = start.elapsed();
            over.store(true, Ordering::Relaxed);
            slow.into_iter().try_for_each(joined)?;
            outcome.map(|()| took)
        })
    }

    /// Reads all of the blob as fast as it comes.
    fn gulp(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        let mut answer = self.ask()?;
        let mut window = vec![0; WINDOW];
        let mut have = answer.head.arrived();
        while have < self.length {
            let count = answer.discard(&mut window)?;
            if count == 0 {
                return Err(format!("the blob ended after {have} bytes").into());
            }
            if Instant::now() > deadline {
                return Err(format!("only {have} bytes of the blob in {LIMIT:?}").into());
            }
            have += count;
        }
        Ok(())
    }

    /// Reads at leisure until told that it is over, or the blob is.
    fn sip(&self, over: &AtomicBool) -> Result<()> {
        let mut answer = self.ask()?;
        let mut window = vec![0; SIP];
        let mut have = answer.head.arrived();
        while !over.load(Ordering::Relaxed) {
            if have < self.length {
                let count = answer.discard(&mut window)?;
                if count == 0 {
                    return Err(format!("a slow reader was cut off after {have} bytes").into());
                }
                have += count;
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn ask(&self) -> Result<Answer> {
        let answer = http::get(self.address, self.path)?;
        let length = answer.head.length_of_200(self.path)?;
        if length != self.length {
            return Err(format!("the blob has {length} bytes in place of {}", self.length).into());
        }
        Ok(answer)
    }
}

fn joined(client: thread::ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    client.join().map_err(|_| Error::from("a client panicked"))?
}
