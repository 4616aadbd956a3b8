//! The page at `/-/` for those who look after the proxy: what arrives, how the cache does, which registries are well, which
//! images there are, what a pull would do, and purging for those who may. Made by the server, without any script.
//!
//! - `presence` `o`: whether the page is there, and where
//! - `blocks`: what a page is made of; `plot` `o`: bars as SVG
//! - `overview` `o`: what arrives, the plots, the registries
//! - `holds`: held, pinned and blocked tags
//! - `images`: the largest and least used images, and the preview of a purge; `survey`: asking the cache for them
//! - `order`: which form may change something; carrying it out
//! - `question`: what a pull would do, and the tags of an image
//! - `warming`: asks for images to be fetched, for programs; `warm_view`: the same for people, and how far it has come

mod blocks;
mod holds;
mod images;
mod order;
mod overview;
mod plot;
mod presence;
mod question;
mod survey;
mod warm_view;
mod warming;

use std::sync::Arc;

use askama::Template as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, REFERRER_POLICY, VARY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use self::blocks::{ADMIN_STYLE, AdminDocument, PageBlock, PageLink};
pub(crate) use self::presence::Entrance;
use self::presence::PagePresence;
use self::survey::Surveys;
use crate::access::{Access, NoReader, PageLogin, PageReader};
use crate::access_rules::{Rights, Who};
use crate::body::Body;
use crate::config::{Auth, Config};
use crate::error::Error;
use crate::explanation::Explanation;
use crate::outcome::{Action, Reason};
use crate::own_hosts::OwnHosts;
use crate::page::negotiation::Language;
use crate::page::{STYLE, describe_html, policy_for};
use crate::request::client_view::ClientView;
use crate::request::{Env, HandlerResponse};
use crate::route::{AdminTarget, Routes, Target, parameter};
use crate::traffic::Traffic;
use crate::upstream::{Identity, Upstream};
use crate::warm_orders::WarmQueue;

/// The page, and what it remembers.
pub(crate) struct AdminPage {
    config: Config,
    /// `None`: the page is nowhere, and nothing is counted for it.
    traffic: Option<Arc<Traffic>>,
    surveys: Arc<Surveys>,
    /// Images that are to be fetched.
    warmings: Arc<WarmQueue>,
    policy: HeaderValue,
    /// By which it answers where nobody logs in.
    own_hosts: OwnHosts,
}

/// A request for the page.
pub(crate) struct AdminRequest<'a> {
    pub(crate) env: &'a Env,
    pub(crate) routes: &'a Routes,
    pub(crate) upstreams: &'a [Arc<Upstream>],
    pub(crate) access: &'a Access,
    pub(crate) target: &'a AdminTarget,
    pub(crate) entrance: Entrance,
    pub(crate) head: &'a Parts,
    pub(crate) client_view: &'a ClientView,
    /// The headers of requests to upstreams: `Via`.
    pub(crate) via: &'a HeaderMap,
    pub(crate) explainer: &'a dyn Explainer,
}

/// Says what a pull of an image would do, whose name is given as people write it.
#[async_trait]
pub(crate) trait Explainer: Send + Sync {
    /// The repository and the reference that the name means.
    fn target_of(&self, config: &Config, image: &str) -> Option<Arc<Target>>;

    /// What a pull in this identity's name would do; `who` it is for the rules of `[[access]]`, if they are to be asked.
    async fn explain_to(
        &self,
        identity: Identity,
        who: Option<Who<'_>>,
        config: &Config,
        image: &str,
    ) -> Explanation;
}

/// A request whose reader is known.
struct AdminView<'a> {
    page: &'a AdminPage,
    request: &'a AdminRequest<'a>,
    reader: PageReader,
    language: Language,
}

/// The parts of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AdminPart {
    Overview,
    Images,
    Holds,
    Warming,
    Explain,
    Tags,
}

impl AdminPart {
    const ALL: [Self; 6] = [Self::Overview, Self::Images, Self::Holds, Self::Warming, Self::Explain, Self::Tags];

    /// As it stands behind `/-/`.
    fn path(self) -> &'static str {
        match self {
            Self::Overview => "",
            Self::Images => "images",
            Self::Holds => "holds",
            Self::Warming => "warming",
            Self::Explain => "explain",
            Self::Tags => "tags",
        }
    }
}

