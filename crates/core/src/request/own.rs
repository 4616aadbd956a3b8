//! A request of our own about one repository: for a page's reader, for the signature of what a client asks for, each in that
//! client's name, or to warm the cache. Nothing of a client's own request goes upstream with it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request};

use super::client_view::ClientView;
use super::context::RequestContext;
use super::env::Env;
use crate::route::{Endpoint, Target};
use crate::upstream::{Identity, Upstream};
use crate::waiting::WaitingPermit;

/// What is asked in the name of a client.
pub(crate) struct OwnRequest {
    head: Parts,
    client_view: ClientView,
    target: Arc<Target>,
    identity: Identity,
}

impl OwnRequest {
    /// A GET about this repository, for a reader at this address.
    pub(crate) fn new(target: Arc<Target>, identity: Identity, client: Option<IpAddr>) -> Self {
        let mut head = Request::new(()).into_parts().0;
        (head.method, head.headers) = (Method::GET, HeaderMap::new());
        let client_view = ClientView { scheme: "https", host: String::new(), client, request_id: None };
        Self { head, client_view, target, identity }
    }

    /// A GET of something else in the repository of a client's request, in the client's name.
    pub(crate) fn beside(context: &RequestContext<'_>, endpoint: Endpoint) -> Self {
        let target = Target { endpoint, ..context.target.clone() };
        Self::new(Arc::new(target), context.identity.clone(), None)
    }

    /// The same, and what is remembered will not do: a tag that was absent a moment ago may be there now.
    #[must_use]
    pub(crate) fn new_to_us(mut self) -> Self {
        self.head.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self
    }

    /// The same with a query, which must be one that a handler wrote: what is no query is left out.
    pub(crate) fn with_query(mut self, query: &str) -> Self {
        if let Some(uri) = format!("/?{query}").parse().ok().filter(|_| !query.is_empty()) {
            self.head.uri = uri;
        }
        self
    }

    /// Its context, for the handlers of such requests.
    pub(crate) fn context<'a>(&'a self, env: &'a Env, upstream: &'a Arc<Upstream>) -> RequestContext<'a> {
        RequestContext {
            env,
            upstream,
            identity: &self.identity,
            user: None,
            waiting: WaitingPermit::new(upstream.waiting_limit()),
            target: &self.target,
            head: &self.head,
            client_view: &self.client_view,
            started: env.platform.clock.now(),
            since: env.cache.as_ref().map_or(0, |cache| cache.metadata.generation()),
        }
    }
}
