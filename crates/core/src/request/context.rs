//! One admitted request, and what it asks of the evidence, the cache and its upstream.

use std::sync::Arc;

use http::Method;
use http::header::CACHE_CONTROL;
use http::request::Parts;

use super::client_view::ClientView;
use super::env::{Env, Visibility};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::evidence::{
    ClientScope, Link, LookupMethod, MayServe, Origin, Provenance, Requester, believes_unrecorded, may_serve,
};
use crate::fill::Asker;
use crate::headers;
use crate::platform::{Moment, RequestPurpose};
use crate::route::{Endpoint, Target};
use crate::upstream::{Actions, Ask, Identity, Negative, Upstream};
use crate::waiting::WaitingPermit;

/// One admitted request.
pub(crate) struct RequestContext<'a> {
    /// What all requests share.
    pub(crate) env: &'a Env,
    /// The upstream.
    pub(crate) upstream: &'a Arc<Upstream>,
    /// The identity with which the upstream is asked.
    pub(crate) identity: &'a Identity,
    /// The client's user name, if it has logged in.
    pub(crate) user: Option<&'a str>,
    /// A permit to wait for the upstream: taken before the upstream is asked.
    pub(crate) waiting: WaitingPermit<'a>,
    /// The repository, and what is wanted there.
    pub(crate) target: &'a Target,
    /// The request's head.
    pub(crate) head: &'a Parts,
    /// How the client sees us.
    pub(crate) client_view: &'a ClientView,
    /// When the request was admitted: `timeouts.head` counts from here.
    pub(crate) started: Moment,
    /// The cache's generation at that time. This request does not bring back what the cache forgot later.
    pub(crate) since: u64,
}

impl<'a> RequestContext<'a> {
    /// The cache. `None`: nothing is kept.
    pub(crate) fn cache(&self) -> Option<&'a Arc<Cache>> {
        self.env.cache.as_ref()
    }
}

