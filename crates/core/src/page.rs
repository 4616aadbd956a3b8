//! The page at `/` for people: what this is, the exact lines for each client at the address by which the reader came, and a
//! box that turns an image's name into the command that pulls it. Made by the server; the script only copies. It holds nothing
//! of anybody, and names only the registries that the reader may know.
//!
//! - `negotiation`: who gets the page, and in which language
//! - `image`, `lookup`: the box
//! - `setup`, `nodes`, `step`: what there is to do for each client

mod image;
mod lookup;
pub(crate) mod negotiation;
mod nodes;
mod setup;
mod step;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use sha2::{Digest as _, Sha256};

use self::image::ImageName;
use self::lookup::{Offer, PullAnswer, commands};
use self::negotiation::Language;
use self::setup::SetupClient;
use self::step::{SetupContext, SetupStep, needs_login};
use crate::body::Body;
use crate::client_snippets::ProxyAddress;
use crate::config::{Auth, Config};
use crate::outcome::{Action, Reason};
use crate::request::HandlerResponse;
use crate::request::client_view::ClientView;
use crate::route::{EntryPoint, Routes, parameter};

/// The style of all pages.
pub(crate) const STYLE: &str = include_str!("../templates/page.css");
const SCRIPT: &str = include_str!("../templates/page.js");

/// What the page needs of the configuration.
pub(crate) struct FrontPage {
    auth: Auth,
    is_public: bool,
    has_secret: bool,
    policy: HeaderValue,
}

/// What the template shows.
#[derive(Template)]
#[template(path = "page.html")]
struct Shown<'a> {
    language: Language,
    /// The reader chose the language, so that forms and links keep it.
    is_language_chosen: bool,
    base: String,
    auth: Auth,
    offer: &'a Offer<'a>,
    client: SetupClient,
    /// What was typed, if it is a name.
    image: String,
    answer: PullAnswer,
    commands: Vec<(&'static str, String)>,
    tabs: Vec<(SetupClient, Vec<SetupStep>)>,
}

impl FrontPage {
    /// Takes what it needs.
    pub(crate) fn new(config: &Config) -> Self {
        let clients = &config.clients;
        let (is_public, has_secret) = (config.page.public, clients.path_secret.is_some());
        Self { auth: clients.auth, is_public, has_secret, policy: policy_for(&[STYLE], &[SCRIPT]) }
    }

    /// Whether a client that enters here gets the page. Without the path secret nobody does: the page could only show lines that
    /// do not work, or tell of the secret.
    pub(crate) fn is_for(&self, entry: &EntryPoint, headers: &HeaderMap) -> bool {
        self.is_public && (!self.has_secret || !entry.prefix.is_empty()) && negotiation::prefers_html(headers)
    }

    /// The page. `None`: it could not be written.
    pub(crate) fn answer(
        &self,
        routes: &Routes,
        entry: &EntryPoint,
        client_view: &ClientView,
        head: &Parts,
    ) -> Option<HandlerResponse> {
        let query = head.uri.query();
        let chosen = parameter(query, "lang").and_then(|code| Language::of_code(&code));
        let language = chosen.unwrap_or_else(|| Language::preferred(&head.headers));
        let is_chosen = |client: &SetupClient| parameter(query, "client").is_some_and(|id| id == client.id());
        let address = ProxyAddress {
            is_https: client_view.scheme == "https",
            host: &client_view.host,
            path_secret: entry.prefix.strip_prefix('/').filter(|secret| !secret.is_empty()),
        };
        let offer = Offer::of(routes.naming(entry), needs_login(self.auth));
        let typed = parameter(query, "image").filter(|text| !text.trim().is_empty());
        let image = typed.as_deref().and_then(|text| ImageName::parse(text, &address));
        let answer = match (&typed, &image) {
            (None, _) => PullAnswer::Unasked,
            (Some(_), None) => PullAnswer::NotAnImage,
            (Some(_), Some(image)) => offer.answer(image, &address),
        };
        let context = SetupContext { address, offer: &offer, auth: self.auth };
        let shown = Shown {
            language,
            is_language_chosen: chosen.is_some(),
            base: address.base(),
            auth: self.auth,
            offer: &offer,
            client: SetupClient::ALL.into_iter().find(is_chosen).unwrap_or(SetupClient::Docker),
            image: image.map(|image| image.written()).unwrap_or_default(),
            commands: answer.name().map(|name| commands(name, &address).into()).unwrap_or_default(),
            answer,
            tabs: SetupClient::ALL.into_iter().map(|client| (client, client.steps(&context))).collect(),
        };
        // Writing to memory cannot fail; where it does, the client gets the text that others get.
        let html = shown.render().ok()?;
        let mut response = Response::new(Body::from(Bytes::from(html)));
        self.describe(response.headers_mut(), language);
        Some(HandlerResponse::new(response, Action::Answered, Reason::FrontPage))
    }

    fn describe(&self, headers: &mut HeaderMap, language: Language) {
        describe_html(headers, language, &self.policy);
        // The address may hold the path secret.
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Language"));
    }
}

/// The headers that every page has.
pub(crate) fn describe_html(headers: &mut HeaderMap, language: Language, policy: &HeaderValue) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // It shows what is the reader's own, and a proxy that adds a script to it would break it.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform"));
}

/// Nothing is loaded from anywhere; styles and scripts are those of the page, by their hashes.
pub(crate) fn policy_for(styles: &[&str], scripts: &[&str]) -> HeaderValue {
    let sources = |texts: &[&str]| {
        let hashes =
            texts.iter().map(|text| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(text))));
        if texts.is_empty() { " 'none'".to_owned() } else { hashes.collect::<String>() }
    };
    let text = format!(
        "default-src 'none'; style-src{}; script-src{}; img-src data:; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
        sources(styles),
        sources(scripts)
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

impl Shown<'_> {
    fn say(&self, english: &'static str, chinese: &'static str) -> &'static str {
        self.language.say(english, chinese)
    }

    /// The box holds something that has no command.
    fn has_fault(&self) -> bool {
        !matches!(self.answer, PullAnswer::Unasked | PullAnswer::Pull(_))
    }

    /// Registries stand in the lines as examples.
    fn has_examples_only(&self) -> bool {
        matches!(self.offer, Offer::Unsaid)
    }

    /// The registries that are listed: those that may be told, by their names in paths.
    fn registries(&self) -> Vec<&str> {
        match self.offer {
            Offer::Registries(served) => served.iter().map(|served| served.segment).collect(),
            Offer::Single(registry) => registry.iter().copied().collect(),
            Offer::Unsaid => Vec::new(),
        }
    }

    /// An image that is typed into the box, for the hint beside it.
    fn example(&self) -> &'static str {
        match self.offer {
            Offer::Registries(_) | Offer::Unsaid => "ghcr.io/owner/image:tag",
            Offer::Single(_) => "owner/image:tag",
        }
    }

    /// The query of this page in another language.
    fn in_language(&self, language: Language) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("lang", language.code());
        if !self.image.is_empty() {
            query.append_pair("image", &self.image);
        }
        if self.client != SetupClient::Docker {
            query.append_pair("client", self.client.id());
        }
        format!("?{}", query.finish())
    }
}
