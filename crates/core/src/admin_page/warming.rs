//! `/-/warm`, for programs: asks for images to be fetched, and says how far that has come. Both are for admins: names of images
//! may be secret.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::AdminView;
use crate::audit;
use crate::body::{Body, BodyError};
use crate::error::Error;
use crate::image_platform::ALL_PLATFORMS;
use crate::outcome::{Action, Reason};
use crate::platform::within;
use crate::request::HandlerResponse;
use crate::warm_orders::{USUAL_NEWEST, WarmOrder, WarmRequest};

/// Most bytes of a list.
const MAX_BODY: u64 = 1 << 20;
/// When a client may ask again where too many warmings wait, in seconds.
const RETRY_AFTER_SECONDS: u64 = 60;

/// What is sent: a list, or an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WarmBody {
    List(Vec<String>),
    Object(WarmWish),
}

/// A list of images with more that is said of it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WarmWish {
    images: Vec<String>,
    #[serde(default)]
    platforms: Vec<String>,
    #[serde(default)]
    referrers: bool,
    jobs: Option<usize>,
    wait_seconds: Option<u64>,
    newest: Option<usize>,
}

impl WarmBody {
    /// What is wanted, and whether no platform is named.
    fn into_request(self) -> (WarmRequest, bool) {
        let wish = match self {
            Self::List(images) => WarmWish { images, ..WarmWish::default() },
            Self::Object(wish) => wish,
        };
        let is_for_this_machine = wish.platforms.is_empty();
        let is_all = wish.platforms.iter().any(|platform| platform == ALL_PLATFORMS);
        let request = WarmRequest {
            images: wish.images,
            platforms: if is_all { Vec::new() } else { wish.platforms },
            referrers: wish.referrers,
            jobs: wish.jobs.unwrap_or(1),
            wait_seconds: wish.wait_seconds.unwrap_or(60),
            newest: wish.newest.unwrap_or(USUAL_NEWEST),
        };
        (request, is_for_this_machine)
    }
}

/// Whether a list is taken.
#[derive(Debug, PartialEq, Eq)]
enum WarmVerdict {
    Take,
    /// A page of somebody else's may have made a browser send it.
    ElsewhereSent,
    /// No form of a page can send this type.
    NoJson,
}

impl WarmVerdict {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let is_json = |kind: &str| {
            kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
        };
        match (text("sec-fetch-site"), text(ORIGIN.as_str()), text(CONTENT_TYPE.as_str())) {
            (None, None, Some(kind)) if is_json(kind) => Self::Take,
            (None, None, Some(_) | None) => Self::NoJson,
            (Some(_), ..) | (_, Some(_), _) => Self::ElsewhereSent,
        }
    }
}

/// Why images are not fetched.
#[derive(Debug)]
pub(super) enum NotAsked {
    /// The list cannot be meant.
    Wrong(String),
    /// Too many wait already.
    TooMany,
}

#[derive(Serialize)]
struct WarmTaken {
    id: u64,
}

