//! The product before the registry of a row, in one mode, on one store; and a client of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::cells::Mode;
use super::ground::Ground;
use super::play::{ALICE, CDN, ELSEWHERE, ORIGIN, Player, REALM, ROBOT, RequestLog};
use super::steps::{REPOSITORIES, Said, Step, Things};
use super::table::{RouteCase, Row};
use crate::config::{Config, Sources};
use crate::notification::Notifications;
use crate::platform::{Platform, Profile, Store};
use crate::testing::{CountingEntropy, Network, Users, stored_nowhere};
use crate::{Body, Cx, Proxy};

/// Longest time that what was served may take until it is kept.
const FLUSH_LIMIT: Duration = Duration::from_secs(20);

/// What a client saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body came to its end.
    pub(super) is_whole: bool,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

pub(super) struct Lab {
    proxy: Proxy,
    player: Player,
    mode: Mode,
    token: Option<String>,
    said: Said,
}

impl Lab {
    /// # Panics
    ///
    /// Where the configuration is not right.
    pub(super) async fn new(
        ground: &Ground,
        row: &Row,
        route: &RouteCase,
        things: &Things,
        mode: Mode,
        store: Option<Arc<dyn Store>>,
    ) -> Self {
        let net = Arc::new(Network::new(Arc::clone(&ground.clock)));
        let player = Player::new(row, things);
        for beginning in [ORIGIN, CDN, ELSEWHERE, REALM] {
            net.serve(beginning, player.clone());
        }
        let platform = Platform {
            transport: net,
            clock: Arc::clone(&ground.clock),
            entropy: Arc::new(CountingEntropy::new(1)),
            passwords: Some(Arc::new(Users(vec![ALICE]))),
            signers: Vec::new(),
            verdict_services: None,
            token_issuers: None,
            credentials: None,
            login_issuer: None,
            store,
            invoker: None,
            notifications: Notifications::default(),
            tasks: Arc::clone(&ground.tasks),
            capabilities: Profile::default().capabilities(),
        };
        let text = configuration(mode, route);
        let sources = Sources { text: Some(&text), variables: Vec::new(), read: &stored_nowhere };
        let config = Config::load(&sources).expect("a configuration");
        let proxy = Proxy::new(&config, &platform);
        let said = Said::default();
        let mut lab = Self { proxy, player, mode, token: None, said };
        lab.login().await;
        lab.player.take_asked();
        lab
    }

    /// Brings along whatever login the mode wants.
    async fn login(&mut self) {
        let login = match self.mode {
            Mode::Open | Mode::Account => return,
            Mode::Users | Mode::UsersWithAccount | Mode::Upstream => Some(ALICE),
            Mode::Nobody => None,
        };
        let scopes: Vec<String> =
            REPOSITORIES.iter().map(|name| format!("scope=repository:{name}:pull,push,delete")).collect();
        let mut headers = HeaderMap::new();
        if let Some((name, password)) = login {
            let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
            headers.extend(HeaderValue::try_from(basic).ok().map(|value| (AUTHORIZATION, value)));
        }
        let path = format!("/token?{}", scopes.join("&"));
        let seen = self.send(Step { method: Method::GET, path, headers, body: None }).await;
        let answer = serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap_or_default();
        self.token = answer.get("token").and_then(|token| token.as_str()).map(str::to_owned);
    }

    /// Asks, and waits until nothing is under way behind the answer.
    ///
    /// # Errors
    ///
    /// What of the request cannot be read.
    pub(super) async fn ask(&mut self, text: &str, things: &Things) -> Result<Seen, String> {
        let step = Step::read(text, things, &self.said)?;
        let seen = self.send(step).await;
        self.proxy.flush(FLUSH_LIMIT).await;
        Ok(seen)
    }

    /// What the registry was asked since this was called last.
    pub(super) fn take_asked(&self) -> RequestLog {
        self.player.take_asked()
    }

    async fn send(&mut self, step: Step) -> Seen {
        static REQUESTS: AtomicU64 = AtomicU64::new(1);
        let Step { method, path, headers, body } = step;
        let mut request = Request::new(body.map_or(Body::Empty, Body::from));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, HeaderValue::from_static("proxy.example"));
        let bearer = self.token.as_ref().and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        request.headers_mut().extend(bearer.map(|value| (AUTHORIZATION, value)));
        let id = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let cx = Cx { peer: Some(IpAddr::from([203, 0, 113, 7])), introduced: None, is_tls: true, id };
        let response = self.proxy.handle(&cx, request).await;
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut is_whole = true;
        while let Some(piece) = body.chunk().await {
            let Ok(piece) = piece else {
                is_whole = false;
                break;
            };
            bytes.extend_from_slice(&piece);
        }
        self.said.note(&path, &head.headers);
        Seen { status: head.status, headers: head.headers, body: bytes.into(), is_whole }
    }
}

fn configuration(mode: Mode, route: &RouteCase) -> String {
    let clients = match mode {
        Mode::Open | Mode::Account => "",
        Mode::Users | Mode::UsersWithAccount => "[clients]\nauth='users'\nusers_file='u'\n",
        Mode::Upstream | Mode::Nobody => "[clients]\nauth='upstream'\n",
    };
    let account = match mode {
        Mode::Account | Mode::UsersWithAccount => {
            format!("username='{}'\npassword='{}'\n", ROBOT.0, ROBOT.1)
        }
        Mode::Open | Mode::Users | Mode::Upstream | Mode::Nobody => String::new(),
    };
    let tags = if route.always_confirmed { "[cache]\ntag_ttl='0s'\n" } else { "" };
    let push = route.push;
    format!(
        "{tags}{clients}[[upstream]]\nname='reg.example'\nurls=['{ORIGIN}']\ndefault=true\npush={push}\n{account}"
    )
}
