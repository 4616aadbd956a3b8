//! A client's request for a blob that is not in the store: what it wants, and the ways to answer it.

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;
use http::{Method, Response};

use super::hit::{self, BYPASSED};
use super::relay::relay;
use super::response::deliver;
use super::upstream::{ask_for, blob_unknown, fetch, source_of};
use super::window::{ServedRange, accept};
use crate::body::{Body, BodyPart};
use crate::cache::{Cache, Lease};
use crate::digest::Digest;
use crate::error::{Error, Failure};
use crate::fill::{Drive, FillRun, Main, Parts, Spool, SpoolPiece, SpoolReader};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Elapsed, Moment, within};
use crate::range::RangeSpec;
use crate::relay::{Continued, Relay, Source};
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Ask, Negative};

/// How long a range waits for its first byte from a shared download. After that it asks the upstream itself, and its
/// answer begins at most two seconds later than without the wait: SOCI waits three.
const HOLD: Duration = Duration::from_millis(1500);
/// Bytes that a range fetches for its client alone after it has waited in vain.
const BRIDGE_BYTES: u64 = 64 << 10;
/// Ranges of fewer bytes are read: they go out with their head in one write.
const SENT_BY_PARTS_BYTES: u64 = 256 << 10;
/// How often a shared download may turn out to be useless before a request goes to the upstream by itself.
pub(super) const TRIES: usize = 3;

/// From a download that another request began.
pub(super) const ARRIVING: Outcome = Outcome::new(Action::Joined, Reason::Arriving);
/// A range for this client alone.
pub(super) const PASSED: Outcome = Outcome::new(Action::Relayed, Reason::RangePassed);
/// A range from bytes that are here, or being fetched.
pub(super) const JOINED: Outcome = Outcome::new(Action::Joined, Reason::RangeArriving);

/// Whether a client may have a blob, as far as is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    /// The upstream has said so, now or before.
    pub(super) is_admitted: bool,
    /// It may have the stored blob once the upstream confirms it; the upstream need not give the bytes first.
    pub(super) is_usable: bool,
}

/// A client's request for a blob that is not in the store.
pub(super) struct BlobRequest<'a, 'v> {
    pub(super) context: &'a RequestContext<'v>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) digest: &'a Digest,
    /// `None`: all of it.
    pub(super) spec: Option<RangeSpec>,
    /// Until when it waits for other requests.
    pub(super) until: Moment,
}

impl<'a, 'v> BlobRequest<'a, 'v> {
    pub(super) fn new(
        context: &'a RequestContext<'v>,
        cache: &'a Arc<Cache>,
        digest: &'a Digest,
        spec: Option<RangeSpec>,
    ) -> Self {
        let most = cache.config().fill.wait.0;
        let hold = if spec.is_some() { most.min(HOLD) } else { most };
        Self { context, cache, digest, spec, until: context.env.platform.clock.now().after(hold) }
    }

    pub(super) fn now(&self) -> Moment {
        self.context.env.platform.clock.now()
    }

    /// How long it may still wait for other requests.
    pub(super) fn left(&self) -> Duration {
        self.until.since(self.now())
    }

    /// The upstream request for all of the blob.
    pub(super) fn ask(&self) -> Ask {
        ask_for(self.context, self.digest, Method::GET)
    }

    pub(super) fn source(&self, total: u64) -> Source {
        source_of(self.context, self.ask(), Some(total))
    }

    /// The download in progress from the same upstream.
    pub(super) fn arriving(&self) -> Option<Arc<Spool>> {
        self.context.env.fills.find(self.digest, self.context.upstream.name(), self.now())
    }

    /// Which bytes of a blob of this length go to the client.
    pub(super) fn window(&self, total: u64) -> Result<ServedRange, Error> {
        match self.spec {
            None => Ok(ServedRange::whole(total)),
            Some(spec) => spec.within(total).map(ServedRange::part).ok_or(Error::RangeNotSatisfiable { total }),
        }
    }