impl AdminView<'_> {
    /// Answers a program.
    pub(super) async fn warming(&self, body: Body) -> Result<HandlerResponse, Error> {
        if !self.is_admin() {
            return Ok(refused(StatusCode::FORBIDDEN, "only page.admins may warm"));
        }
        match self.request.head.method {
            Method::GET | Method::HEAD => Ok(json(StatusCode::OK, &self.page.warmings.report())),
            Method::POST => self.take(body).await,
            _ => Err(Error::MethodNotAllowed),
        }
    }

    async fn take(&self, body: Body) -> Result<HandlerResponse, Error> {
        match WarmVerdict::of(&self.request.head.headers) {
            WarmVerdict::Take => {}
            WarmVerdict::ElsewhereSent => {
                return Ok(refused(StatusCode::FORBIDDEN, "this is for programs, and a browser sent it"));
            }
            WarmVerdict::NoJson => {
                let why = "expected a list of images as JSON, with content-type: application/json";
                return Ok(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
            }
        }
        let env = self.request.env;
        let read = within(&*env.platform.clock, env.settings.timeouts.client_stall.0, body.collect(MAX_BODY));
        let read = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(BodyError::TooLarge { limit_bytes })) => return Err(Error::TooLarge { limit_bytes }),
            Ok(Err(_)) | Err(_) => return Err(Error::ClientBody),
        };
        let Ok(wanted) = serde_json::from_slice::<WarmBody>(&read) else {
            let why =
                "expected [\"alpine:3.20\"] or {\"images\":[\"alpine:3.20\"],\"platforms\":[\"linux/amd64\"]}";
            return Ok(refused(StatusCode::BAD_REQUEST, why));
        };
        let (request, is_for_this_machine) = wanted.into_request();
        Ok(match self.ask_to_warm(request, is_for_this_machine) {
            Ok(id) => json(StatusCode::ACCEPTED, &WarmTaken { id }),
            Err(NotAsked::Wrong(why)) => refused(StatusCode::BAD_REQUEST, &why),
            Err(NotAsked::TooMany) => {
                let mut answer = refused(StatusCode::TOO_MANY_REQUESTS, "too many warmings wait; try again");
                answer.response.headers_mut().insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
                answer
            }
        })
    }

    /// Has images fetched for an admin; the number of the order.
    pub(super) fn ask_to_warm(&self, request: WarmRequest, is_for_this_machine: bool) -> Result<u64, NotAsked> {
        request.check().map_err(NotAsked::Wrong)?;
        let by = self.reader.name.as_deref().unwrap_or_default().to_owned();
        let (actor, count) = (format!("{by:?}, by the administration page"), request.images.len());
        let order = WarmOrder { request, is_for_this_machine, by };
        let now = self.request.env.platform.clock.unix_seconds();
        let id = self.page.warmings.ask(order, now).ok_or(NotAsked::TooMany)?;
        tracing::info!(target: audit::TARGET, actor, action = "warm", id, images = count, "administrative action begins");
        Ok(id)
    }
}

fn refused(status: StatusCode, why: &str) -> HandlerResponse {
    answer(status, "text/plain; charset=utf-8", format!("{why}\n").into_bytes())
}

fn json(status: StatusCode, value: &impl Serialize) -> HandlerResponse {
    answer(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

fn answer(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> HandlerResponse {
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    HandlerResponse::new(response, Action::Answered, Reason::AdminPage)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_list_is_taken_from_programs_and_from_no_browser() {
        for (site, origin, kind, expected) in [
            (None, None, Some("application/json"), WarmVerdict::Take),
            (None, None, Some("Application/JSON; charset=utf-8"), WarmVerdict::Take),
            (None, None, Some("text/plain"), WarmVerdict::NoJson),
            (None, None, Some("application/x-www-form-urlencoded"), WarmVerdict::NoJson),
            (None, None, None, WarmVerdict::NoJson),
            (Some("cross-site"), None, Some("application/json"), WarmVerdict::ElsewhereSent),
            (Some("same-origin"), None, Some("application/json"), WarmVerdict::ElsewhereSent),
            (None, Some("https://evil.example"), Some("application/json"), WarmVerdict::ElsewhereSent),
            (None, Some("null"), None, WarmVerdict::ElsewhereSent),
        ] {
            let values = [("sec-fetch-site", site), ("origin", origin), ("content-type", kind)];
            let pair = |(name, value): (&'static str, Option<&'static str>)| {
                Some((HeaderName::from_static(name), HeaderValue::from_static(value?)))
            };
            let headers: HeaderMap = values.into_iter().filter_map(pair).collect();
            assert_eq!(WarmVerdict::of(&headers), expected, "{site:?} {origin:?} {kind:?}");
        }
    }

    #[test]
    fn a_list_alone_is_for_this_machine_and_platforms_may_be_named() {
        for (text, platforms, is_for_this_machine) in [
            (r#"["a"]"#, &[][..], true),
            (r#"{"images":["a"]}"#, &[], true),
            (r#"{"images":["a"],"platforms":["linux/arm64"]}"#, &["linux/arm64"], false),
            (r#"{"images":["a"],"platforms":["all"]}"#, &[], false),
        ] {
            let (request, is_own) = serde_json::from_str::<WarmBody>(text).unwrap().into_request();
            assert_eq!(
                (request.platforms.as_slice(), is_own),
                (&*platforms.iter().map(|&p| p.to_owned()).collect::<Vec<_>>(), is_for_this_machine)
            );
            assert_eq!((request.jobs, request.wait_seconds), (1, 60));
        }
        for wrong in ["", "{}", "[1]", r#"{"images":["a"],"platform":["linux/arm64"]}"#] {
            assert!(serde_json::from_str::<WarmBody>(wrong).is_err(), "{wrong}");
        }
    }
}
