//! AWS Lambda: cargo-lambda's emulator of its interfaces, and what that does not do.
//!
//! The emulator turns requests into events and hands them to whoever asks for one. Before each instance of the function
//! stands a [`Tap`]. It freezes the process from when it asks for an event until there is one, as the platform does, and it
//! takes asynchronous invocations: the emulator ignores `X-Amz-Invocation-Type` and answers when the work is done.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;

use super::ledger::{Ledger, Limit};
use super::turnstile::{Stay, Turnstile};
use crate::http::{Body, Handler, Server, connector, text};
use crate::process::{Program, Service, wait_until};
use crate::{Context, Outcome};

/// Names the emulator; `cargo xtask test --install` gets it and sets this.
const EMULATOR: &str = "CARGO_LAMBDA";
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The payload of an asynchronous invocation.
const MAX_EVENT_BYTES: usize = 1_000_000;
/// How often a failed event is tried; the platform waits a minute and more between.
const TRIES: usize = 3;
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The emulator.
pub struct Emulator {
    address: SocketAddr,
    _service: Service,
    _folder: TempDir,
}

impl Emulator {
    pub fn start() -> Outcome<Self> {
        let path = emulator()?;
        let folder = tempfile::tempdir()?;
        write_package(folder.path())?;
        // It takes no port 0.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let service = Program::at("cargo-lambda", &path)?
            .arguments(["lambda", "watch", "--only-lambda-apis", "--ignore-changes", "--disable-cors"])
            .arguments(["--invoke-address", "127.0.0.1", "--invoke-port", &address.port().to_string()])
            .arguments(["--manifest-path"])
            .argument(folder.path().join("Cargo.toml"))
            .variable("PATH", toolchain()?)
            .variable("HOME", folder.path())
            .start(&folder.path().join("log"))?;
        wait_until("the emulator should listen", START_DEADLINE, || {
            Ok(std::net::TcpStream::connect(address).ok())
        })?;
        Ok(Self { address, _service: service, _folder: folder })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn emulator() -> Outcome<PathBuf> {
    env::var_os(EMULATOR).map(PathBuf::from).filter(|path| path.is_file()).context(format_args!(
        "{EMULATOR} names no program: run `cargo xtask test --install`, which installs the emulator and names it"
    ))
}

/// It asks cargo which functions there are.
fn toolchain() -> Outcome<std::ffi::OsString> {
    let cargo = env::var_os("CARGO").map(PathBuf::from);
    let folder = cargo.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(folder.into_iter().chain(env::split_paths(&path)))?)
}

fn write_package(folder: &Path) -> Outcome {
    fs::create_dir(folder.join("src"))?;
    fs::write(folder.join("src/main.rs"), "fn main() {}\n")?;
    fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"registry-proxy\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    Ok(())
}

/// The interfaces of AWS Lambda that one instance of the function sees.
pub struct Tap {
    server: Server,
    desk: Arc<Desk>,
}

struct Desk {
    emulator: SocketAddr,
    client: Client<HttpConnector, Body>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    invocations: Arc<Mutex<Vec<Invocation>>>,
}

#[derive(Default)]
struct State {
    turnstile: Option<Arc<Turnstile>>,
    stay: Option<Stay>,
    asks: bool,
}

/// An asynchronous invocation: what it was given, and how it ended once it has.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub payload: String,
    pub tries: Vec<u16>,
}

impl Tap {
    /// `invocations` is where those of all instances are written down.
    pub fn start(
        emulator: &Emulator,
        ledger: &Arc<Ledger>,
        invocations: &Arc<Mutex<Vec<Invocation>>>,
    ) -> Outcome<Self> {
        let desk = Arc::new(Desk {
            emulator: emulator.address(),
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector()),
            ledger: Arc::clone(ledger),
            state: Mutex::default(),
            invocations: Arc::clone(invocations),
        });
        let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::clone(&desk))?;
        Ok(Self { server, desk })
    }

    /// `HOST:PORT`, as `AWS_LAMBDA_RUNTIME_API` has it.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Says which process is to be frozen while it waits for an event.
    pub fn attach(&self, process: u32) -> Outcome {
        let turnstile = Turnstile::freezing(process)?;
        let mut state = self.desk.state();
        if !state.asks {
            state.stay = Some(turnstile.enter());
        }
        state.turnstile = Some(turnstile);
        Ok(())
    }
}

