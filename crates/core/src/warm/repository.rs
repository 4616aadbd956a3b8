//! Parts of an image, fetched by the handlers that answer clients: each is in the store, or there is a reason why not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::LINK;
use serde::Deserialize;

use super::context::{WarmContext, Warming};
use super::trouble::WarmTrouble;
use crate::backoff::Backoff;
use crate::body::Body;
use crate::cache::{Cache, Described, Key};
use crate::digest::Digest;
use crate::error::Error;
use crate::fill::{Phase, Spool};
use crate::headers::DOCKER_CONTENT_DIGEST;
use crate::manifest::{self, Plan};
use crate::name::Reference;
use crate::outcome::{Action, Outcome};
use crate::platform::{UPLOAD_DEADLINE, within};
use crate::request::{OwnRequest, RequestContext};
use crate::route::{Endpoint, Target};
use crate::upstream::{Identity, Upstream};
use crate::warm_orders::{PartOutcome, WarmEvent};
use crate::{blob, listing};

/// How often it is told how much of a blob is here.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Pauses between looks at whether something is in the store: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long a record may be on its way into the store.
const RECORD_TIME: Duration = Duration::from_secs(15);
/// Most pages of a list of tags.
const MAX_PAGES: usize = 100;
/// Why a blob of an upstream with `redirects = "pass"` or `"rewrite"` does not come.
const LEFT_TO_CLIENTS: &str = "clients fetch the blobs of this registry by its own links (upstream.redirects)";

/// A repository of an image that is warmed.
pub(super) struct WarmRepository<'a> {
    warming: &'a Warming<'a>,
    upstream: &'a Arc<Upstream>,
    target: Arc<Target>,
    /// Of its image in the list.
    place: usize,
}

/// A manifest that is here.
pub(super) struct WarmedManifest {
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
    pub(super) outcome: PartOutcome,
    /// A tag that the registry could not confirm.
    pub(super) is_stale: bool,
}

impl<'a> WarmRepository<'a> {
    /// The repository that an image's name means.
    pub(super) fn new(warming: &'a Warming<'a>, target: Arc<Target>, place: usize) -> Result<Self, WarmTrouble> {
        let upstreams = warming.proxy.upstreams;
        let upstream = upstreams.get(target.upstream).ok_or(Error::UnknownUpstream)?;
        if !upstream.permits(&target.name) {
            return Err(Error::RepositoryDenied.into());
        }
        Ok(Self { warming, upstream, target, place })
    }

