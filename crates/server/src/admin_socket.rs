//! The Unix socket on which a running server takes commands about its cache: one line of JSON per command, then one line per
//! event.
//! Only the user who runs the server and root may use it.

mod holder;
mod line;
mod place;
mod protocol;
pub(crate) mod transfer;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use registry_proxy_core::admin::{Command, Tell};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::net::unix::ReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

pub(crate) use self::holder::CacheHolder;
use self::line::put;
use self::place::path;
pub(crate) use self::protocol::{SocketCommand, SocketEvent};
use self::protocol::{SocketLine, shown};
use crate::audit::{self, Actor, AuditEntry};
use crate::service::Service;

/// Longest command in bytes: the longest list of images to warm is about as long.
const MAX_COMMAND: u64 = 5 << 20;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Unread lines after which a command waits for the client.
const MAX_AHEAD: usize = 1024;
/// How often to check whether a client that closed its sending side is still connected.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed accept.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes the socket file when dropped, if it is still ours.
pub(crate) struct OpenSocket {
    path: PathBuf,
    inode: u64,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Starts to listen. A failure is logged, and the server works without the socket.
pub(crate) async fn open(service: &Arc<Service>) -> Option<OpenSocket> {
    let path = path(&service.reloadable.current().config, service.reloadable.directory())?;
    match listen(&path).await {
        Ok((listener, open)) => {
            tracing::info!(path = %path.display(), "listening for cache commands");
            tokio::spawn(serve(listener, Arc::clone(service)));
            Some(open)
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "admin_socket: cannot listen for cache commands");
            None
        }
    }
}

async fn listen(path: &Path) -> io::Result<(UnixListener, OpenSocket)> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(ErrorKind::AddrInUse, "another server listens on this socket"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "the path exists and is not a socket"));
        }
        Ok(_) | Err(_) => {}
    }
    // Create it under another name and restrict it first, so that it never appears with more permissions than it should.
    let mut temp = path.as_os_str().to_owned();
    temp.push(format!(".{}", std::process::id()));
    let temp = PathBuf::from(temp);
    let _ = std::fs::remove_file(&temp);
    let listener = UnixListener::bind(&temp)?;
    let placed = std::fs::set_permissions(&temp, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&temp, path))
        .and_then(|()| std::fs::symlink_metadata(path));
    let found = placed.inspect_err(|_| drop(std::fs::remove_file(&temp)))?;
    Ok((listener, OpenSocket { path: path.to_owned(), inode: found.ino() }))
}

async fn serve(listener: UnixListener, service: Arc<Service>) {
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let peer = stream.peer_cred().ok();
        let Some(peer) = peer.filter(|peer| peer.uid() == own || peer.uid() == 0) else {
            let uid = peer.map(|peer| peer.uid());
            tracing::warn!(target: audit::TARGET, uid, "admin_socket: refused a connection from another user");
            continue;
        };
        let actor = Actor::Socket { uid: peer.uid(), pid: peer.pid() };
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            // The client may have gone.
            let _ = answer(stream, actor, &service).await;
        });
    }
}

async fn answer(mut stream: UnixStream, actor: Actor, service: &Service) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut text = String::new();
    let mut reading = BufReader::new(reading).take(MAX_COMMAND);
    tokio::time::timeout(COMMAND_TIMEOUT, reading.read_line(&mut text)).await??;
    let current = arc_swap::Guard::into_inner(service.reloadable.current());
    if let (Ok(transfer), Some(admin)) = (serde_json::from_str(&text), current.proxy.cache_admin()) {
        return transfer::answer(transfer, actor, &admin, reading.into_inner(), &mut writing).await;
    }
    let command = serde_json::from_str::<SocketCommand>(&text).map_err(|error| error.to_string());
    let command = match command.and_then(|command| command.check().map(|()| command)) {
        Ok(command) => command,
        Err(what) => return put(&mut writing, &SocketLine::Failed(what)).await,
    };
    // Dropped with the work, if the client leaves before its end.
    let entry =
        command.action().map(|action| AuditEntry::begin(actor, action, shown(text.trim(), &current.config)));
    let (sender, mut told) = mpsc::unbounded_channel();
    let backlog = Backlog::default();
    let working = async {
        let (sender, entry) = (sender, entry);
        let last = {
            let tell = |event| {
                backlog.count.fetch_add(1, Ordering::Relaxed);
                drop(sender.send(SocketLine::Told(event)));
            };
            let result = backlog.paced(Box::pin(command.run(&current, &tell))).await;
            if let Some(entry) = entry {
                entry.end(result.clone());
            }
            match result {
                Ok(()) => SocketLine::Done,
                Err(what) => SocketLine::Failed(what),
            }
        };
        let _ = sender.send(last);
        Ok(())
    };
    let telling = async {
        while let Some(line) = told.recv().await {
            put(&mut writing, &line).await?;
            backlog.told();
        }
        Ok(())
    };
    let mut rest = reading.into_inner().into_inner();
    // Stop working when the client has gone, even while there is nothing to send.
    tokio::select! {
        done = async { tokio::try_join!(working, telling) } => done.map(|_: ((), ())| ()),
        error = until_gone(&mut rest) => {
            let command = shown(text.trim(), &current.config);
            tracing::info!(command, "the client of a cache command has gone; the command stops");
            Err(error)
        }
    }
}

