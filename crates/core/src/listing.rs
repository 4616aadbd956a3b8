//! Lists of tags and referrers. Their `Link` leads back to this proxy, by the path that the client used (P-140 … P-143).

mod names;

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue, Method, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::body::{Body, BodyError};
use crate::cache::Listed;
use crate::coding;
use crate::digest::Digest;
use crate::error::{Error, Failure, UpstreamText};
use crate::headers::{self, OCI_FILTERS_APPLIED};
use crate::media;
use crate::outcome::{Action, Outcome, Reason};
use crate::platform::{RequestPurpose, within};
use crate::request::{HandlerResponse, RequestContext};
use crate::seal;
use crate::upstream::Negative;

/// Query parameters that name a page; `next_page` is Quay's.
const PAGE_PARAMETERS: [&str; 4] = ["n", "last", "next_page", "artifactType"];
/// The parameter that carries a page with other parameters of the upstream, sealed.
const SEALED_PAGE: &str = "_p";

/// A page with an upstream's own parameters, as it is sealed for the client.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    upstream: String,
    repository: String,
    endpoint: String,
    query: String,
}

/// Answers `tags/list`.
pub(crate) async fn tags(context: &RequestContext<'_>) -> Result<HandlerResponse, Error> {
    let (headers, body, outcome) = find(context, List::Tags, "tags/list").await?;
    let response = respond(context, "tags/list", &headers, body, HeaderValue::from_static("application/json"));
    Ok(HandlerResponse { response, outcome })
}

/// Answers `referrers/<digest>`. An upstream without this API answers 404, and so do we: an empty list would hide the
/// fallback tag (P-140). Some answer 200 with a login page, an error or nothing at all (oras-project/oras-go#633,
/// sigstore/sigstore-js#1187): a body that is no index counts as a 404, too.
pub(crate) async fn referrers(context: &RequestContext<'_>, digest: &Digest) -> Result<HandlerResponse, Error> {
    let endpoint = format!("referrers/{digest}");
    let found = find(context, List::Referrers, &endpoint).await;
    // Absence is an everyday answer, which some registries give as a refusal (P-23).
    let (headers, body, outcome) = found.map_err(|error| match error {
        Error::Refused(text) => Error::NotFound(text),
        other => other,
    })?;
    let response = respond(context, &endpoint, &headers, body, HeaderValue::from_static(media::OCI_INDEX));
    Ok(HandlerResponse { response, outcome })
}

/// What is listed.
#[derive(Clone, Copy)]
enum List {
    Tags,
    Referrers,
}

const NO_TAGS: Failure = Failure::Nonsense("list of tags");

impl List {
    /// The `Accept` header for the upstream.
    fn accept(self) -> Option<HeaderValue> {
        match self {
            Self::Tags => None,
            Self::Referrers => Some(HeaderValue::from_static(media::OCI_INDEX)),
        }
    }

    /// The body for the client, if the upstream's body is such a list; `None`: unchanged. Any other body is neither served nor
    /// cached.
    fn rewrite(self, body: &[u8], name: &str) -> Result<Option<Vec<u8>>, Negative> {
        match self {
            Self::Tags => names::renamed(body, name).map_err(|_| Negative::Failed(NO_TAGS)),
            Self::Referrers if media::of_manifest(body) == Some(media::OCI_INDEX) => Ok(None),
            Self::Referrers => Err(Negative::Missing(UpstreamText::default())),
        }
    }
}

/// A list, and what was done for it.
type Fetched = (HeaderMap, Bytes, Outcome);

/// A list, which counts towards the client's share of memory until the client has taken it.
async fn find(context: &RequestContext<'_>, list: List, endpoint: &str) -> Result<Fetched, Error> {
    let mut share = None;
    loop {
        let (headers, body, outcome) = fetch(context, list, endpoint).await?;
        match context.env.in_flight.share_out(context.client_view.client, body, share.take()) {
            Ok(body) => return Ok((headers, body, outcome)),
            Err(wanted) => {
                context.waiting.end();
                share = Some(context.env.in_flight.share(wanted).await);
            }
        }
    }
}

