//! What the handlers of repositories share: one request, admitted, in its repository.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use crate::body::{Body, InFlight};
use crate::cache::Cache;
use crate::client_view::ClientView;
use crate::config::{self, Limits, Timeouts};
use crate::digest::Digest;
use crate::evidence::{
    ClientScope, Link, LookupMethod, MayServe, Origin, Provenance, Requester, believes_unrecorded, may_serve,
};
use crate::fill::{Asker, Fills};
use crate::ingest::{Invocations, Job};
use crate::manifest::SharedRequests;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{Moment, Platform, Purpose};
use crate::quota::Quotas;
use crate::route::{Endpoint, Target};
use crate::seal::Sealer;
use crate::upstream::{Actions, Ask, Identity, Negative, Upstream};
use crate::waiting::WaitingPermit;

/// One admitted request.
pub(crate) struct RequestContext<'a> {
    /// Everything the platform offers.
    pub platform: &'a Platform,
    /// Bounds on what grows.
    pub bounds: &'a Limits,
    /// Deadlines.
    pub timeouts: &'a Timeouts,
    /// How blobs go to clients.
    pub delivery: &'a config::DeliveryConfig,
    /// Seals what the client carries for us.
    pub sealer: &'a Sealer,
    /// The upstream.
    pub upstream: &'a Arc<Upstream>,
    /// As whom it is asked.
    pub identity: &'a Identity,
    /// The name under which the client has logged in, if it has.
    pub(crate) user: Option<&'a str>,
    /// Its place among those who wait for the upstream: to be taken before anybody is asked.
    pub(crate) waiting: WaitingPermit<'a>,
    /// The repository and what is wanted there.
    pub target: &'a Target,
    /// The request's head.
    pub head: &'a Parts,
    /// When it was admitted: `timeouts.head` counts from here.
    pub started: Moment,
    /// The cache's generation then: what is forgotten since is not learned from this request.
    pub(crate) since: u64,
    /// How the client sees us.
    pub client_view: &'a ClientView,
    /// Whether everybody may see everything here.
    pub is_open: bool,
    /// Whether paths outside `/v2/` are relayed to the storage: only where everybody may use us.
    pub(crate) storage_passes: bool,
    /// Whether there is one upstream only.
    pub(crate) is_single: bool,
    /// What is kept, if anything is.
    pub(crate) cache: Option<&'a Arc<Cache>>,
    /// What is arriving.
    pub(crate) fills: &'a Arc<Fills>,
    /// Requests for manifests in progress, which several clients share.
    pub(crate) questions: &'a SharedRequests,
    /// How much clients may have.
    pub(crate) quotas: &'a Quotas,
    /// Invocations that were begun lately.
    pub(crate) invocations: &'a Invocations,
    /// What answers take of memory until clients have taken them.
    pub(crate) in_flight: &'a Arc<InFlight>,
    /// Headers that every question upstream carries: `Via`.
    pub upstream_headers: HeaderMap,
}

/// What a handler made of it.
pub(crate) struct HandlerResponse {
    /// For the client.
    pub response: Response<Body>,
    /// For header, log and metrics.
    pub outcome: Outcome,
}

impl HandlerResponse {
    /// Passed on from the upstream, as it always is.
    pub(crate) fn relayed(response: Response<Body>) -> Self {
        Self { response, outcome: Outcome::new(Action::Relayed, Reason::NeverKept) }
    }

    /// With another outcome.
    pub(crate) fn new(response: Response<Body>, done: Action, why: Reason) -> Self {
        Self { response, outcome: Outcome::new(done, why) }
    }
}

