//! The orders in which those who share a fill can get their turn, explored by `shuttle`: thousands of schedules, by
//! chance and by priorities (PCT). A wake-up that is lost is a deadlock there, and fails. What fails prints its schedule,
//! which `shuttle::replay` runs again.
//!
//! Run by `cargo xtask test`, or alone: `cargo test -p registry-proxy-core --features shuttle --lib interleavings`. With
//! `REGISTRY_PROXY_SCHEDULES=100000` before it each explores that many instead.

mod crowd;
mod opening;
mod spool;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use shuttle::future::{JoinHandle, spawn, yield_now};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use super::spans::Spans;
use crate::digest::Digest;
use crate::platform::{Draft, StoreError, Tasks};

/// More than what is withheld at the end.
const TOTAL: usize = (64 << 10) + 3000;
/// Bytes that anybody may have before all is verified.
const OPEN: usize = 3000;

static CONTENT: LazyLock<Bytes> =
    LazyLock::new(|| (0..TOTAL).map(|at| u8::try_from((at ^ (at >> 8)) & 0xff).unwrap()).collect());
static DIGEST: LazyLock<Digest> = LazyLock::new(|| Digest::sha256(&CONTENT));

/// The upstream that it comes from.
const ORIGIN: &str = "reg.test";

/// Tasks of shuttle's.
struct ShuttleTasks;

impl Tasks for ShuttleTasks {
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        drop(spawn(work));
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let computed = spawn(async move { work() });
        Box::pin(async move { drop(computed.await) })
    }
}

/// Runs a scenario under many schedules.
fn explore(schedules: usize, scenario: fn()) {
    let wanted = option_env!("REGISTRY_PROXY_SCHEDULES").map(|text| text.parse().expect("a number of schedules"));
    let schedules = wanted.unwrap_or(schedules);
    let mut config = Config::new();
    config.stack_size = 4 << 20;
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new(schedules), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(4, schedules), config).run(scenario);
}

/// Lets all of them come to their ends.
async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut values = Vec::new();
    for task in tasks {
        values.push(task.await.expect("nobody stopped it"));
    }
    values
}

/// A draft that takes its time, and fails the test where a byte is written twice, read before it is there, or committed
/// with another digest.
struct CheckedDraft {
    written: Mutex<(Vec<u8>, Spans)>,
    is_committed: AtomicBool,
    /// Writes from here on fail.
    broken_from: u64,
}

impl CheckedDraft {
    fn new() -> Arc<Self> {
        Self::broken_from(u64::MAX)
    }

    fn broken_from(broken_from: u64) -> Arc<Self> {
        let written = Mutex::new((vec![0; TOTAL], Spans::default()));
        Arc::new(Self { written, is_committed: AtomicBool::new(false), broken_from })
    }

    fn is_committed(&self) -> bool {
        self.is_committed.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Draft for CheckedDraft {
    async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        yield_now().await;
        if offset >= self.broken_from {
            return Err(StoreError::Full);
        }
        let end = offset + bytes.len() as u64;
        {
            let (all, spans) = &mut *self.written.lock().unwrap();
            assert_eq!(spans.gap(offset, end, u64::MAX), Some((offset, end)), "a byte is written twice");
            all[offset.try_into().unwrap()..end.try_into().unwrap()].copy_from_slice(&bytes);
        }
        // A read before this would be too early.
        yield_now().await;
        self.written.lock().unwrap().1.add(offset, end);
        Ok(())
    }

    async fn read_at(&self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        yield_now().await;
        let (all, spans) = &*self.written.lock().unwrap();
        let end = offset + most as u64;
        assert_eq!(spans.gap(offset, end, u64::MAX), None, "what is read has not been written");
        Ok(Bytes::copy_from_slice(&all[offset.try_into().unwrap()..end.try_into().unwrap()]))
    }

    async fn commit(&self, length: u64) -> Result<(), StoreError> {
        yield_now().await;
        let (all, spans) = &*self.written.lock().unwrap();
        assert!(spans.is_whole(length), "what is committed has not been written");
        assert_eq!((all.len() as u64, DIGEST.matches(all)), (length, Some(true)), "what is committed is wrong");
        assert!(!self.is_committed.swap(true, Ordering::Relaxed), "it is committed twice");
        Ok(())
    }
}