async fn fetch(context: &RequestContext<'_>, list: List, endpoint: &str) -> Result<Fetched, Error> {
    let query = asked_page(context, endpoint)?;
    let Some(cache) = context.cache() else {
        context.waiting.begin()?;
        let (headers, body) =
            ask(context, list, endpoint, query).await.map_err(|no| no.into_error(Error::NotFound))?;
        return Ok((headers, body, Outcome::relayed()));
    };
    let asked = (context.claim(), format!("{endpoint}?{}", query.as_deref().unwrap_or_default()).into());
    let (now, is_let_in) = (context.env.platform.clock.now(), context.is_let_in(cache));
    let known = |limit| cache.lists().find(&asked, limit, now).filter(|_| is_let_in);
    let limit = if context.is_offline() { Duration::MAX } else { cache.config().listing_ttl.0 };
    if let Some(listed) = known(limit).filter(|_| context.is_offline() || !context.wants_it_new()) {
        return Ok(kept(context, list, &listed, Outcome::new(Action::Hit, Reason::ListFresh)).await);
    }
    if context.is_offline() {
        return Err(Error::Offline);
    }
    context.waiting.begin()?;
    match ask(context, list, endpoint, query).await {
        Ok((headers, body)) => {
            context.admitted(cache);
            // The list may miss a push or a deletion that came meanwhile.
            if context.since == cache.metadata.generation() {
                let name = &context.target.client_name;
                cache.lists().keep(asked, Listed::copy_of(&headers, &body, name, now, &context.env.in_flight));
            }
            Ok((headers, body, Outcome::new(Action::Filled, Reason::ListAbsent)))
        }
        Err(negative) => {
            context.refused(cache, &negative);
            if !negative.allows_stale() {
                cache.lists().forget(&asked);
            }
            match known(cache.config().stale_if_error.0).filter(|_| negative.allows_stale()) {
                Some(listed) => {
                    Ok(kept(context, list, &listed, Outcome::new(Action::Stale, Reason::CannotBeAsked)).await)
                }
                None => Err(negative.into_error(Error::NotFound)),
            }
        }
    }
}

/// A cached list, with the name that this client uses for the repository.
async fn kept(context: &RequestContext<'_>, list: List, listed: &Listed, outcome: Outcome) -> Fetched {
    let (name, mut body) = (&context.target.client_name, listed.body.clone());
    if *listed.name != **name {
        let room = context.env.in_flight.take((body.len() + name.len()) as u64).await;
        if let Ok(Some(renamed)) = list.rewrite(&body, name) {
            body = room.hold(renamed.into());
        }
    }
    (listed.headers.clone(), body, outcome)
}

/// Asks the upstream, by GET for a HEAD too: only the whole list shows how long it is.
async fn ask(
    context: &RequestContext<'_>,
    list: List,
    endpoint: &str,
    query: Option<String>,
) -> Result<(HeaderMap, Bytes), Negative> {
    let mut ask = context.ask(Method::GET, endpoint.to_owned(), RequestPurpose::Api);
    ask.query = query;
    ask.headers.extend(list.accept().map(|accept| (ACCEPT, accept)));
    let (head, body) = context.upstream.read(&ask).await?.into_parts();
    let (limit_bytes, name) = (context.env.settings.limits.listing.0, &context.target.client_name);
    let mut arriving = context.env.in_flight.arriving(context.upstream.label());
    let whole = async {
        let bytes = body.collect_for_clients(limit_bytes, &mut arriving).await?;
        let bytes = match coding::decoded(&head.headers, bytes, limit_bytes, &mut arriving).await {
            Ok(bytes) => bytes,
            Err(failure) => return Ok(Err(Negative::Failed(failure))),
        };
        // The rewritten list is in memory beside it for a moment.
        arriving.reach((2 * bytes.len() + name.len()) as u64).await;
        Ok(list.rewrite(&bytes, name).map(|rewritten| rewritten.map_or(bytes, Bytes::from)))
    };
    match within(&*context.env.platform.clock, context.env.settings.timeouts.idle.0, whole).await {
        Ok(Ok(list)) => list.map(|bytes| (head.headers, arriving.hold(bytes))),
        Ok(Err(BodyError::TooLarge { .. })) => Err(Negative::Failed(Failure::TooLarge)),
        Ok(Err(_)) => Err(Negative::Failed(Failure::Broken)),
        Err(_) => Err(Negative::Failed(Failure::TimedOut)),
    }
}

fn respond(
    context: &RequestContext<'_>,
    endpoint: &str,
    upstream: &HeaderMap,
    body: Bytes,
    media_type: HeaderValue,
) -> Response<Body> {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    headers::copy_lists(upstream, headers, &[OCI_FILTERS_APPLIED]);
    let next = upstream.get_all(LINK).iter().find_map(|value| next_query(value.to_str().ok()?));
    if let Some(query) = next {
        let query = next_page(context, endpoint, query);
        let link = format!("<{}/{endpoint}?{query}>; rel=\"next\"", context.target.client_path);
        headers.extend(HeaderValue::try_from(link).ok().map(|value| (LINK, value)));
    }
    response
}

