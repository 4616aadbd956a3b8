//! Blobs with a cache before the upstream: from the store, from what is arriving, or as the one who fetches it.

use std::sync::Arc;
use std::time::Duration;

use http::header::RANGE;
use http::{Method, Response, StatusCode};

use super::stored::{self, BYPASSED, ask_length, found, not_elsewhere, show};
use super::{Window, accept, ask_for, blob_unknown, deliver, inline, relay, source_of};
use crate::body::Body;
use crate::cache::{Cache, Lease, Leased};
use crate::digest::Digest;
use crate::error::Error;
use crate::evidence::MayServe;
use crate::fill::{Drive, Entry, Keep, Lead, Parts, Phase, Reader, Spool};
use crate::outcome::{Done, Outcome, Why};
use crate::platform::within;
use crate::range::RangeSpec;
use crate::relay::{Relay, Source};
use crate::upstream::Ask;
use crate::visit::{Answer, Visit};

/// A range so near to where a fill has got waits for it; one farther away is fetched by itself (P-105).
const NEAR_BYTES: u64 = 8 << 20;

/// How soon it is looked whether another process has fetched a blob, and how often at most.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// The length of a blob, in bytes.
pub(super) async fn length(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
) -> Result<(Option<u64>, Outcome), Error> {
    let may_have = visit.may_have(cache, digest).await;
    // A client that may push may ask whether it must send this one: only the registry itself knows.
    if may_have && (!visit.may_push() || visit.is_offline()) {
        if let Some(length) = cache.right_length(digest).await {
            return Ok((Some(length), stored::HIT));
        }
        if let Some(spool) = arriving(visit, digest) {
            return Ok((Some(spool.total()), Outcome::new(Done::Joined, Why::Arriving)));
        }
    }
    not_elsewhere(visit, cache, digest)?;
    match ask_length(visit, cache, digest).await {
        Ok(length) => Ok((length, Outcome::new(Done::Relayed, Why::AbsentHead))),
        Err(negative) if may_have && negative.allows_stale() => match cache.right_length(digest).await {
            Some(length) => Ok((Some(length), stored::HIT)),
            None => Err(negative.into_error(blob_unknown)),
        },
        Err(negative) => Err(negative.into_error(blob_unknown)),
    }
}

/// What is arriving from this very upstream: what it says of a blob's length and parts is not yet verified.
fn arriving(visit: &Visit<'_>, digest: &Digest) -> Option<Arc<Spool>> {
    let upstream = visit.upstream.name();
    let spool = visit.fills.find(digest, upstream, visit.platform.clock.now());
    spool.filter(|spool| spool.origin() == upstream)
}

/// All of a blob.
pub(super) async fn whole(visit: &Visit<'_>, cache: &Arc<Cache>, digest: &Digest) -> Result<Answer, Error> {
    if !visit.platform.limits.shares_io {
        return inline::whole(visit, cache, digest).await;
    }
    let now = visit.platform.clock.now();
    let may_serve = visit.may_serve(cache, digest).await;
    let mut is_admitted = may_serve == MayServe::Yes;
    // What is stored is of no use where the upstream has to give it first.
    let is_usable = may_serve != MayServe::AfterBody;
    let mut hit = stored::HIT;
    let under_way = || visit.fills.find(digest, visit.upstream.name(), now);
    if !is_admitted && (is_usable && cache.blob_length(digest).await.is_some() || under_way().is_some()) {
        // It is here, and perhaps not for this client: the upstream says.
        show(visit, cache, digest).await?;
        is_admitted = true;
        hit = stored::CONFIRMED;
    }
    let is_arriving = || under_way().is_some_and(|spool| spool.phase() == Phase::Running);
    // What is arriving is not stored: no need to look.
    if is_admitted
        && is_usable
        && !is_arriving()
        && let Some(found) = cache.blob(digest, None).await
    {
        return Ok(stored::whole(visit, digest, found, hit));
    }
    not_elsewhere(visit, cache, digest)?;
    let ask = ask_for(visit, digest, Method::GET);
    let lead = match visit.fills.enter(digest, &visit.asker(), now).await {
        Entry::Lead(lead) => lead,
        Entry::Refused(negative) => return Err(negative.into_error(blob_unknown)),
        Entry::Pass => {
            let response = found(visit, cache, digest, &ask).await.map_err(|no| no.into_error(blob_unknown))?;
            let passed = pass(visit, digest, ask, response).await?;
            return Ok(Answer { outcome: BYPASSED, ..passed });
        }
        Entry::Open(spool) => {
            if !is_admitted {
                show(visit, cache, digest).await?;
            }
            return join(visit, cache, digest, &spool).await;
        }
    };
    // Whoever led before may have heard that there is no such thing.
    not_elsewhere(visit, cache, digest)?;
    let (lease, is_stored) = if is_usable { lease(visit, cache, digest).await } else { (None, false) };
    // Another process may have fetched it meanwhile, or somebody between the look and the lead.
    if is_usable
        && (is_stored || is_admitted)
        && visit.may_serve(cache, digest).await != MayServe::AfterBody
        && (is_admitted || show(visit, cache, digest).await.is_ok())
        && let Some(found) = cache.blob(digest, None).await
    {
        let outcome = if is_stored { Outcome::new(Done::Joined, Why::OtherProcess) } else { hit };
        return Ok(stored::whole(visit, digest, found, outcome));
    }
    fill(visit, cache, digest, ask, lead, lease).await
}

