//! `docker search`: `/v1/search`, passed to Docker Hub where `page.search` says so. Nothing else of that old API is served.
//!
//! Hub is asked without a login. Of its answer goes to the client what `docker search` and `podman search` read (moby:
//! `api/types/registry/search.go`), and no repository that the upstream's rules, or those of
//! `[[access]]`, keep from the client.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use crate::access_rules::Rights;
use crate::body::{Body, BodyError};
use crate::coding;
use crate::error::{Error, Failure};
use crate::name::RepositoryName;
use crate::platform::{RequestPurpose, within};
use crate::request::{Env, HandlerResponse};
use crate::route::parameter;
use crate::upstream::{Actions, Ask, Identity, Location, Negative, Upstream};

/// Where Docker Hub is searched (moby: `registry.IndexServer`).
const INDEX: &str = "https://index.docker.io/v1/search";
/// Most bytes of an answer; a hundred results take a tenth of it.
const ANSWER_BYTES: u64 = 1 << 20;
/// Longest text that is searched for, in bytes: no repository has a longer name.
const TERM_BYTES: usize = 255;
/// Most results, and how many there are if the client does not say it (moby: `searchRepositories`).
const MOST_RESULTS: usize = 100;
const USUAL_RESULTS: usize = 25;
/// Last page that can be asked for: with fewer results, Hub has no more of them.
const LAST_PAGE: usize = 1000;

/// What a client searches for.
#[derive(Debug, PartialEq, Eq)]
struct HubSearch {
    term: String,
    results: usize,
    page: usize,
}

impl HubSearch {
    /// `None`: nothing can be found.
    fn of(query: Option<&str>) -> Option<Self> {
        let number = |name: &str| parameter(query, name)?.parse::<usize>().ok();
        let term = parameter(query, "q").unwrap_or_default();
        let fits = !term.trim().is_empty() && term.len() <= TERM_BYTES;
        fits.then(|| Self {
            term,
            results: number("n").unwrap_or(USUAL_RESULTS).clamp(1, MOST_RESULTS),
            page: number("page").unwrap_or(1).clamp(1, LAST_PAGE),
        })
    }

    fn url(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("q", &self.term).append_pair("n", &self.results.to_string());
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        format!("{INDEX}?{}", query.finish())
    }
}

/// What Hub found.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SearchAnswer {
    #[serde(default)]
    num_results: u64,
    #[serde(default)]
    query: String,
    #[serde(default)]
    num_pages: u64,
    #[serde(default)]
    page: u64,
    #[serde(default)]
    page_size: u64,
    results: Vec<FoundRepository>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FoundRepository {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    star_count: u64,
    #[serde(default)]
    is_official: bool,
    #[serde(default)]
    is_automated: bool,
}

impl SearchAnswer {
    /// Reads the body of an answer, and leaves out what a pull would not get.
    fn read(body: &[u8], upstream: &Upstream, rights: Rights<'_>) -> Result<Self, Failure> {
        let mut answer: Self = serde_json::from_slice(body).map_err(|_| Failure::Nonsense("search result"))?;
        answer.results.retain(|found| {
            let name = RepositoryName::parse(&found.name).and_then(RepositoryName::with_library);
            name.is_ok_and(|name| upstream.permits(&name) && rights.pull(upstream.name(), &name).is_ok())
        });
        answer.results.truncate(MOST_RESULTS);
        Ok(answer)
    }
}

/// Answers `/v1/search` with what this upstream, which is Docker Hub, finds.
pub(crate) async fn get(
    env: &Env,
    upstream: &Arc<Upstream>,
    query: Option<&str>,
    upstream_headers: HeaderMap,
    rights: Rights<'_>,
) -> Result<HandlerResponse, Error> {
    if env.cache.as_ref().is_some_and(|cache| cache.config().offline) {
        return Err(Error::Offline);
    }
    let body = match HubSearch::of(query) {
        Some(search) => ask(env, upstream, &search, upstream_headers, rights)
            .await
            .map_err(|no| no.into_error(Error::NotFound))?,
        None => encode(&SearchAnswer::default()).map_err(Error::Upstream)?,
    };
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length.into());
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
    Ok(HandlerResponse::relayed(response))
}

async fn ask(
    env: &Env,
    upstream: &Arc<Upstream>,
    search: &HubSearch,
    mut headers: HeaderMap,
    rights: Rights<'_>,
) -> Result<Bytes, Negative> {
    const NO_ADDRESS: Negative = Negative::Failed(Failure::Nonsense("address"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let ask = Ask {
        method: Method::GET,
        name: RepositoryName::parse("search").map_err(|_| NO_ADDRESS)?,
        endpoint: String::new(),
        query: None,
        headers,
        identity: Identity::Client(None),
        actions: Actions::Pull,
        mount_from: None,
        purpose: RequestPurpose::Api,
        is_continuation: false,
    };
    let index = Location::parse(&search.url()).map_err(|_| NO_ADDRESS)?;
    let (head, body) = upstream.fetch_target(&index, &ask).await?.into_parts();
    let mut arriving = env.in_flight.arriving(upstream.label());
    let whole = async {
        let bytes = body.collect_for_clients(ANSWER_BYTES, &mut arriving).await.map_err(|error| match error {
            BodyError::TooLarge { .. } => Failure::TooLarge,
            BodyError::Stalled => Failure::TimedOut,
            BodyError::Broken(_) | BodyError::Short { .. } | BodyError::Unranged | BodyError::OtherLength => {
                Failure::Broken
            }
        })?;
        let bytes = coding::decoded(&head.headers, bytes, ANSWER_BYTES, &mut arriving).await?;
        // What it says is in memory beside it, and again as it is written anew.
        arriving.reach(3 * bytes.len() as u64).await;
        encode(&SearchAnswer::read(&bytes, upstream, rights)?)
    };
    match within(&*env.platform.clock, env.settings.timeouts.idle.0, whole).await {
        Ok(Ok(bytes)) => Ok(arriving.hold(bytes)),
        Ok(Err(failure)) => Err(Negative::Failed(failure)),
        Err(_) => Err(Negative::Failed(Failure::TimedOut)),
    }
}

fn encode(answer: &SearchAnswer) -> Result<Bytes, Failure> {
    serde_json::to_vec(answer).map(Bytes::from).map_err(|_| Failure::Nonsense("search result"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_search_is_goes_to_docker_hub() {
        for (query, expected) in [
            ("q=nginx", Some("q=nginx&n=25")),
            ("q=nginx&n=7", Some("q=nginx&n=7")),
            ("q=a+b%26n%3D1&n=5000", Some("q=a+b%26n%3D1&n=100")),
            ("q=nginx&n=0&page=0", Some("q=nginx&n=1")),
            ("q=nginx&n=x&page=3", Some("q=nginx&n=25&page=3")),
            ("q=nginx&page=99999&evil=1&ns=ghcr.io", Some("q=nginx&n=25&page=1000")),
            ("q=nginx&q=other", Some("q=nginx&n=25")),
            ("n=7", None),
            ("q=+", None),
        ] {
            let url = HubSearch::of(Some(query)).map(|search| search.url());
            assert_eq!(url, expected.map(|expected| format!("{INDEX}?{expected}")), "{query}");
        }
        let longest = format!("q={}", "x".repeat(TERM_BYTES));
        assert!(HubSearch::of(Some(&longest)).is_some() && HubSearch::of(Some(&format!("{longest}x"))).is_none());
        assert_eq!(HubSearch::of(None), None);
    }
}
