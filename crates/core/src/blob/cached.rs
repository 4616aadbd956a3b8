//! Blobs with a cache before the upstream: from the store, or as [`BlobRequest`] of those who fetch: all of it
//! ([`fetched`](super::fetched)) or a range of it ([`ranged`](super::ranged)).

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;
use http::{Method, Response};

use super::hit::{self, BYPASSED, ask_length, begin_asking, found, show};
use super::{ServedRange, accept, ask_for, blob_unknown, deliver, ranged, relay, source_of, unshared};
use crate::body::Body;
use crate::cache::{Cache, Lease};
use crate::digest::Digest;
use crate::error::Error;
use crate::evidence::MayServe;
use crate::fill::{Drive, FillRun, Main, Parts, Phase, Spool, SpoolReader};
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Moment, within};
use crate::range::RangeSpec;
use crate::relay::Source;
use crate::request::{HandlerResponse, RequestContext};
use crate::upstream::{Ask, Negative};

/// From what another one fetches.
pub(super) const ARRIVING: Outcome = Outcome::new(Action::Joined, Reason::Arriving);

/// The length of a blob, in bytes.
pub(super) async fn length(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<(Option<u64>, Outcome), Error> {
    let may_have = context.may_have(cache, digest).await;
    // A client that may push may ask whether it must send this one: only the registry itself knows.
    if may_have && (!context.may_push() || context.is_offline()) {
        if let Some(length) = cache.right_length(digest).await {
            return Ok((Some(length), hit::HIT));
        }
        if let Some(spool) =
            context.env.fills.find(digest, context.upstream.name(), context.env.platform.clock.now())
        {
            return Ok((Some(spool.total()), ARRIVING));
        }
    }
    begin_asking(context, cache, digest)?;
    match ask_length(context, cache, digest).await {
        Ok(length) => Ok((length, Outcome::new(Action::Relayed, Reason::AbsentHead))),
        Err(negative) if may_have && negative.allows_stale() => match cache.right_length(digest).await {
            Some(length) => Ok((Some(length), hit::HIT)),
            None => Err(negative.into_error(blob_unknown)),
        },
        Err(negative) => Err(negative.into_error(blob_unknown)),
    }
}

/// All of a blob.
pub(super) async fn whole(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<HandlerResponse, Error> {
    if !context.env.platform.capabilities.shares_io {
        return unshared::whole(context, cache, digest).await;
    }
    let wanted = BlobRequest::new(context, cache, digest, None);
    let mut hit = hit::HIT;
    let may_serve = context.may_serve(cache, digest).await;
    let mut is_admitted = may_serve == MayServe::Yes;
    // What is stored is of no use where the upstream has to give it first.
    let is_usable = may_serve != MayServe::AfterBody;
    if !is_admitted && (is_usable && cache.blob_length(digest).await.is_some() || wanted.arriving().is_some()) {
        // It is here, and perhaps not for this client: the upstream says.
        show(context, cache, digest).await?;
        is_admitted = true;
        hit = hit::CONFIRMED;
    }
    let is_arriving = || wanted.arriving().is_some_and(|spool| spool.phase() == Phase::Running);
    // What is arriving is not stored: no need to look.
    if is_admitted
        && is_usable
        && !is_arriving()
        && let Some(found) = cache.blob(digest, None).await
    {
        return Ok(hit::whole(context, digest, found, hit));
    }
    wanted.fetch_whole(Admission { is_admitted, is_usable }, hit).await
}

/// A range of a blob.
pub(super) async fn range(
    context: &RequestContext<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<HandlerResponse, Error> {
    if !context.env.platform.capabilities.shares_io {
        return unshared::range(context, cache, digest, spec).await;
    }
    let wanted = BlobRequest::new(context, cache, digest, Some(spec));
    let stored = cache.blob_length(digest).await;
    let arriving = wanted.arriving();
    let is_here = stored.is_some() || arriving.is_some();
    let hit = if is_here { hit::admit(context, cache, digest).await? } else { None };
    if let (None, true) = (hit, arriving.is_some()) {
        show(context, cache, digest).await?;
    }
    if let (Some(total), Some(hit)) = (stored, hit)
        && let Some(part) = hit::part(context, cache, digest, spec, total, hit).await?
    {
        return Ok(part);
    }
    match spec {
        // The beginning of all of it, as whoever fetches in parallel begins (P-106).
        RangeSpec::From(0) => {
            let may_serve = context.may_serve(cache, digest).await;
            let is_admitted = hit.is_some() || arriving.is_some() || may_serve == MayServe::Yes;
            let admission = Admission { is_admitted, is_usable: may_serve != MayServe::AfterBody };
            wanted.fetch_whole(admission, hit.unwrap_or(hit::HIT)).await
        }
        RangeSpec::From(_) | RangeSpec::Between(..) | RangeSpec::Last(_) => wanted.fetch_range(spec).await,
    }
}

/// What is known of whether a client may have a blob.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission {
    /// The upstream has said so, now or before.
    pub(super) is_admitted: bool,
    /// It may have what is stored, if the upstream says so: it need not give the bytes first.
    pub(super) is_usable: bool,
}

/// What a client wants that is not in the store.
pub(super) struct BlobRequest<'a, 'v> {
    pub(super) context: &'a RequestContext<'v>,
    pub(super) cache: &'a Arc<Cache>,
    pub(super) digest: &'a Digest,
    /// `None`: all of it.
    pub(super) spec: Option<RangeSpec>,
    /// Until when it waits for what others are doing.
    pub(super) until: Moment,
}

impl<'a, 'v> BlobRequest<'a, 'v> {
    fn new(
        context: &'a RequestContext<'v>,
        cache: &'a Arc<Cache>,
        digest: &'a Digest,
        spec: Option<RangeSpec>,
    ) -> Self {
        let most = cache.config().fill.wait.0;
        let hold = if spec.is_some() { most.min(ranged::HOLD) } else { most };
        Self { context, cache, digest, spec, until: context.env.platform.clock.now().after(hold) }
    }

    pub(super) fn now(&self) -> Moment {
        self.context.env.platform.clock.now()
    }

    /// How long it may still wait for others.
    pub(super) fn left(&self) -> Duration {
        self.until.since(self.now())
    }

    /// The question for all of it.
    pub(super) fn ask(&self) -> Ask {
        ask_for(self.context, self.digest, Method::GET)
    }

    pub(super) fn source(&self, total: u64) -> Source {
        source_of(self.context, self.ask(), Some(total))
    }

    /// What is arriving from this very upstream.
    pub(super) fn arriving(&self) -> Option<Arc<Spool>> {
        self.context.env.fills.find(self.digest, self.context.upstream.name(), self.now())
    }

    /// What of a blob of this length goes to the client.
    pub(super) fn window(&self, total: u64) -> Result<ServedRange, Error> {
        match self.spec {
            None => Ok(ServedRange::whole(total)),
            Some(spec) => spec.within(total).map(ServedRange::part).ok_or(Error::RangeNotSatisfiable { total }),
        }
    }

    /// From the store.
    pub(super) async fn stored(&self, outcome: Outcome) -> Result<Option<HandlerResponse>, Error> {
        let Self { context, cache, digest, .. } = *self;
        match self.spec {
            None => Ok(cache.blob(digest, None).await.map(|found| hit::whole(context, digest, found, outcome))),
            Some(spec) => match cache.blob_length(digest).await {
                Some(total) => hit::part(context, cache, digest, spec, total, outcome).await,
                None => Ok(None),
            },
        }
    }

    /// As it comes, without keeping it.
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

    /// For this client alone: what others fetch takes too long, or cannot be shared.
    pub(super) async fn alone(&self) -> Result<HandlerResponse, Error> {
        let mut ask = self.ask();
        ask.headers.extend(self.spec.map(|spec| (RANGE, spec.to_header())));
        let found = found(self.context, self.cache, self.digest, &ask).await;
        let outcome = if self.spec.is_some() { ranged::PASSED } else { BYPASSED };
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

    /// From the spool, where others fetch it. A range that has waited too long for its first byte is fetched by itself.
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

    /// From the spool, at the client's own pace.
    pub(super) async fn read_on(
        &self,
        spool: &Arc<Spool>,
        window: &ServedRange,
        outcome: Outcome,
    ) -> Result<HandlerResponse, Error> {
        let reader = self.reader(spool, window);
        let length = window.range.map(|range| range.length());
        deliver(self.context, self.digest, window, Body::stream(reader, length), outcome).await
    }

    pub(super) fn reader(&self, spool: &Arc<Spool>, window: &ServedRange) -> SpoolReader {
        let (run, first, end) = self.place(spool, window);
        SpoolReader::new(Arc::clone(spool), run, first, end, Some(self.source(spool.total())))
    }

    /// The run whose end is withheld from this reader until it is verified, and the bytes that it wants.
    fn place(&self, spool: &Spool, window: &ServedRange) -> (u64, u64, u64) {
        let (first, end) = window.range.map_or((0, spool.total()), |range| (range.first, range.end));
        // Whoever resumes has all of it in the end.
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