/// Fetched for everybody who wants it, and kept; or passed on to this client, where that cannot be.
async fn fill(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    ask: Ask,
    lead: Lead,
    lease: Option<Lease>,
) -> Result<Answer, Error> {
    let response = match found(visit, cache, digest, &ask).await {
        Ok(response) => response,
        Err(negative) => {
            if negative.is_outage() {
                lead.fail(negative.clone());
            }
            return Err(negative.into_error(blob_unknown));
        }
    };
    let total = response.body().length().filter(|total| *total > 0);
    let (StatusCode::OK, Some(total)) = (response.status(), total) else {
        lead.pass();
        return pass(visit, digest, ask, response).await;
    };
    let Some(draft) = cache.draft(digest, total).await else {
        lead.pass();
        let passed = pass(visit, digest, ask, response).await?;
        return Ok(Answer { outcome: BYPASSED, ..passed });
    };
    let spool = Arc::new(Spool::begun(digest.clone(), total, visit.upstream.name().into(), draft));
    let source = source_of(visit, ask);
    let main = Relay::new(source.clone(), response.into_body(), 0, 0, Some(total));
    let opened = lead.open(&spool, visit.platform.clock.now());
    // A range may have opened another one meanwhile, and somebody may be at that already.
    let outcome = if Arc::ptr_eq(&opened, &spool) || opened.begin_run() {
        drive(visit, cache, &opened, source.clone(), Some(Body::stream(main, Some(total))), lease);
        Outcome::new(Done::Filled, Why::BlobAbsent)
    } else {
        Outcome::new(Done::Joined, Why::Arriving)
    };
    read(visit, digest, &opened, source, Window::whole(total), outcome).await
}

/// As it comes, without keeping it.
async fn pass(visit: &Visit<'_>, digest: &Digest, ask: Ask, response: Response<Body>) -> Result<Answer, Error> {
    let (window, response) = accept(visit, digest, None, Ok(response)).await?;
    relay(visit, digest, ask, window, response).await
}

/// From what is arriving.
async fn join(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spool: &Arc<Spool>,
) -> Result<Answer, Error> {
    let source = source_of(visit, ask_for(visit, digest, Method::GET));
    let outcome = if spool.begin_run() {
        cache.takes(spool.total().saturating_sub(spool.present()));
        drive(visit, cache, spool, source.clone(), None, None);
        Outcome::new(Done::Filled, Why::BlobRest)
    } else {
        Outcome::new(Done::Joined, Why::Arriving)
    };
    read(visit, digest, spool, source, Window::whole(spool.total()), outcome).await
}

/// The right to fetch; or the word that another process has fetched it meanwhile. Whoever waits in vain fetches for
/// itself: a lease delays, and never prevents (P-113).
async fn lease(visit: &Visit<'_>, cache: &Arc<Cache>, digest: &Digest) -> (Option<Lease>, bool) {
    let clock = &visit.platform.clock;
    let give_up = clock.now().after(cache.config().fill.wait.0);
    let mut pause = FIRST_LOOK;
    loop {
        match cache.lease(digest).await {
            Leased::Ours(lease) => {
                // Between the look at the store and the lease another may have come to its end.
                let is_stored = lease.is_some() && cache.blob_length(digest).await.is_some();
                return (lease, is_stored);
            }
            Leased::Theirs if clock.now() >= give_up => return (None, false),
            Leased::Theirs => {}
        }
        clock.sleep(pause).await;
        pause = (pause * 2).min(MOST_BETWEEN_LOOKS);
        if cache.blob_length(digest).await.is_some() {
            return (None, true);
        }
    }
}