/// What is said to a browser that was led here by another name.
const FOREIGN_NAME: &str = "this page answers by its IP address, by localhost, and by the host of page.listen or public_url \
                            only, because nobody logs in here and a web site could give this server a name of its own; \
                            open it by one of these, or let readers log in: page.auth = \"users\" and clients.users_file\n";

/// The path that takes orders.
const ORDERS: &str = "orders";

/// The path that takes lists of images.
const WARMING: &str = "warm";

impl AdminPage {
    /// Takes what it needs.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            traffic: PagePresence::is_somewhere(config).then(Arc::default),
            surveys: Arc::default(),
            warmings: Arc::default(),
            policy: policy_for(&[STYLE, ADMIN_STYLE], &[]),
            own_hosts: OwnHosts::new(config, config.page.listen.as_deref()),
        }
    }

    /// Takes over what the page of the previous configuration has counted, and what waits there.
    pub(crate) fn after(&mut self, previous: &Self) {
        if let (Some(own), Some(counted)) = (&mut self.traffic, &previous.traffic) {
            *own = Arc::clone(counted);
        }
        self.warmings = Arc::clone(&previous.warmings);
    }

    /// Images that are to be fetched.
    pub(crate) fn warmings(&self) -> &Arc<WarmQueue> {
        &self.warmings
    }

    /// What counts answers for the plots, where somebody can see these.
    pub(crate) fn traffic(&self) -> Option<&Arc<Traffic>> {
        self.traffic.as_ref()
    }

    /// Answers, and names the reader who has logged in.
    pub(crate) async fn answer(
        &self,
        request: &AdminRequest<'_>,
        body: Body,
    ) -> (Result<HandlerResponse, Error>, Option<Box<str>>) {
        if let Some(why) = PagePresence::of(&self.config, request.entrance).absence() {
            return (Ok(plain(StatusCode::NOT_FOUND, why, Reason::NoSuchEndpoint)), None);
        }
        let auth = self.config.page.login(self.config.clients.auth);
        if auth == Auth::Open && !self.own_hosts.are_named_by(&request.head.uri, &request.head.headers) {
            return (Ok(plain(StatusCode::FORBIDDEN, FOREIGN_NAME, Reason::ForeignName)), None);
        }
        let index = request.target.entry.upstream.or(request.routes.default_upstream()).unwrap_or_default();
        let login = PageLogin {
            auth,
            headers: &request.head.headers,
            client: request.client_view.client,
            upstream: request.upstreams.get(index),
            via: request.via,
        };
        let reader = match request.access.page_reader(&login).await {
            Ok(reader) => reader,
            Err(NoReader::LoginNeeded) => return (Ok(login_needed()), None),
            Err(NoReader::Unchecked(error)) => return (Err(error), None),
        };
        let name = reader.name.clone();
        let query = request.head.uri.query();
        let language = parameter(query, "lang")
            .and_then(|code| Language::of_code(&code))
            .unwrap_or_else(|| Language::preferred(&request.head.headers));
        let view = AdminView { page: self, request, reader, language };
        (view.answer(body).await, name)
    }
}

