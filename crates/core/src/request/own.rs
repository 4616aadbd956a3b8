//! A request that a page makes for its reader: about one repository, in the reader's name. Nothing of the reader's own request
//! goes upstream with it.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request};

use super::client_view::ClientView;
use super::context::RequestContext;
use super::env::Env;
use crate::route::Target;
use crate::upstream::{Identity, Upstream};
use crate::waiting::WaitingPermit;

/// What a page asks in the name of its reader.
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
