//! What the handlers of repositories share: one request, admitted, in its repository.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Response};

use crate::body::Body;
use crate::config::{Bounds, Timeouts};
use crate::outcome::{Done, Outcome};
use crate::outside::Outside;
use crate::platform::{Platform, Purpose};
use crate::route::Place;
use crate::seal::Sealer;
use crate::upstream::{Actions, Ask, Identity, Upstream};

/// One admitted request.
pub(crate) struct Visit<'a> {
    /// Everything the platform offers.
    pub platform: &'a Platform,
    /// Bounds on what grows.
    pub bounds: &'a Bounds,
    /// Deadlines.
    pub timeouts: &'a Timeouts,
    /// Seals what the client carries for us.
    pub sealer: &'a Sealer,
    /// The upstream.
    pub upstream: &'a Arc<Upstream>,
    /// As whom it is asked.
    pub identity: &'a Identity,
    /// The repository and what is wanted there.
    pub place: &'a Place,
    /// The request's head.
    pub head: &'a Parts,
    /// How the client sees us.
    pub outside: &'a Outside,
    /// Whether everybody may see everything here.
    pub is_open: bool,
    /// Whether paths outside `/v2/` are relayed to the storage: only where everybody may use us.
    pub(crate) storage_passes: bool,
    /// Whether there is one upstream only.
    pub(crate) is_single: bool,
    /// Headers that every question upstream carries: `Via`.
    pub upstream_headers: HeaderMap,
}

/// What a handler made of it.
pub(crate) struct Answer {
    /// For the client.
    pub response: Response<Body>,
    /// For header, log and metrics.
    pub outcome: Outcome,
}

impl Answer {
    /// Passed on from the upstream.
    pub(crate) fn relayed(response: Response<Body>) -> Self {
        Self { response, outcome: Outcome::new(Done::Relayed, "no store") }
    }

    /// With another outcome.
    pub(crate) fn new(response: Response<Body>, done: Done, why: &'static str) -> Self {
        Self { response, outcome: Outcome::new(done, why) }
    }
}

impl Visit<'_> {
    /// A question about this repository.
    pub(crate) fn ask(&self, method: Method, endpoint: String, purpose: Purpose) -> Ask {
        Ask {
            method,
            name: self.place.name.clone(),
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

    /// Whether the client only wants to know.
    pub(crate) fn is_head(&self) -> bool {
        self.head.method == Method::HEAD
    }
}
