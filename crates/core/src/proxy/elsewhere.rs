//! Requests that are for an upstream and for no repository of it: the storage of `REGISTRY_BACKEND`, and searches.

use std::sync::Arc;

use http::request::Parts;

use super::Proxy;
use crate::error::Error;
use crate::request::HandlerResponse;
use crate::request::access_log::LogSubject;
use crate::request::client_view::ClientView;
use crate::route::EntryPoint;
use crate::upstream::Upstream;
use crate::waiting::WaitingPermit;
use crate::{search, storage};

impl Proxy {
    /// Relays what lies at `DEFAULT_BACKEND_HOST`.
    pub(super) async fn storage(
        &self,
        head: &Parts,
        client_view: &ClientView,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        subject.is_for("storage", &head.method);
        let (upstream, _waiting) = self.wait_for(0, client_view, subject).await?;
        let (headers, timeouts) = (self.upstream_headers(head), &self.env.settings.timeouts);
        self.in_time(Box::pin(storage::get(upstream, head, headers, &self.env.platform, timeouts))).await
    }

    /// Lets a client search this upstream, which is Docker Hub.
    pub(super) async fn search(
        &self,
        entry: &EntryPoint,
        upstream: usize,
        head: &Parts,
        client_view: &ClientView,
        subject: &mut LogSubject,
    ) -> Result<HandlerResponse, Error> {
        subject.is_for("search", &head.method);
        subject.user = self.in_time(self.access.search(&head.headers, entry, client_view)).await?;
        let (upstream, _waiting) = self.wait_for(upstream, client_view, subject).await?;
        let headers = self.upstream_headers(head);
        let searcher = self.access.searcher(&head.headers);
        let rights = self.access.rights(&searcher, upstream);
        self.in_time(Box::pin(search::get(&self.env, upstream, head.uri.query(), headers, rights))).await
    }

    /// The upstream, within the quotas and with a place among those that wait for it.
    async fn wait_for(
        &self,
        upstream: usize,
        client_view: &ClientView,
        subject: &mut LogSubject,
    ) -> Result<(&Arc<Upstream>, WaitingPermit<'_>), Error> {
        self.env.quotas.is_closed()?;
        subject.pass = self.env.quotas.admit(client_view.client).await?;
        let upstream = self.upstreams.get(upstream).ok_or(Error::UnknownUpstream)?;
        subject.counters = Some(Arc::clone(upstream.counters()));
        let waiting = WaitingPermit::new(upstream.waiting_limit());
        waiting.begin()?;
        Ok((upstream, waiting))
    }
}
