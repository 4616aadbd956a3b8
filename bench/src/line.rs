//! A way to the upstream that is slow or long, made of loopback: a TCP relay that holds bytes back.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// What is read at once.
const PIECE: usize = 64 << 10;
/// Pieces on their way at once: far more than rate and delay need.
const ON_THEIR_WAY: usize = 64;
/// How much of what could have come before may be made up for.
const MOST_LATE: Duration = Duration::from_millis(50);

/// What a way is like.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Bytes a second from the upstream.
    pub(crate) rate: u64,
    /// Whether they are for each connection, or for all together.
    pub(crate) is_each: bool,
    /// How long bytes take in one direction.
    pub(crate) delay: Duration,
}

/// The relay; it accepts connections until it is dropped.
pub(crate) struct Line {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    traffic: Arc<Traffic>,
}

/// What has passed.
#[derive(Default)]
struct Traffic {
    /// From the upstream.
    bytes: AtomicU64,
    /// Connections that clients have open, and the most of them at once.
    open: AtomicU32,
    most_open: AtomicU32,
}

/// A connection until its client closes it.
struct OpenConnection(Arc<Traffic>);

impl OpenConnection {
    fn new(traffic: &Arc<Traffic>) -> Self {
        let open = traffic.open.fetch_add(1, Ordering::Relaxed) + 1;
        traffic.most_open.fetch_max(open, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// A way to `target`.
    pub(crate) fn start(target: SocketAddr, way: Way) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let line = Self { address: listener.local_addr()?, is_over: Arc::default(), traffic: Arc::default() };
        let (is_over, traffic) = (Arc::clone(&line.is_over), Arc::clone(&line.traffic));
        let all = Arc::new(Bucket::new(way.rate, &traffic));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let bucket =
                    if way.is_each { Arc::new(Bucket::new(way.rate, &traffic)) } else { Arc::clone(&all) };
                if let Ok(near) = stream {
                    // A connection that cannot be made is one that ends at once.
                    let _ = join(near, target, way.delay, OpenConnection::new(&traffic), bucket);
                }
            }
        });
        Ok(line)
    }

    /// Bytes that came from the upstream so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.traffic.bytes.load(Ordering::Relaxed)
    }

    /// The most connections at once so far.
    pub(crate) fn most_open(&self) -> u32 {
        self.traffic.most_open.load(Ordering::Relaxed)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(
    near: TcpStream,
    target: SocketAddr,
    delay: Duration,
    open: OpenConnection,
    bucket: Arc<Bucket>,
) -> Result<()> {
    let far = TcpStream::connect(target)?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    // The kernel shook hands on loopback: the way there and back is made up for by the first bytes.
    carry(near.try_clone()?, far.try_clone()?, None, delay, 2 * delay, move || drop(open));
    carry(far, near, Some(bucket), delay, Duration::ZERO, || ());
    Ok(())
}

/// Carries bytes in one direction, on two threads that end when either side does.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    bucket: Option<Arc<Bucket>>,
    delay: Duration,
    at_first: Duration,
    at_end: impl FnOnce() + Send + 'static,
) {
    let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    let Ok(source) = from.try_clone() else { return };
    thread::spawn(move || {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                let _ = source.shutdown(Shutdown::Both);
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        take(&mut from, &sender, bucket.as_deref(), delay, at_first);
        at_end();
    });
}

fn take(
    from: &mut TcpStream,
    sender: &SyncSender<(Instant, Vec<u8>)>,
    bucket: Option<&Bucket>,
    delay: Duration,
    at_first: Duration,
) {
    let mut not_before = Instant::now() + at_first + delay;
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if let Some(bucket) = bucket {
            bucket.traffic.bytes.fetch_add(length as u64, Ordering::Relaxed);
            thread::sleep(bucket.turn(length).saturating_duration_since(Instant::now()));
        }
        not_before = not_before.max(Instant::now() + delay);
        if sender.send((not_before, piece[..length].to_vec())).is_err() {
            return;
        }
    }
}

/// Lets so many bytes through in a second.
struct Bucket {
    rate: u64,
    traffic: Arc<Traffic>,
    next: Mutex<Instant>,
}

impl Bucket {
    fn new(rate: u64, traffic: &Arc<Traffic>) -> Self {
        Self { rate, traffic: Arc::clone(traffic), next: Mutex::new(Instant::now()) }
    }

    /// When these bytes may go.
    fn turn(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*next).max(now.checked_sub(MOST_LATE).unwrap_or(now));
        // They have passed when the last of them has.
        *next = start + Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.rate.max(1));
        *next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_and_arrive() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let way = Way { rate: 1_000_000, is_each: true, delay: Duration::from_millis(50) };
        let line = Line::start(listener.local_addr().unwrap(), way).unwrap();
        let start = Instant::now();
        let mut near = TcpStream::connect(line.address).unwrap();
        near.write_all(b"hello").unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut hello = [0; 5];
        far.read_exact(&mut hello).unwrap();
        assert!(start.elapsed() >= 3 * way.delay, "{:?}", start.elapsed());
        let start = Instant::now();
        let sent: Vec<u8> = (0..300_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        far.write_all(&sent).unwrap();
        drop(far);
        let mut received = Vec::new();
        near.read_to_end(&mut received).unwrap();
        assert_eq!(received, sent);
        assert_eq!((line.bytes(), line.most_open()), (300_000, 1));
        assert!(start.elapsed() + MOST_LATE >= Duration::from_millis(300) + way.delay, "{:?}", start.elapsed());
    }
}