impl RequestContext<'_> {
    /// A request to the upstream about this repository.
    pub(crate) fn ask(&self, method: Method, endpoint: String, purpose: RequestPurpose) -> Ask {
        Ask {
            method,
            name: self.target.name.clone(),
            endpoint,
            query: None,
            headers: headers::of_upstream_request(&self.head.headers, &self.env.via),
            identity: self.identity.clone(),
            actions: Actions::Pull,
            mount_from: None,
            purpose,
            is_continuation: false,
        }
    }

    /// Whether no upstream may be asked (`cache.offline`).
    pub(crate) fn is_offline(&self) -> bool {
        self.cache().is_some_and(|cache| cache.config().offline)
    }

    /// Who asks, and where.
    pub(crate) fn claim(&self) -> ClientScope {
        let credential = match self.identity {
            Identity::Ours | Identity::Client(None) => [0; 16],
            Identity::Client(Some(login)) => login.id,
        };
        ClientScope::new(self.upstream.name(), &self.target.name, credential)
    }

    /// Who asks for a blob of this upstream, in whatever repository.
    pub(crate) fn asker(&self) -> Asker {
        Asker { upstream: self.upstream.name().into(), credential: self.claim().credential }
    }

    /// The source of what the upstream sends for this request.
    pub(crate) fn provenance(&self) -> Provenance {
        self.upstream.provenance(self.identity, &self.target.name, self.since)
    }

    /// How the cache knows this client.
    fn reader(&self, cache: &Cache) -> Requester {
        match self.identity {
            Identity::Ours if self.env.settings.visibility == Visibility::Uniform => Requester::Anyone,
            // Somebody may push a manifest that names what a rule or an issuer keeps from them.
            Identity::Ours => Requester::Admitted,
            Identity::Client(_) if cache.grants().hold(&self.claim(), self.env.platform.clock.now()) => {
                Requester::Admitted
            }
            Identity::Client(_) => Requester::Stranger,
        }
    }

    /// Whether a page may tell this client that the cache has something of this repository: where a pull would say so, too.
    pub(crate) fn may_be_told(&self) -> bool {
        let is_let_in = self.cache().is_some_and(|cache| self.is_let_in(cache));
        self.upstream.permits(&self.target.name) && is_let_in
    }

    /// Whether this client may see this repository, as far as we know. Where the upstream decides that, it must have let
    /// this client in lately.
    pub(crate) fn is_let_in(&self, cache: &Cache) -> bool {
        self.reader(cache) != Requester::Stranger
    }

    /// Whether this client may have these bytes from the cache, or what the upstream must confirm first.
    pub(crate) async fn may_serve(&self, cache: &Cache, digest: &Digest) -> MayServe {
        let (reader, upstream) = (self.reader(cache), self.upstream.name());
        let link = cache.metadata.linked(upstream, &self.target.name, digest).await;
        let origin = match link {
            // The link is a proof by itself, so the origin need not be looked up.
            Some(Link::Proven) => Origin::This,
            Some(Link::Named | Link::Claimed | Link::Shown) | None => {
                cache.metadata.origin(upstream, digest, believes_unrecorded(reader, link)).await
            }
        };
        may_serve(reader, link, origin)
    }

    /// Whether this client may have these bytes from the cache at once.
    pub(crate) async fn may_have(&self, cache: &Cache, digest: &Digest) -> bool {
        self.may_serve(cache, digest).await == MayServe::Yes
    }

    /// Records that the upstream has just let this client into the repository.
    pub(crate) fn admitted(&self, cache: &Cache) {
        if matches!(self.identity, Identity::Client(_)) {
            cache.grants().give(self.claim(), self.env.platform.clock.now());
        }
    }

    /// Records that the upstream has just told this client that the repository has this digest.
    pub(crate) async fn claimed(&self, cache: &Arc<Cache>, digest: &Digest) {
        self.admitted(cache);
        cache.metadata.claimed(&self.provenance(), digest).await;
    }

    /// Records an upstream's negative answer: a refusal ends the client's grant, and a 404 is repeated for a while.
    pub(crate) fn denied(&self, cache: &Cache, negative: &Negative, reference: &str) {
        self.refused(cache, negative);
        if matches!(negative, Negative::Missing(_)) {
            cache.metadata.absent(self.claim(), self.absent(reference).into(), self.asks(), self.since);
        }
    }

    /// Ends the client's grant if the upstream refuses it.
    pub(crate) fn refused(&self, cache: &Cache, negative: &Negative) {
        if matches!(negative, Negative::Refused(_)) {
            cache.grants().revoke(&self.claim());
        }
    }

    /// Whether the upstream did not find this a moment ago.
    pub(crate) fn is_absent(&self, cache: &Cache, reference: &str) -> bool {
        cache.metadata.may_know_absences()
            && cache.metadata.is_absent(
                &self.claim(),
                &self.absent(reference),
                self.asks(),
                self.upstream.push_enabled(),
            )
    }

    /// The client's method. A GET is not answered with what an upstream said to a HEAD.
    fn asks(&self) -> LookupMethod {
        if self.is_head() { LookupMethod::Head } else { LookupMethod::Get }
    }

    /// Whether a pushing client may be asking by HEAD what the registry has already. Only the registry can tell.
    pub(crate) fn may_push(&self) -> bool {
        self.is_head() && self.upstream.push_enabled() && self.target.namespace.is_none()
    }

    /// The key of a remembered 404. It has the endpoint, since a digest may be a blob and no manifest (P-89), and the
    /// types that the client accepts (P-81).
    fn absent(&self, reference: &str) -> String {
        match self.target.endpoint {
            Endpoint::Manifest(_) => match crate::accept::own_types(&self.head.headers).as_slice() {
                [] => format!("manifests/{reference}"),
                own => format!("manifests/{reference} {}", own.join(",")),
            },
            // The absence of a list is not remembered.
            Endpoint::Blob(_) | Endpoint::Uploads | Endpoint::Upload | Endpoint::Referrers(_) | Endpoint::Tags => {
                format!("blobs/{reference}")
            }
        }
    }

    /// Whether the client accepts no cached answer (RFC 9111 section 5.2.1).
    pub(crate) fn wants_it_new(&self) -> bool {
        let mut lines = self.head.headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        lines.any(|line| {
            line.split(',')
                .any(|word| matches!(word.trim().to_ascii_lowercase().as_str(), "no-cache" | "max-age=0"))
        })
    }

    /// Whether the request is a HEAD.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}
