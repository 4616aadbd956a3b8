//! Clients of a whole proxy who want one blob at once: the table, the fetching, the hash, the commit and the readers
//! together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event_listener::Event;
use http::header::{HOST, RANGE};
use http::{Request, StatusCode};
use shuttle::future::{block_on, spawn, yield_now};

use super::{CONTENT, DIGEST, ShuttleTasks, TOTAL, all, explore};
use crate::cache::MemoryStore;
use crate::config::Sources;
use crate::notification::Notifications;
use crate::platform::{Clock, Moment, Profile, Sleep};
use crate::testing::{Answer, CountingEntropy, Fault, HookedStore, Network, Pauses, Registry, stored_nowhere};
use crate::{Body, Config, Cx, Platform, Proxy};

const ORIGIN: &str = "https://origin.up.example.com";

/// A clock that a task moves on.
#[derive(Default)]
struct SteppedClock {
    millis: AtomicU64,
    moved: Event,
}

impl Clock for Arc<SteppedClock> {
    fn now(&self) -> Moment {
        Moment(Duration::from_millis(self.millis.load(Ordering::Relaxed)))
    }

    fn unix_seconds(&self) -> u64 {
        1_700_000_000 + self.now().0.as_secs()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.now().after(duration);
        let clock = Self::clone(self);
        Box::pin(async move {
            loop {
                let listener = clock.moved.listen();
                if clock.now() >= until {
                    return;
                }
                listener.await;
            }
        })
    }
}

struct Lab {
    proxy: Arc<Proxy>,
    net: Arc<Network>,
}

impl Lab {
    fn new() -> Arc<Self> {
        let stepped = Arc::new(SteppedClock::default());
        // Two seconds, so that fills judge their speed and pauses end; no deadline passes. Then time stands still.
        let clock: Arc<dyn Clock> = Arc::new(Arc::clone(&stepped));
        drop(spawn(async move {
            for _ in 0..8 {
                yield_now().await;
                stepped.millis.fetch_add(250, Ordering::Relaxed);
                stepped.moved.notify(usize::MAX);
            }
        }));
        let net = Arc::new(Network::new(Arc::clone(&clock)));
        let registry = Registry::default();
        net.serve(ORIGIN, registry.clone());
        registry.put_blob("a/b", CONTENT.clone());
        let memory = MemoryStore::new(1 << 20, Arc::clone(&clock));
        let store = HookedStore::new(Arc::new(memory), Pauses(Arc::new(|| Box::pin(yield_now()))));
        let platform = Platform {
            transport: Arc::clone(&net) as Arc<_>,
            clock,
            entropy: Arc::new(CountingEntropy::new(1)),
            passwords: None,
            signers: Vec::new(),
            verdict_services: None,
            token_issuers: None,
            credentials: None,
            login_issuer: None,
            invoker: None,
            notifications: Notifications::default(),
            store: Some(Arc::new(store)),
            tasks: Arc::new(ShuttleTasks),
            capabilities: Profile::Server.capabilities(),
        };
        let text = format!("[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}']\ndefault=true\n");
        let config = Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &stored_nowhere });
        Arc::new(Self { proxy: Arc::new(Proxy::new(&config.expect("a configuration"), &platform)), net })
    }

    /// Status, bytes, and whether they ended as they should.
    async fn get(&self, range: Option<&str>) -> (StatusCode, Vec<u8>, bool) {
        let mut request = Request::get(format!("/v2/a/b/blobs/{}", *DIGEST)).header(HOST, "proxy.example");
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        let cx = Cx { peer: None, introduced: None, is_tls: false, id: 0 };
        let response = self.proxy.handle(&cx, request.body(Body::Empty).expect("a request")).await;
        let (status, mut body) = (response.status(), response.into_body());
        let mut bytes = Vec::new();
        while let Some(piece) = body.chunk().await {
            let Ok(piece) = piece else { return (status, bytes, false) };
            bytes.extend_from_slice(&piece);
        }
        (status, bytes, true)
    }

    fn downloads(&self) -> usize {
        self.net.sent("GET", "/blobs/").len()
    }
}

#[test]
fn a_crowd_makes_one_download_and_one_who_leaves_changes_nothing() {
    explore(50, || {
        let lab = Lab::new();
        let client = || {
            let lab = Arc::clone(&lab);
            spawn(async move { lab.get(None).await })
        };
        let (leaves, stays) = (client(), [client(), client()]);
        let abort = leaves.abort_handle();
        let leaving = spawn(async move { abort.abort() });
        let seen = block_on(async {
            leaving.await.unwrap();
            all(stays.into()).await
        });
        for (status, bytes, is_right) in seen {
            assert!(
                status == StatusCode::OK && is_right && bytes == *CONTENT,
                "{status} {} {is_right}",
                bytes.len()
            );
        }
        // The one who left may have led, and may have asked already.
        assert!((1..=2).contains(&lab.downloads()), "{} downloads", lab.downloads());
        let (status, bytes, is_right) = block_on(lab.get(None));
        assert!(status == StatusCode::OK && is_right && bytes == *CONTENT);
    });
}

#[test]
fn ranges_and_the_whole_at_once_are_all_right() {
    explore(50, || {
        let lab = Lab::new();
        let ranges = [(100, 200), (100, 40_000), (100, 40_000), (30_000, TOTAL), (TOTAL - 50, TOTAL)].map(
            |(first, end)| {
                let lab = Arc::clone(&lab);
                spawn(async move {
                    let (status, bytes, is_right) = lab.get(Some(&format!("bytes={first}-{}", end - 1))).await;
                    assert_eq!((status, is_right), (StatusCode::PARTIAL_CONTENT, true));
                    assert!(bytes == CONTENT[first..end]);
                })
            },
        );
        let whole = {
            let lab = Arc::clone(&lab);
            spawn(async move {
                let (status, bytes, is_right) = lab.get(None).await;
                assert!(status == StatusCode::OK && is_right && bytes == *CONTENT, "{status} {}", bytes.len());
            })
        };
        block_on(async { all(ranges.into_iter().chain([whole]).collect()).await });
    });
}

#[test]
fn nobody_ever_has_all_of_wrong_bytes_and_the_next_has_the_right_ones() {
    explore(50, || {
        let lab = Lab::new();
        let mut wrong = CONTENT.to_vec();
        wrong[7] ^= 1;
        lab.net.fault("GET", "/blobs/", 1, Fault::Say(Answer::new(200).body(wrong)));
        let clients = [0; 3].map(|_| {
            let lab = Arc::clone(&lab);
            spawn(async move {
                let (status, bytes, is_right) = lab.get(None).await;
                // Whoever comes late is served by the next download.
                assert_eq!(status == StatusCode::OK && is_right, bytes == *CONTENT, "{status} {}", bytes.len());
            })
        });
        block_on(all(clients.into()));
        let (status, bytes, is_right) = block_on(lab.get(None));
        assert!(status == StatusCode::OK && is_right && bytes == *CONTENT, "{status} {}", bytes.len());
    });
}
