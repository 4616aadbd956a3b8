//! A small thread pool for blocking disk work, so that a disk that hangs blocks no name resolution or password check. Work
//! waits in one queue, first come, first served; a transfer queues one piece at a time, so that no transfer waits for all
//! of another.
//!
//! Writes may take long: a commit waits until all of a blob is on the disk. So each kind of write may use only a few threads,
//! and the rest are always free for reads.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

/// Number of threads. Reads from the page cache do not need them.
const THREADS: usize = 32;

/// Threads that each kind of write may use.
const WRITING: usize = 8;
const _: () = assert!(3 * WRITING < THREADS);

/// Kinds of disk work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkKind {
    /// Committing a blob of any size.
    Commit,
    /// Writing pieces of blobs.
    Piece,
    /// Writing small records durably.
    Record,
    /// Everything that is not a write.
    Other,
}

static COMMITS: Semaphore = Semaphore::const_new(WRITING);
static PIECES: Semaphore = Semaphore::const_new(WRITING);
static RECORDS: Semaphore = Semaphore::const_new(WRITING);

impl WorkKind {
    fn turns(self) -> Option<&'static Semaphore> {
        match self {
            Self::Commit => Some(&COMMITS),
            Self::Piece => Some(&PIECES),
            Self::Record => Some(&RECORDS),
            Self::Other => None,
        }
    }
}

/// Runs the work on the pool, when its kind may use a thread. If the caller gives up before that, the work is not done.
pub(super) async fn run_one_of<T: Send + 'static>(
    kind: WorkKind,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let turn = match kind.turns() {
        // The semaphores are never closed.
        Some(turns) => turns.acquire().await.ok(),
        None => None,
    };
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    run(work).await
}

/// Only its blocking threads are used; they end when idle.
static POOL: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().max_blocking_threads(THREADS).thread_name("disk").build());

/// Runs the work on the pool.
pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match &*POOL {
        Ok(pool) => pool.spawn_blocking(work),
        // The runtime could not be created: use the caller's.
        Err(_) => tokio::task::spawn_blocking(work),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn no_more_than_so_many_threads_wait_for_a_disk_and_whoever_waits_gets_a_turn() {
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work: Vec<_> = (0..THREADS * 4)
            .map(|_| {
                let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
                run(move || {
                    peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // A disk takes its time.
                    std::thread::sleep(Duration::from_millis(2));
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for done in work {
            done.await.unwrap();
        }
        assert!((1..=THREADS).contains(&peak.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_disk_that_hangs_leaves_other_blocking_work_alone() {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        for _ in 0..THREADS * 2 {
            let gate = Arc::clone(&gate);
            run(move || drop(gate.lock().map(|gate| gate.recv())));
        }
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7);
        drop(open);
    }

    #[tokio::test]
    async fn however_slow_commits_are_there_are_threads_for_what_is_read_and_for_records() {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let slow = || {
            let gate = Arc::clone(&gate);
            move || drop(gate.lock().map(|gate| gate.recv()))
        };
        let mut commits: Vec<_> =
            (0..THREADS * 2).map(|_| Box::pin(run_one_of(WorkKind::Commit, slow()))).collect();
        for commit in &mut commits {
            assert!(commit.now_or_never().is_none());
        }
        let others = async {
            for kind in [WorkKind::Other, WorkKind::Record, WorkKind::Piece] {
                assert_eq!(run_one_of(kind, || 7).await.unwrap(), 7);
            }
        };
        tokio::time::timeout(Duration::from_secs(10), others).await.unwrap();
        drop(open);
        for commit in commits {
            commit.await.unwrap();
        }
    }
}