fn drive(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    spool: &Arc<Spool>,
    source: Source,
    main: Option<Body>,
    lease: Option<Lease>,
) {
    let drive = Drive {
        spool: Arc::clone(spool),
        fills: Arc::clone(visit.fills),
        cache: Arc::clone(cache),
        clock: Arc::clone(&visit.platform.clock),
        provenance: visit.provenance(),
        source,
        parts: Parts::new(&cache.config().fill),
        idle: visit.timeouts.idle.0,
        lease,
    };
    visit.platform.tasks.spawn(Box::pin(drive.run(main)));
}

async fn read(
    visit: &Visit<'_>,
    digest: &Digest,
    spool: &Arc<Spool>,
    source: Source,
    window: Window,
    outcome: Outcome,
) -> Result<Answer, Error> {
    let (first, end) = window.range.map_or((0, spool.total()), |range| (range.first, range.end));
    let run = spool.run_of_reader(first > 0 || end < spool.total());
    let reader = Reader::new(Arc::clone(spool), run, first, end, Some(source));
    deliver(visit, digest, &window, Body::stream(reader, Some(end - first)), outcome).await
}

/// A range of a blob.
pub(super) async fn range(
    visit: &Visit<'_>,
    cache: &Arc<Cache>,
    digest: &Digest,
    spec: RangeSpec,
) -> Result<Answer, Error> {
    if !visit.platform.limits.shares_io {
        return inline::range(visit, cache, digest, spec).await;
    }
    let now = visit.platform.clock.now();
    let within_total = |total| spec.within(total).ok_or(Error::RangeNotSatisfiable { total });
    let stored = cache.blob_length(digest).await;
    let arriving = arriving(visit, digest);
    let is_here = stored.is_some() || arriving.is_some();
    let hit = if is_here { stored::admit(visit, cache, digest).await? } else { None };
    if let (None, true) = (hit, arriving.is_some()) {
        show(visit, cache, digest).await?;
    }
    if let (Some(total), Some(hit)) = (stored, hit)
        && let Some(part) = stored::part(visit, cache, digest, spec, total, hit).await?
    {
        return Ok(part);
    }
    if let Some(spool) = &arriving {
        let range = within_total(spool.total())?;
        if spool.is_complete() && spool.begin_run() {
            // Range by range it has all come: time to verify it.
            drive(visit, cache, spool, source_of(visit, ask_for(visit, digest, Method::GET)), None, None);
        }
        if spool.has_or_awaits(range.first, range.end, NEAR_BYTES) {
            let source = source_of(visit, ask_for(visit, digest, Method::GET));
            let joined = Outcome::new(Done::Joined, Why::RangeArriving);
            let reading = read(visit, digest, spool, source, Window::part(range), joined);
            // Bounded: what does not come in time, or breaks off, is fetched by itself (P-105).
            if let Ok(Ok(answer)) = within(&*visit.platform.clock, cache.config().fill.wait.0, reading).await {
                return Ok(answer);
            }
        }
    }
    not_elsewhere(visit, cache, digest)?;
    let mut ask = ask_for(visit, digest, Method::GET);
    ask.headers.insert(RANGE, spec.to_header());
    let found = found(visit, cache, digest, &ask).await;
    let (window, response) = accept(visit, digest, Some(spec), found).await?;
    let Some(range) = window.range else { return relay(visit, digest, ask, window, response).await };
    let spool = match arriving {
        Some(spool) => Some(spool),
        None => cache.sparse_draft(digest, range.total).await.and_then(|draft| {
            let spool = Spool::new(digest.clone(), range.total, visit.upstream.name().into(), draft);
            visit.fills.open(&Arc::new(spool), now)
        }),
    };
    let relayed =
        Relay::new(source_of(visit, ask), response.into_body(), window.skip, range.first, Some(range.end));
    let body = Body::stream(relayed, Some(range.length()));
    let (body, outcome) = match spool.filter(|spool| spool.total() == range.total) {
        Some(spool) => {
            let keep = Keep::new(body, spool, range.first, Arc::clone(&visit.platform.tasks));
            (Body::stream(keep, Some(range.length())), Outcome::new(Done::Relayed, Why::AbsentRange))
        }
        None => (body, BYPASSED),
    };
    deliver(visit, digest, &window, body, outcome).await
}
