//! One thread and one runtime for each core, as nginx does it: a client's connection and the upstream connections that
//! serve it live on the same thread, so that no piece of a body wakes another core on its way (measured: a relay of
//! manifests spent a quarter of its time in such wake-ups).

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// How many there are.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Which of them runs this code; 0 outside of any.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// Threads of each for passwords and what else may block: disks and name resolution have their own (`store::disk`,
/// `transport::names`). What finds none free waits.
pub(crate) const BLOCKING_THREADS: usize = 16;

/// Takes up a connection, on the thread where it will live.
type Job = Box<dyn FnOnce(TcpStream) + Send>;

/// The threads.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    connections: UnboundedSender<(std::net::TcpStream, Job)>,
    open: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Self> {
        (0..count())
            .map(|index| {
                let (connections, arriving) = unbounded_channel();
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(BLOCKING_THREADS)
                    .build()?;
                std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                    CURRENT.set(index);
                    runtime.block_on(take_up(arriving));
                })?;
                Ok(Worker { connections, open: Arc::default() })
            })
            .collect::<io::Result<Vec<_>>>()
            .map(Self)
    }

    /// Gives a connection to the thread that has the fewest. The task keeps the [`Load`] until it ends.
    pub(crate) fn give<F, T>(&self, stream: TcpStream, serve: F) -> io::Result<()>
    where
        F: FnOnce(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let idle = || io::Error::other("no worker");
        let worker = self.0.iter().min_by_key(|worker| worker.open.load(Ordering::Relaxed)).ok_or_else(idle)?;
        let load = Load::new(&worker.open);
        let job: Job = Box::new(move |stream| {
            let serving = serve(stream);
            tokio::spawn(async move {
                serving.await;
                drop(load);
            });
        });
        worker.connections.send((stream.into_std()?, job)).map_err(|_| idle())
    }
}

async fn take_up(mut arriving: UnboundedReceiver<(std::net::TcpStream, Job)>) {
    while let Some((stream, job)) = arriving.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => job(stream),
            Err(error) => tracing::error!(%error, "cannot take up a connection"),
        }
    }
}

/// A connection's share of its thread.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