/// Counts the lines that the client has not read yet.
#[derive(Default)]
struct Backlog {
    count: AtomicUsize,
    told: AtomicWaker,
}

impl Backlog {
    /// Runs the work, and pauses it while there are too many.
    async fn paced<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if self.count.load(Ordering::Acquire) >= MAX_AHEAD {
                self.told.register(cx.waker());
                // The client may have read a line in between.
                if self.count.load(Ordering::Acquire) >= MAX_AHEAD {
                    return Poll::Pending;
                }
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    /// A line has been written.
    fn told(&self) {
        let _ = self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| count.checked_sub(1));
        self.told.wake();
    }
}

/// Waits until the client has gone. One that only closed its sending side may still be reading.
async fn until_gone(reading: &mut ReadHalf<'_>) -> io::Error {
    let mut unasked = [0; 256];
    loop {
        match reading.read(&mut unasked).await {
            Ok(0) => break,
            // Ignore anything after the first line.
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    loop {
        match reading.ready(Interest::WRITABLE).await {
            Ok(ready) if ready.is_write_closed() => return ErrorKind::BrokenPipe.into(),
            Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return error,
        }
    }
}

/// Sends a command to a running server.
pub(crate) async fn ask(
    mut stream: UnixStream,
    command: &SocketCommand,
    tell: &(dyn Fn(SocketEvent) + Send + Sync),
) -> Result<(), String> {
    let lost = |error: io::Error| format!("the server did not answer: {error}");
    let mut text = serde_json::to_vec(command).map_err(|error| error.to_string())?;
    text.push(b'\n');
    let (reading, mut writing) = stream.split();
    writing.write_all(&text).await.map_err(lost)?;
    let mut lines = BufReader::new(reading).lines();
    while let Some(line) = lines.next_line().await.map_err(lost)? {
        match serde_json::from_str(&line).map_err(|error| format!("the server has another version: {error}"))? {
            SocketLine::Told(event) => tell(event),
            SocketLine::Failed(what) => return Err(what),
            SocketLine::Done => return Ok(()),
        }
    }
    Err("the server closed the connection before the command was done".to_owned())
}

/// Sends a command about its cache to a running server.
pub(crate) async fn ask_cache(stream: UnixStream, command: Command, tell: Tell<'_>) -> Result<(), String> {
    let tell = |event| match event {
        SocketEvent::Cache(event) => tell(event),
        // No cache command tells of any.
        SocketEvent::Warm(_) => {}
    };
    ask(stream, &SocketCommand::Cache(command), &tell).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_gone_is_noticed_and_one_that_says_no_more_is_not_gone() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"more than a line\n").await.unwrap();
        theirs.shutdown().await.unwrap();
        let (mut reading, _) = ours.split();
        let gone = tokio::time::timeout(COMMAND_TIMEOUT, until_gone(&mut reading)).await;
        assert!(gone.is_err(), "it listens still");
        drop(theirs);
        let gone = tokio::time::timeout(COMMAND_TIMEOUT, until_gone(&mut reading)).await;
        assert_eq!(gone.map(|error| error.kind()).ok(), Some(ErrorKind::BrokenPipe));
    }

    #[tokio::test]
    async fn a_command_waits_for_whoever_reads_what_it_tells() {
        let (backlog, told) = (Backlog::default(), AtomicUsize::new(0));
        let work = async {
            for _ in 0..3 * MAX_AHEAD {
                backlog.count.fetch_add(1, Ordering::Relaxed);
                told.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        };
        let reading = async {
            for read in 0..3 * MAX_AHEAD {
                while told.load(Ordering::Relaxed) <= read {
                    tokio::task::yield_now().await;
                }
                assert!(told.load(Ordering::Relaxed) <= read + MAX_AHEAD, "no farther ahead");
                // Whoever reads is slower than whoever tells.
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
                backlog.told();
            }
        };
        tokio::join!(backlog.paced(work), reading);
        assert_eq!(told.load(Ordering::Relaxed), 3 * MAX_AHEAD);
    }
}
