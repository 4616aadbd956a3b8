//! One thread and one runtime per core, as in nginx. A client's connection and the upstream connections that serve it are on
//! the same thread, so that passing on a chunk wakes no other core (such wake-ups took a quarter of the time of relaying
//! manifests).

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The number of workers. It stays what it was at the start, however many processors a reload finds.
pub(crate) fn count() -> usize {
    static COUNT: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
    *COUNT
}

/// The index of the worker that runs this code; 0 outside of workers.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// Threads of each runtime for password checks and other blocking work; further work waits. Disks and name resolution have
/// threads of their own (`store::disk`, `transport::dns`).
pub(crate) const BLOCKING_THREADS: usize = 16;

/// Starts serving a connection, on the worker's thread.
type Job = Box<dyn FnOnce(TcpStream) + Send>;

/// The worker threads.
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
                    runtime.block_on(serve_connections(arriving));
                })?;
                Ok(Worker { connections, open: Arc::default() })
            })
            .collect::<io::Result<Vec<_>>>()
            .map(Self)
    }

    /// Gives a connection to the worker with the fewest. The task keeps the [`Load`] until it ends.
    pub(crate) fn dispatch<F, T>(&self, stream: TcpStream, serve: F) -> io::Result<()>
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

async fn serve_connections(mut arriving: UnboundedReceiver<(std::net::TcpStream, Job)>) {
    while let Some((stream, job)) = arriving.recv().await {
        match TcpStream::from_std(stream) {
            Ok(stream) => job(stream),
            Err(error) => tracing::error!(%error, "cannot serve a connection"),
        }
    }
}

/// Counts one connection of a worker.
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