impl Handler for Desk {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            let path = request.uri().path();
            if path.ends_with("/runtime/invocation/next") {
                let frozen = Frozen::begin(&self);
                let answer = self.forward(request).await;
                drop(frozen);
                return answer;
            }
            if path.starts_with("/2015-03-31/functions/") {
                return self.invoke(request).await;
            }
            self.forward(request).await
        }
        .boxed()
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the emulator the same. Its runtime interface has a prefix of its own.
    async fn forward(&self, request: Request<Incoming>) -> Outcome<Response<Body>> {
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = format!("http://{}/.rt{target}", self.emulator).parse::<Uri>()?;
        let body = body.map_err(std::io::Error::other).boxed();
        let answer = self.client.request(Request::from_parts(head, body)).await?;
        Ok(answer.map(|body| body.map_err(std::io::Error::other).boxed()))
    }

    /// Takes an event, answers at once, and sees to it afterwards.
    async fn invoke(self: Arc<Self>, request: Request<Incoming>) -> Outcome<Response<Body>> {
        let (head, body) = request.into_parts();
        let what = format!("{} {}", head.method, head.uri);
        if let Err(wrong) = is_asynchronous(&head.headers) {
            self.ledger.note_breach(Limit::Event, &what, wrong);
            return Ok(text(StatusCode::FORBIDDEN, wrong));
        }
        let Ok(payload) = Limited::new(body, MAX_EVENT_BYTES).collect().await else {
            self.ledger.note_breach(Limit::Event, &what, format!("over {MAX_EVENT_BYTES} bytes"));
            return Ok(text(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException"));
        };
        let payload = payload.to_bytes();
        let number = self.begin(&payload);
        tokio::spawn(async move {
            for _ in 0..TRIES {
                let status = self.run(payload.clone()).await.map_or(0, |status| status.as_u16());
                self.note(number, status);
                if status == 200 {
                    return;
                }
                tokio::time::sleep(TRY_AGAIN).await;
            }
        });
        Ok(text(StatusCode::ACCEPTED, ""))
    }

    /// Writes an invocation down; its number.
    fn begin(&self, payload: &[u8]) -> usize {
        let mut invocations = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        let payload = String::from_utf8_lossy(payload).into_owned();
        invocations.push(Invocation { payload, tries: Vec::new() });
        invocations.len() - 1
    }

    fn note(&self, number: usize, status: u16) {
        let mut invocations = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        invocations[number].tries.push(status);
    }

    async fn run(&self, payload: Bytes) -> Outcome<StatusCode> {
        let body = Full::new(payload).map_err(|never| match never {}).boxed();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = format!("http://{}/2015-03-31/functions/_/invocations", self.emulator).parse()?;
        Ok(self.client.request(request).await?.status())
    }
}

/// Whether it is the kind of invocation that we know, signed by somebody for this service.
fn is_asynchronous(headers: &HeaderMap) -> Result<(), &'static str> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value("x-amz-invocation-type") != "Event" {
        return Err("only asynchronous invocations are expected: X-Amz-Invocation-Type: Event");
    }
    let authorization = value(header::AUTHORIZATION.as_str());
    let is_signed =
        authorization.starts_with("AWS4-HMAC-SHA256 ") && authorization.contains("/lambda/aws4_request");
    if is_signed { Ok(()) } else { Err("not signed for the service `lambda`") }
}

/// From the question for an event to its answer.
struct Frozen<'desk>(&'desk Desk);

impl<'desk> Frozen<'desk> {
    fn begin(desk: &'desk Desk) -> Self {
        let mut state = desk.state();
        state.asks = true;
        state.stay = None;
        drop(state);
        Self(desk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.asks = false;
        state.stay = state.turnstile.as_ref().map(Turnstile::enter);
    }
}