impl RequestContext<'_> {
    /// A question about this repository.
    pub(crate) fn ask(&self, method: Method, endpoint: String, purpose: Purpose) -> Ask {
        Ask {
            method,
            name: self.target.name.clone(),
            endpoint,
            query: None,
            headers: self.upstream_headers.clone(),
            identity: self.identity.clone(),
            actions: Actions::Pull,
            mount_from: None,
            purpose,
            is_continuation: false,
        }
    }

    /// Whether nothing may be asked of the upstream.
    pub(crate) fn is_offline(&self) -> bool {
        self.cache.is_some_and(|cache| cache.config().offline)
    }

    /// Who asks, and where.
    pub(crate) fn claim(&self) -> ClientScope {
        let credential = match self.identity {
            Identity::Ours | Identity::Client(None) => [0; 16],
            Identity::Client(Some(login)) => login.id,
        };
        ClientScope::new(self.upstream.name(), &self.target.name, credential)
    }

    /// Who asks for a blob, wherever in the upstream it is.
    pub(crate) fn asker(&self) -> Asker {
        Asker { upstream: self.upstream.name().into(), credential: self.claim().credential }
    }

    /// Who gives what is asked for now.
    pub(crate) fn provenance(&self) -> Provenance {
        self.upstream.provenance(self.identity, &self.target.name, self.since)
    }

    /// Who wants it, as far as the cache is concerned.
    fn reader(&self, cache: &Cache) -> Requester {
        match self.identity {
            Identity::Ours => Requester::Anyone,
            Identity::Client(_) if cache.grants().hold(&self.claim(), self.platform.clock.now()) => {
                Requester::Admitted
            }
            Identity::Client(_) => Requester::Stranger,
        }
    }

    /// Whether this client may see this repository, as far as we know: where clients are told apart by the upstream,
    /// it has let this one in lately.
    pub(crate) fn is_let_in(&self, cache: &Cache) -> bool {
        self.reader(cache) != Requester::Stranger
    }

    /// Whether this client may have these bytes from the cache, or what the upstream has to say first.
    pub(crate) async fn may_serve(&self, cache: &Cache, digest: &Digest) -> MayServe {
        let (reader, upstream) = (self.reader(cache), self.upstream.name());
        let link = cache.linked(upstream, &self.target.name, digest).await;
        let origin = match link {
            // It proves by itself: no need to look.
            Some(Link::Proven) => Origin::This,
            Some(Link::Named | Link::Claimed | Link::Shown) | None => {
                cache.origin(upstream, digest, believes_unrecorded(reader, link)).await
            }
        };
        may_serve(reader, link, origin)
    }

    /// Whether this client may have these bytes from the cache at once.
    pub(crate) async fn may_have(&self, cache: &Cache, digest: &Digest) -> bool {
        self.may_serve(cache, digest).await == MayServe::Yes
    }

    /// Has the platform begin an invocation of its own that brings a blob into the store; whether it has, lately. Not
    /// where all clients together have used up what they may have.
    pub(crate) async fn invoke_ingest(&self, digest: &Digest, total: u64) -> bool {
        let Some(invoker) = self.platform.invoker.as_deref() else { return false };
        let job = Job {
            upstream: self.upstream.name().to_owned(),
            repository: self.target.name.as_str().to_owned(),
            digest: digest.to_string(),
            total,
        };
        self.invocations.begin(invoker, &*self.platform.clock, self.quotas, &job).await
    }

    /// The upstream has just let this client into the repository.
    pub(crate) fn admitted(&self, cache: &Cache) {
        if matches!(self.identity, Identity::Client(_)) {
            cache.grants().give(self.claim(), self.platform.clock.now());
        }
    }

    /// The upstream has just said to this client that the repository has this digest.
    pub(crate) async fn claimed(&self, cache: &Arc<Cache>, digest: &Digest) {
        self.admitted(cache);
        cache.claimed(&self.provenance(), digest).await;
    }

    /// What an upstream's refusal means for what is remembered: whoever was let in is not any more, and what was not
    /// found is not asked for again at once.
    pub(crate) fn denied(&self, cache: &Cache, negative: &Negative, reference: &str) {
        self.refused(cache, negative);
        if matches!(negative, Negative::Missing(_)) {
            cache.absent(self.claim(), self.absent(reference).into(), self.asks(), self.since);
        }
    }

    /// The first half of that.
    pub(crate) fn refused(&self, cache: &Cache, negative: &Negative) {
        if matches!(negative, Negative::Refused(_)) {
            cache.grants().revoke(&self.claim());
        }
    }

    /// Whether this was not found a moment ago.
    pub(crate) fn is_absent(&self, cache: &Cache, reference: &str) -> bool {
        cache.is_absent(&self.claim(), &self.absent(reference), self.asks(), self.upstream.push_enabled())
    }

    /// How the client asks. Who asks with GET gets no answer that an upstream gave to a HEAD.
    fn asks(&self) -> LookupMethod {
        if self.is_head() { LookupMethod::Head } else { LookupMethod::Get }
    }

    /// Whether this may be a pusher's question, what of an image has arrived: it asks by HEAD, and only the registry itself
    /// can tell.
    pub(crate) fn may_push(&self) -> bool {
        self.is_head() && self.upstream.push_enabled() && self.target.namespace.is_none()
    }

    /// What was not found: a digest that is no manifest here may be a blob (P-89), and a manifest of a type that others do
    /// not name may be there for this client (P-81).
    fn absent(&self, reference: &str) -> String {
        match self.target.endpoint {
            Endpoint::Manifest(_) => match crate::manifest::own_types(&self.head.headers).as_slice() {
                [] => format!("manifests/{reference}"),
                own => format!("manifests/{reference} {}", own.join(",")),
            },
            // Nobody asks whether a list is absent.
            Endpoint::Blob(_) | Endpoint::Uploads | Endpoint::Upload | Endpoint::Referrers(_) | Endpoint::Tags => {
                format!("blobs/{reference}")
            }
        }
    }

    /// Whether the client will not have what is remembered.
    pub(crate) fn wants_it_new(&self) -> bool {
        let mut lines = self.head.headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        lines.any(|line| {
            line.split(',')
                .any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "no-cache" | "max-age=0"))
        })
    }

    /// Whether the client only wants to know.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}