    fn proxy(&self) -> &WarmContext<'a> {
        self.warming.proxy
    }

    /// A request about this repository, as its operator's: our accounts ask.
    fn request(&self, endpoint: Endpoint) -> Result<OwnRequest, WarmTrouble> {
        let blocks = &self.proxy().env.blocks;
        if let Some(blocked) = blocks.request(self.upstream.name(), &self.target.name, &endpoint) {
            return Err(Error::Blocked(blocked).into());
        }
        let target = Target { endpoint, ..Target::clone(&self.target) };
        Ok(OwnRequest::new(Arc::new(target), Identity::Ours, None))
    }

    /// The answer, within the deadline that clients' requests have.
    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, WarmTrouble> {
        let env = self.proxy().env;
        let answer = within(&*env.platform.clock, env.settings.timeouts.head.0, answer).await;
        Ok(answer.unwrap_or(Err(Error::DeadlinePassed))?)
    }

    /// A manifest, from the cache or fetched into it.
    pub(super) async fn manifest(&self, reference: &Reference) -> Result<WarmedManifest, WarmTrouble> {
        let request = self.request(Endpoint::Manifest(reference.clone()))?;
        let context = request.context(self.proxy().env, self.upstream);
        self.spare_reserve(&context, reference).await?;
        let answer = self.in_time(Box::pin(manifest::get(&context, reference))).await?;
        drop(context);
        let Outcome { action, .. } = answer.outcome;
        let (head, body) = answer.response.into_parts();
        let bytes = body.collect(self.proxy().env.settings.limits.manifest.0).await;
        let bytes = bytes.map_err(|_| WarmTrouble::Broken)?;
        let digest = digest_of(&head.headers).ok_or(WarmTrouble::NotKept("it has no digest"))?;
        let outcome = match action {
            Action::Hit | Action::Revalidated | Action::Stale | Action::Held => PartOutcome::Cached,
            Action::Filled => PartOutcome::Fetched,
            Action::Joined => PartOutcome::Joined,
            Action::Relayed
            | Action::Answered
            | Action::Redirected
            | Action::Refused
            | Action::Failed
            | Action::Abandoned => return Err(WarmTrouble::NotKept(answer.outcome.reason.meaning())),
        };
        self.wait_for_record(&Key::manifest(&digest)).await?;
        Ok(WarmedManifest { digest, bytes, outcome, is_stale: action == Action::Stale })
    }

    /// The last pulls of an account are for clients: what would cost one does not come.
    async fn spare_reserve(&self, context: &RequestContext<'_>, reference: &Reference) -> Result<(), WarmTrouble> {
        let known = manifest::known(context, self.warming.cache, reference).await;
        let may_cost_a_pull = match known.plan {
            Plan::Fetch(_) => true,
            Plan::Ask => known.manifest.is_none(),
            Plan::Hit(_) | Plan::Missing(_) => false,
        };
        if may_cost_a_pull
            && let Some(scarcity) = self.upstream.scarcity(&Identity::Ours, &self.target.name).await
            && scarcity.is_reserve
        {
            return Err(WarmTrouble::Reserve { retry_after: scarcity.left });
        }
        Ok(())
    }

    /// A blob, from the cache or fetched into it; its length.
    pub(super) async fn blob(&self, digest: &Digest) -> Result<(PartOutcome, u64), WarmTrouble> {
        let request = self.request(Endpoint::Blob(digest.clone()))?;
        let context = request.context(self.proxy().env, self.upstream);
        let Some(cache) = blob::cache_for(&context) else { return Err(WarmTrouble::NotKept(LEFT_TO_CLIENTS)) };
        if context.may_have(cache, digest).await
            && let Some(length) = cache.blobs.blob_length(digest).await
        {
            return Ok((PartOutcome::Cached, length));
        }
        let answer = self.in_time(Box::pin(blob::get(&context, digest))).await?;
        // The rest of the way it takes no place among those who wait for the upstream.
        drop(context);
        let outcome = match answer.outcome.action {
            Action::Hit | Action::Revalidated | Action::Redirected => PartOutcome::Cached,
            Action::Filled => PartOutcome::Fetched,
            Action::Joined => PartOutcome::Joined,
            Action::Relayed
            | Action::Answered
            | Action::Stale
            | Action::Held
            | Action::Refused
            | Action::Failed
            | Action::Abandoned => return Err(WarmTrouble::NotKept(answer.outcome.reason.meaning())),
        };
        let shares_io = self.proxy().env.platform.capabilities.shares_io;
        match outcome {
            PartOutcome::Cached | PartOutcome::Missing => {}
            // The store copies what passes, so all of it has to pass.
            PartOutcome::Fetched | PartOutcome::Joined if !shares_io => {
                read_through(answer.response.into_body()).await?;
            }
            PartOutcome::Fetched | PartOutcome::Joined => {
                // Nobody reads it: it arrives as fast as the registry sends it.
                drop(answer);
                self.follow(digest).await?;
            }
        }
        let length = self.wait_for_blob(cache, digest).await?;
        Ok((outcome, length))
    }

    /// Waits for a download, and tells how far it has come.
    async fn follow(&self, digest: &Digest) -> Result<(), WarmTrouble> {
        let env = self.proxy().env;
        let clock = &*env.platform.clock;
        let find = || env.fills.find(digest, self.upstream.name(), clock.now());
        let mut following = find();
        while let Some(spool) = following {
            while spool.phase() == Phase::Running {
                self.tell_arriving(&spool);
                // Its own deadlines end it.
                let _ = within(clock, TELL_EVERY, spool.run_over()).await;
            }
            following = match spool.phase() {
                Phase::Whole => None,
                // The fill may begin anew, by one connection.
                Phase::Wrong => match find().filter(|next| !Arc::ptr_eq(next, &spool)) {
                    Some(next) => Some(next),
                    None => return Err(WarmTrouble::OtherDigest),
                },
                Phase::Running | Phase::Idle => return Err(WarmTrouble::Broken),
                Phase::Lost => return Err(WarmTrouble::NotKept("the store failed")),
            };
        }
        Ok(())
    }

    fn tell_arriving(&self, spool: &Spool) {
        (self.warming.tell)(WarmEvent::Arriving {
            place: self.place,
            digest: spool.digest().to_string(),
            bytes: spool.present(),
            total: spool.total(),
        });
    }

    /// Waits until a blob that has come is in the store; its length. A bucket may take long.
    async fn wait_for_blob(&self, cache: &Cache, digest: &Digest) -> Result<u64, WarmTrouble> {
        let env = self.proxy().env;
        let clock = &*env.platform.clock;
        let name = self.upstream.name();
        let until = clock.now().after(UPLOAD_DEADLINE);
        // Where no fill writes it, nothing says that it is on its way.
        let unseen = if env.platform.capabilities.shares_io { Duration::ZERO } else { RECORD_TIME };
        let unseen = clock.now().after(unseen);
        let mut backoff = Backoff::new(FIRST_LOOK, LONGEST_BETWEEN_LOOKS);
        loop {
            // Taken before the look: what is committed in between is found by it.
            let arriving = env.fills.find(digest, name, clock.now());
            let is_arriving = arriving.or_else(|| env.fills.find_elsewhere(digest, name)).is_some();
            if let Some(length) = cache.blobs.blob_length(digest).await {
                return Ok(length);
            }
            let now = clock.now();
            if now >= until || (!is_arriving && now >= unseen) {
                return Err(WarmTrouble::NotKept("the store did not keep it"));
            }
            clock.sleep(backoff.pause()).await;
        }
    }

    /// Waits until a record is in the store.
    pub(super) async fn wait_for_record(&self, key: &Key) -> Result<(), WarmTrouble> {
        let clock = &*self.proxy().env.platform.clock;
        let written = async {
            let mut backoff = Backoff::new(FIRST_LOOK, LONGEST_BETWEEN_LOOKS);
            while !self.warming.cache.is_stored(key).await {
                clock.sleep(backoff.pause()).await;
            }
        };
        let written = within(clock, RECORD_TIME, written).await;
        written.map_err(|_| WarmTrouble::NotKept("the store did not keep it"))
    }

    /// Whether a tag is in the store: a held one has records of its own.
    pub(super) async fn wait_for_tag(&self, reference: &Reference) -> Result<(), WarmTrouble> {
        let Reference::Tag(tag) = reference else { return Ok(()) };
        let (upstream, repository) = (self.upstream.name(), &self.target.name);
        let config = self.warming.cache.config();
        if config.hold_for(upstream, repository.as_str(), tag.as_str()).is_some() {
            return Ok(());
        }
        self.wait_for_record(&Key::tag(upstream, repository, tag.as_str())).await
    }

    /// All tags, as the registry lists them.
    pub(super) async fn tags(&self) -> Result<Vec<String>, WarmTrouble> {
        let mut all = Vec::new();
        let mut page = Some(String::new());
        for _ in 0..MAX_PAGES {
            let Some(query) = page.take() else { break };
            let request = self.request(Endpoint::Tags)?.with_query(&query);
            let context = request.context(self.proxy().env, self.upstream);
            let answer = self.in_time(Box::pin(listing::tags(&context))).await?;
            let (head, body) = answer.response.into_parts();
            let limit = self.proxy().env.settings.limits.listing.0;
            let body = body.collect(limit).await.map_err(|_| WarmTrouble::Broken)?;
            let listed: ListedTags = serde_json::from_slice(&body).map_err(|_| WarmTrouble::Broken)?;
            all.extend(listed.tags.unwrap_or_default());
            page = next_page(&head.headers);
        }
        Ok(all)
    }

    /// The manifests that refer to this one, as far as the registry lists them; none where it lists none.
    pub(super) async fn referrers(&self, digest: &Digest) -> Result<Vec<Reference>, WarmTrouble> {
        let request = self.request(Endpoint::Referrers(digest.clone()))?;
        let context = request.context(self.proxy().env, self.upstream);
        let listed = match self.in_time(Box::pin(listing::referrers(&context, digest))).await {
            Ok(answer) => {
                let limit = self.proxy().env.settings.limits.listing.0;
                let body = answer.response.into_body().collect(limit).await.map_err(|_| WarmTrouble::Broken)?;
                Described::of(&body).manifests.into_iter().map(|child| Reference::Digest(child.digest)).collect()
            }
            Err(trouble) if trouble.is_absence() => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        Ok(listed)
    }
}

/// A list of tags, as the handler answers it.
#[derive(Deserialize)]
struct ListedTags {
    tags: Option<Vec<String>>,
}

/// The query of the next page in a `Link` header that we wrote ourselves.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (_, query) = link.split_once('?')?;
    Some(query.split_once('>')?.0.to_owned())
}

fn digest_of(headers: &HeaderMap) -> Option<Digest> {
    Digest::parse(headers.get(DOCKER_CONTENT_DIGEST)?.to_str().ok()?).ok()
}

async fn read_through(mut body: Body) -> Result<(), WarmTrouble> {
    while let Some(piece) = body.chunk().await {
        piece.map_err(|_| WarmTrouble::Broken)?;
    }
    Ok(())
}

/// Tags by which clients find what belongs to a manifest where the registry lists no referrers: the fallback of the OCI
/// distribution specification 1.1, and those of cosign.
pub(super) fn tags_of(digest: &Digest) -> impl Iterator<Item = Reference> {
    let stem = format!("{}-{}", digest.algorithm(), digest.encoded());
    let tags = ["", ".sig", ".att", ".sbom"].map(|end| Reference::parse(&format!("{stem}{end}")));
    tags.into_iter().filter_map(Result::ok)
}