    /// Answers from the store.
    pub(super) async fn stored(&self, outcome: Outcome) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, cache, digest, .. } = *self;
        match self.spec {
            None => {
                Ok(cache.blobs.blob(digest, None).await.map(|found| hit::whole(context, digest, found, outcome)))
            }
            Some(spec) => match cache.blobs.blob_length(digest).await {
                Some(total) => hit::part(context, cache, digest, spec, total, outcome).await,
                None => Ok(None),
            },
        }
    }

    /// Relays the answer without caching it.
    pub(super) async fn pass(
        &self,
        found: Result<Response<Body>, Negative>,
        outcome: Outcome,
    ) -> Result<HandlerResponse, Error> {
        let Self { context, digest, .. } = *self;
        let (window, response) = accept(context, digest, self.spec, found).await?;
        let passed = relay(context, digest, self.ask(), window, response).await?;
        Ok(HandlerResponse { outcome, ..passed })
    }

    /// Fetches for this client alone, where the shared download takes too long or cannot be shared.
    pub(super) async fn alone(&self) -> Result<HandlerResponse, Error> {
        let mut ask = self.ask();
        ask.headers.extend(self.spec.map(|spec| (RANGE, spec.to_header())));
        let found = fetch(self.context, self.cache, self.digest, &ask).await;
        let outcome = if self.spec.is_some() { PASSED } else { BYPASSED };
        self.pass(found, outcome).await
    }

    pub(super) fn work(&self, spool: &Arc<Spool>, lease: Option<Lease>) -> Drive {
        let Self { context, cache, .. } = *self;
        Drive {
            spool: Arc::clone(spool),
            fills: Arc::clone(&context.env.fills),
            cache: Arc::clone(cache),
            clock: Arc::clone(&context.env.platform.clock),
            provenance: context.provenance(),
            source: self.source(spool.total()),
            parts: Parts::new(&cache.config().fill),
            idle: context.env.settings.timeouts.idle.0,
            lease,
        }
    }

    pub(super) fn drive(&self, spool: &Arc<Spool>, run: FillRun, main: Option<Main>, lease: Option<Lease>) {
        let work = self.work(spool, lease);
        self.context.env.platform.tasks.spawn(Box::pin(work.run(run, main)));
    }

    /// Answers from the spool that other requests fill. A range that waited too long for its first byte is fetched for
    /// this client alone.
    pub(super) async fn read(
        &self,
        spool: &Arc<Spool>,
        window: &ServedRange,
        outcome: Outcome,
    ) -> Result<HandlerResponse, Error> {
        if self.spec.is_some() {
            let (run, first, end) = self.place(spool, window);
            let begins =
                within(&*self.context.env.platform.clock, self.left(), spool.begins(first, end, run)).await;
            match begins {
                Ok(true) => {}
                Ok(false) => return self.alone().await,
                Err(_) => return self.bridge(spool, window).await,
            }
        }
        self.read_on(spool, window, outcome).await
    }

    /// Fetches the first bytes for this client alone, so that its answer can begin; the rest comes from the spool.
    pub(super) async fn bridge(&self, spool: &Arc<Spool>, window: &ServedRange) -> Result<HandlerResponse, Error> {
        let Self { context, cache, digest, .. } = *self;
        let Some(range) = window.range.filter(|_| !spool.lacks_parts()) else {
            return self.read_on(spool, window, JOINED).await;
        };
        let end = range.end.min(range.first.saturating_add(BRIDGE_BYTES));
        let mut ask = self.ask();
        ask.headers.insert(RANGE, RangeSpec::Between(range.first, end.saturating_sub(1)).to_header());
        let response = fetch(context, cache, digest, &ask).await.map_err(|no| no.into_error(blob_unknown))?;
        match Continued::of(response, range.first, Some(spool.total())) {
            Continued::Part(body) => {
                let first = Relay::new(self.source(spool.total()), body, 0, range.first, Some(end));
                let body = Body::frames(self.reader(spool, window).behind(first), Some(range.length()));
                deliver(context, digest, window, body, PASSED).await
            }
            Continued::Whole(_) => {
                spool.lack_parts();
                self.read_on(spool, window, JOINED).await
            }
            Continued::OtherLength | Continued::Unusable => self.alone().await,
        }
    }

    /// Answers from the spool, at the client's own pace.
    pub(super) async fn read_on(
        &self,
        spool: &Arc<Spool>,
        window: &ServedRange,
        outcome: Outcome,
    ) -> Result<HandlerResponse, Error> {
        let length = window.range.map(|range| range.length());
        let body = if self.may_be_sent_by_parts(spool, window).await? {
            Body::by_parts(self.reader(spool, window), self.reader::<BodyPart>(spool, window), length)
        } else {
            Body::frames(self.reader(spool, window), length)
        };
        deliver(self.context, self.digest, window, body, outcome).await
    }

    /// Whether the platform may send it from the spool by itself: its first byte is there, after which no error can be
    /// sent any more.
    async fn may_be_sent_by_parts(&self, spool: &Arc<Spool>, window: &ServedRange) -> Result<bool, Error> {
        let (run, first, end) = self.place(spool, window);
        if end.saturating_sub(first) < SENT_BY_PARTS_BYTES || !spool.has_handles() {
            return Ok(false);
        }
        let limit = self.context.env.settings.timeouts.head.0;
        let begins = within(&*self.context.env.platform.clock, limit, spool.begins(first, end, run)).await;
        begins.map_err(|Elapsed| Error::Upstream(Failure::TimedOut))
    }

    fn reader<P: SpoolPiece>(&self, spool: &Arc<Spool>, window: &ServedRange) -> SpoolReader<P> {
        let (run, first, end) = self.place(spool, window);
        SpoolReader::new(Arc::clone(spool), run, first, end, Some(self.source(spool.total())))
    }

    /// The run that withholds its end from this reader (0: none), and the range that it reads.
    fn place(&self, spool: &Spool, window: &ServedRange) -> (u64, u64, u64) {
        let (first, end) = window.range.map_or((0, spool.total()), |range| (range.first, range.end));
        // A client that resumes has the whole blob then.
        let is_rest = matches!(self.spec, Some(RangeSpec::From(_))) && !spool.withholds(first);
        let run = if (first, end) == (0, spool.total()) {
            spool.run_of_reader(false)
        } else if is_rest {
            spool.run_of_reader(true)
        } else {
            0
        };
        (run, first, end)
    }
}
