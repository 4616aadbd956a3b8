//! Threads that may wait for a disk: few, and none of them anybody else's. A disk that hangs keeps these waiting, and no
//! name resolution and no password. What finds none free waits in one queue, first come, first served; a transfer has one
//! place in it at a time, so that no transfer waits for all of another.
//!
//! What is written may wait long: a commit until all of a blob is on the disk. So a few threads at most are for each kind of
//! it, and the rest are always for what is read.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

/// At once. What the kernel has in memory is read without them.
const THREADS: usize = 32;

/// Of those, for each kind of what is written.
const WRITING: usize = 8;
const _: () = assert!(3 * WRITING < THREADS);

/// What a disk is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkKind {
    /// A blob that is made to last, however large it is.
    Commit,
    /// Pieces of blobs that arrive.
    Piece,
    /// What is known of content, in small files that are made to last.
    Record,
    /// Anything that is not written.
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

/// Runs it on one of them when it is the turn of its kind. What nobody waits for any more before that is not done.
pub(super) async fn run_one_of<T: Send + 'static>(
    kind: WorkKind,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let turn = match kind.turns() {
        // They are never closed.
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

/// Only its threads are used, and only while there is work for them.
static POOL: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().max_blocking_threads(THREADS).thread_name("disk").build());

/// Runs it on one of them.
pub(super) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match &*POOL {
        Ok(pool) => pool.spawn_blocking(work),
        // The system gave us no more of what a runtime takes: the caller's own will do.
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