/// The query for the page that the client asks for. An unknown sealed page is an error and not the first page, or its client
/// would ask again and again.
fn asked_page(context: &RequestContext<'_>, endpoint: &str) -> Result<Option<String>, Error> {
    let query = context.head.uri.query().unwrap_or_default();
    let Some((_, sealed)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == SEALED_PAGE) else {
        return Ok(page_query(query, None));
    };
    let page = context.env.sealer.open::<Page>(seal::SealPurpose::Page, &sealed);
    match page.filter(|page| *page == page_of(context, endpoint, page.query.clone())) {
        Some(page) => Ok(Some(page.query)),
        None => Err(Error::NoSuchEndpoint),
    }
}

/// The client's query for the next page: with the upstream's parameters if they are the usual ones, and otherwise with one
/// sealed parameter that holds them all.
fn next_page(context: &RequestContext<'_>, endpoint: &str, query: String) -> String {
    let namespace = context.target.namespace.as_deref();
    if form_urlencoded::parse(query.as_bytes()).all(|(name, _)| PAGE_PARAMETERS.contains(&name.as_ref())) {
        return page_query(&query, namespace).unwrap_or_default();
    }
    let sealed = context.env.sealer.seal(seal::SealPurpose::Page, &page_of(context, endpoint, query));
    let pairs = [(SEALED_PAGE, sealed.as_str())].into_iter().chain(namespace.map(|ns| ("ns", ns)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn page_of(context: &RequestContext<'_>, endpoint: &str, query: String) -> Page {
    Page {
        upstream: context.upstream.name().to_owned(),
        repository: context.target.name.as_str().to_owned(),
        endpoint: endpoint.to_owned(),
        query,
    }
}

/// The query of the `rel="next"` link in a `Link` header, absolute or relative.
fn next_query(link: &str) -> Option<String> {
    link.split('<').skip(1).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let is_next = parameters.split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        is_next.then(|| target.split_once('?').map(|(_, query)| query.to_owned())).flatten()
    })
}

/// A query reduced to the parameters that name a page (P-07), with `ns` if the client's next request needs it.
fn page_query(query: &str, namespace: Option<&str>) -> Option<String> {
    let kept: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| PAGE_PARAMETERS.contains(&name.as_ref()))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .chain(namespace.map(|ns| ("ns".to_owned(), ns.to_owned())))
        .collect();
    (!kept.is_empty()).then(|| form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish())
}

/// `_catalog` is not offered: the large registries do not have it either (P-144).
pub(crate) fn catalog() -> Result<HandlerResponse, Error> {
    Err(Error::CatalogUnsupported)
}

/// `/`: a hint for a person with a browser.
pub(crate) fn front() -> HandlerResponse {
    const TEXT: &str =
        "registry-proxy: a proxy for container registries. Pull with docker pull <this host>/<image>.\n";
    let mut response = Response::new(Body::from(Bytes::from_static(TEXT.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    HandlerResponse::new(response, Action::Answered, Reason::FrontPage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_absolute_and_relative() {
        for (link, expected) in [
            (r#"</v2/a/b/tags/list?last=x&n=2>; rel="next""#, Some("last=x&n=2")),
            (r"<https://up.example/v2/a/b/tags/list?n=2&last=x%2By>; rel=next", Some("n=2&last=x%2By")),
            (r#"</v2/a/b/tags/list?n=2>; title="x"; REL="Next""#, Some("n=2")),
            (r#"</v2/a/b/tags/list?n=2>; rel="prev""#, None),
            (r#"</v2/a/b/tags/list?n=1>; rel="prev", </v2/a/b/tags/list?n=3>; rel="next""#, Some("n=3")),
            (r#"</v2/a/b/tags/list?n=3>; rel="next", </v2/a/b/tags/list?n=1>; rel="prev""#, Some("n=3")),
            (r#"</v2/a/b/tags/list?n=3,4>; rel="last next""#, Some("n=3,4")),
            (r#"</v2/a/b/tags/list>; rel="next""#, None),
            ("nonsense", None),
        ] {
            assert_eq!(next_query(link).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn only_known_parameters_pass() {
        assert_eq!(page_query("n=2&ns=ghcr.io&last=a%26b&evil=1", None).as_deref(), Some("n=2&last=a%26b"));
        assert_eq!(page_query("evil=1", None), None);
        assert_eq!(page_query("n=2", Some("ghcr.io")).as_deref(), Some("n=2&ns=ghcr.io"));
    }
}
