//! Resolves names, separately for each upstream. `getaddrinfo` may block for long and cannot be cancelled. So concurrent
//! lookups of one name are shared, each upstream has a few lookups at a time, and a lookup that was given up before its
//! turn is not started. An upstream whose name servers hang delays only itself.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};

/// Concurrent lookups of one upstream: of its own names and of its redirects'.
const LOOKUPS: usize = 4;
/// Threads for all lookups, started on demand: enough for 128 upstreams whose name servers all hang.
const THREADS: usize = 128 * LOOKUPS;

/// Only its blocking threads are used; they end when idle.
static POOL: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().max_blocking_threads(THREADS).thread_name("names").build());

/// The lookups of all upstreams, by name. They outlive reloads, since running lookups do.
static ALL: LazyLock<Mutex<HashMap<Box<str>, Weak<DnsLookups>>>> = LazyLock::new(Mutex::default);

/// The result of a lookup.
pub(super) type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;
type Lookup = BoxFuture<'static, Found>;
type LookupFn = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The lookups of one upstream.
pub(super) struct DnsLookups {
    ask: Box<LookupFn>,
    turns: Arc<Semaphore>,
    /// Lookups that are running or that somebody waits for.
    lookups: Mutex<HashMap<Box<str>, WeakShared<Lookup>>>,
}

impl DnsLookups {
    /// The lookups of an upstream.
    pub(super) fn of(upstream: &str) -> Arc<Self> {
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = all.get(upstream).and_then(Weak::upgrade) {
            return names;
        }
        all.retain(|_, names| names.strong_count() > 0);
        let names = Self::asking(|name| Ok((name, 0).to_socket_addrs()?.collect()));
        all.insert(upstream.into(), Arc::downgrade(&names));
        names
    }

    fn asking(ask: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Arc<Self> {
        let turns = Arc::new(Semaphore::new(LOOKUPS));
        Arc::new(Self { ask: Box::new(ask), turns, lookups: Mutex::default() })
    }

    /// Looks up a name, and shares the lookup with concurrent callers. The caller must set a deadline.
    pub(super) fn look_up(self: &Arc<Self>, name: &str) -> Shared<Lookup> {
        let mut lookups = self.lookups();
        if let Some(lookup) = lookups.get(name).and_then(WeakShared::upgrade) {
            return lookup;
        }
        // Drop lookups that nobody waits for any more.
        lookups.retain(|_, lookup| lookup.upgrade().is_some());
        let lookup = Arc::clone(self).ask(name.into()).boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            lookups.insert(name.into(), weak);
        }
        lookup
    }

    async fn ask(self: Arc<Self>, name: Box<str>) -> Found {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|error| lost(&error))?;
        // From here on the lookup runs to its end, and others may join it even if its caller has gone.
        let this = self.lookups().get(&name).and_then(WeakShared::upgrade);
        let (tell, told) = oneshot::channel();
        let work = move || {
            let found = (self.ask)(&name).map_err(Arc::new);
            self.lookups().remove(&name);
            let _ = tell.send(found);
            drop((this, turn));
        };
        match &*POOL {
            Ok(pool) => drop(pool.spawn_blocking(work)),
            // The runtime could not be created: use the caller's.
            Err(_) => drop(tokio::task::spawn_blocking(work)),
        }
        told.await.map_err(|error| lost(&error))?
    }

    fn lookups(&self) -> MutexGuard<'_, HashMap<Box<str>, WeakShared<Lookup>>> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(error: &dyn std::error::Error) -> Arc<io::Error> {
    Arc::new(io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A name server that answers once it is let, and takes down what it is asked.
    #[derive(Default)]
    struct Server {
        asked: Mutex<Vec<String>>,
        is_open: Mutex<bool>,
        opened: Condvar,
    }

    impl Server {
        fn names(self: &Arc<Self>) -> Arc<DnsLookups> {
            let server = Arc::clone(self);
            DnsLookups::asking(move |name| {
                server.asked.lock().unwrap().push(name.to_owned());
                let closed = server.is_open.lock().unwrap();
                drop(server.opened.wait_while(closed, |is_open| !*is_open).unwrap());
                Ok(vec!["192.0.2.1:0".parse().unwrap()])
            })
        }

        fn open(&self) {
            *self.is_open.lock().unwrap() = true;
            self.opened.notify_all();
        }

        /// Waits until it has been asked so often.
        async fn asked(&self, times: usize) -> Vec<String> {
            loop {
                let asked = self.asked.lock().unwrap().clone();
                if asked.len() >= times {
                    return asked;
                }
                tokio::task::yield_now().await;
            }
        }
    }

    async fn soon<F: Future>(future: F) -> F::Output {
        timeout(Duration::from_secs(10), future).await.expect("not in time")
    }

    #[tokio::test]
    async fn those_who_want_one_name_at_one_time_ask_once() {
        let server = Arc::new(Server::default());
        let names = server.names();
        let mut lookups: Vec<_> = (0..200).map(|_| names.look_up("registry.test")).collect();
        assert!(lookups.iter_mut().all(|lookup| lookup.now_or_never().is_none()));
        soon(server.asked(1)).await;
        // Those who began it give up, and another comes: it is still under way.
        drop(lookups);
        let late = names.look_up("registry.test");
        server.open();
        assert_eq!(soon(late).await.unwrap().len(), 1);
        assert_eq!(server.asked(1).await, ["registry.test"]);
        soon(names.look_up("registry.test")).await.unwrap();
        assert_eq!(server.asked(2).await.len(), 2, "what was found is not remembered");
    }

    #[tokio::test]
    async fn an_upstream_whose_names_hang_holds_up_no_other() {
        let (hanging, well) = (Arc::new(Server::default()), Arc::new(Server::default()));
        well.open();
        let (names, others) = (hanging.names(), well.names());
        let mut lookups: Vec<_> = (0..100).map(|number| names.look_up(&format!("n{number}.test"))).collect();
        assert!(lookups.iter_mut().all(|lookup| lookup.now_or_never().is_none()));
        soon(hanging.asked(LOOKUPS)).await;
        soon(others.look_up("registry.test")).await.unwrap();
        assert_eq!(hanging.asked(0).await.len(), LOOKUPS, "no more of one upstream at once");
        // Those who wait for their turn give up: nobody is asked for them.
        drop(lookups);
        hanging.open();
        soon(names.look_up("late.test")).await.unwrap();
        assert_eq!(hanging.asked(0).await.len(), LOOKUPS + 1);
        assert!(names.lookups().len() <= LOOKUPS, "names that nobody asks for are remembered");
    }

    #[test]
    fn a_reload_goes_on_with_the_same() {
        let before = DnsLookups::of("the_same.test");
        assert!(Arc::ptr_eq(&before, &DnsLookups::of("the_same.test")));
        assert!(!Arc::ptr_eq(&before, &DnsLookups::of("another.test")));
    }
}