impl AdminView<'_> {
    async fn answer(&self, body: Body) -> Result<HandlerResponse, Error> {
        let path = self.request.target.path.as_str();
        let is_read = matches!(self.request.head.method, Method::GET | Method::HEAD);
        if path == ORDERS {
            return match self.request.head.method {
                Method::POST => {
                    let done = self.carry_out(body).await?;
                    self.document(done.part, &done.blocks, done.status, done.language)
                }
                _ => Err(Error::MethodNotAllowed),
            };
        }
        if path == WARMING {
            return self.warming(body).await;
        }
        let part = AdminPart::ALL.into_iter().find(|part| part.path() == path).ok_or(Error::NoSuchEndpoint)?;
        if !is_read {
            return Err(Error::MethodNotAllowed);
        }
        let (blocks, status) = match part {
            AdminPart::Overview => (self.overview(), StatusCode::OK),
            AdminPart::Images => self.images().await,
            AdminPart::Holds => self.holds().await,
            AdminPart::Warming => (self.warmings(), StatusCode::OK),
            AdminPart::Explain => (self.explained().await, StatusCode::OK),
            AdminPart::Tags => (self.tags().await, StatusCode::OK),
        };
        self.document(part, &blocks, status, self.language)
    }

    fn document(
        &self,
        part: AdminPart,
        blocks: &[PageBlock],
        status: StatusCode,
        language: Language,
    ) -> Result<HandlerResponse, Error> {
        let title = |part| match part {
            AdminPart::Overview => language.say("Overview", "概览"),
            AdminPart::Images => language.say("Images", "镜像"),
            AdminPart::Holds => language.say("Held tags", "保留的标签"),
            AdminPart::Warming => language.say("Warm", "预热"),
            AdminPart::Explain => language.say("Explain", "解释"),
            AdminPart::Tags => language.say("Tags", "标签"),
        };
        let link = |shown: AdminPart| {
            (
                PageLink { href: self.href(shown.path(), language, &[]), text: title(shown).to_owned() },
                shown == part,
            )
        };
        let (other, text) = match language {
            Language::English => (Language::Chinese, "中文"),
            Language::Chinese => (Language::English, "English"),
        };
        let document = AdminDocument {
            language,
            title: title(part).to_owned(),
            skip: language.say("Skip to the content", "跳到正文"),
            reader: self.reader.name.as_deref(),
            other: PageLink { href: self.in_language(part, other), text: text.to_owned() },
            other_tag: other.tag(),
            parts_label: language.say("Parts", "栏目"),
            parts: AdminPart::ALL.into_iter().map(link).collect(),
            blocks,
        };
        // Writing to memory cannot fail.
        let html = document.render().map_err(|_| Error::NoSuchEndpoint)?;
        let mut response = Response::new(Body::from(Bytes::from(html)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        describe_html(headers, language, &self.page.policy);
        // Without any referrer a form would have no origin, by which it is known to be ours.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(VARY, HeaderValue::from_static("Authorization, Accept-Language"));
        Ok(HandlerResponse::new(response, Action::Answered, Reason::AdminPage))
    }

    /// The address of a part, with what was asked there.
    fn href(&self, path: &str, language: Language, query: &[(&str, &str)]) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.append_pair("lang", language.code()).extend_pairs(query);
        format!("{}/-/{path}?{}", self.request.target.entry.prefix, text.finish())
    }

    /// This part in another language, with what was asked.
    fn in_language(&self, part: AdminPart, language: Language) -> String {
        let asked = self.request.head.uri.query().unwrap_or_default();
        let kept: Vec<(String, String)> = url::form_urlencoded::parse(asked.as_bytes())
            .filter(|(name, _)| matches!(name.as_ref(), "image" | "find" | "purge" | "period"))
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let kept: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.href(part.path(), language, &kept)
    }

    fn asked(&self, name: &str) -> String {
        let text = parameter(self.request.head.uri.query(), name).unwrap_or_default();
        text.trim().to_owned()
    }

    fn say(&self, english: &'static str, chinese: &'static str) -> String {
        self.language.say(english, chinese).to_owned()
    }

    /// What the reader may pull, by the rules of `[[access]]`.
    fn rights<'b>(&'b self, upstream: &'b Upstream) -> Rights<'b> {
        Rights::new(&self.request.env.settings.access, self.reader.who(upstream.name()))
    }

    fn is_admin(&self) -> bool {
        let name = self.reader.name.as_deref();
        name.is_some_and(|name| self.page.config.page.admins.iter().any(|admin| admin == name))
    }
}

/// To the page, for whoever opens its own address without a path.
pub(crate) fn to_the_page() -> HandlerResponse {
    let mut answer = plain(StatusCode::FOUND, "the page is at /-/\n", Reason::AdminPage);
    answer.response.headers_mut().insert(LOCATION, HeaderValue::from_static("/-/"));
    answer
}

fn login_needed() -> HandlerResponse {
    let mut answer =
        plain(StatusCode::UNAUTHORIZED, "this page needs a login of this proxy\n", Reason::LoginNeeded);
    let challenge = HeaderValue::from_static("Basic realm=\"registry-proxy\", charset=\"UTF-8\"");
    answer.response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

fn plain(status: StatusCode, text: &'static str, reason: Reason) -> HandlerResponse {
    let mut response = Response::new(Body::from(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let action = if status.is_client_error() { Action::Refused } else { Action::Answered };
    HandlerResponse::new(response, action, reason)
}
