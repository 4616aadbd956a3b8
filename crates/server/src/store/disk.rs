//! Threads that may wait for a disk: few, and none of them anybody else's. A disk that hangs keeps these waiting, and no
//! name resolution and no password. What finds none free waits in one queue, first come, first served; a transfer has one
//! place in it at a time, so that no transfer waits for all of another.

use std::io;
use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// At once. What the kernel has in memory is read without them.
const THREADS: usize = 32;

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
}
