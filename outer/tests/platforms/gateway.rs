//! The gateway notices: a function breaks one rule after another.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header::{CONTENT_DISPOSITION, WWW_AUTHENTICATE};
use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::gateway::rules::{CLIENT, CLOUD_RUN, FC, LAMBDA, Rules, SCF, SECRET};
use registry_proxy_outer::gateway::{Gateway, Limit, Turnstile};
use registry_proxy_outer::http::{Answer, Body, Client, Handler, Server, text};
use registry_proxy_outer::process::{Program, wait_until};
use registry_proxy_outer::{Outcome, http};

const MB: usize = 1_000_000;

/// Does what the path says: `/whole/BYTES`, `/stream/BYTES`, `/headers/BYTES`, `/wait`, `/login`, `/echo`.
struct Rogue;

impl Handler for Rogue {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        async move {
            let path = request.uri().path().to_owned();
            let (what, number) = path[1..].split_once('/').unwrap_or((&path[1..], "0"));
            let number: usize = number.parse()?;
            let mut answer = text(StatusCode::OK, "");
            match what {
                "whole" => answer = text(StatusCode::OK, vec![b'x'; number]),
                "stream" => *answer.body_mut() = streamed(number),
                "headers" => {
                    answer.headers_mut().insert("x", HeaderValue::from_str(&"x".repeat(number))?);
                }
                "wait" => std::future::pending().await,
                "login" => {
                    *answer.status_mut() = StatusCode::UNAUTHORIZED;
                    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=x"));
                    answer.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
                }
                _ => answer = text(StatusCode::OK, format!("{:?}", request.headers())),
            }
            Ok(answer)
        }
        .boxed()
    }
}

fn streamed(bytes: usize) -> Body {
    const PIECE: usize = 100_000;
    let pieces = (0..bytes.div_ceil(PIECE)).map(move |number| {
        let piece = vec![b'x'; PIECE.min(bytes - number * PIECE)];
        Ok::<_, io::Error>(Frame::data(Bytes::from(piece)))
    });
    StreamBody::new(stream::iter(pieces)).boxed()
}

/// The gateway, with this function behind it.
struct Scene {
    gateway: Gateway,
    client: Client,
    _function: Server,
}

impl Scene {
    fn start(rules: &Rules) -> Outcome<Self> {
        let function = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Rogue))?;
        let gateway = Gateway::start(rules.clone())?;
        gateway.attach(function.address(), Turnstile::open());
        Ok(Self { gateway, client: Client::new()?, _function: function })
    }

    fn get(&self, path: &str) -> Outcome<Answer> {
        self.client.get(self.gateway.url(path)).ask()
    }

    /// It passes, and nothing is noted.
    fn passes(&self, path: &str) -> Outcome<Answer> {
        let answer = self.get(path)?.expect_status(200)?;
        self.gateway.ledger().expect_no_breach()?;
        Ok(answer)
    }

    /// It is refused, and noted.
    fn refuses(&self, path: &str, limit: Limit) -> Outcome {
        let before = self.gateway.ledger().breaches().len();
        self.get(path)?.expect_status(self.gateway.rules().refusal)?;
        let breaches = self.gateway.ledger().breaches();
        let new: Vec<Limit> = breaches[before..].iter().map(|breach| breach.limit).collect();
        equal(path, &new, &vec![limit])
    }

    fn head_has_no_length(&self) -> Outcome {
        let answer = self.client.head(self.gateway.url("/whole/100")).ask()?.expect_status(200)?;
        equal("the length of a HEAD", &answer.header("content-length"), &"")
    }
}

#[test]
fn tencent_scf_takes_six_megabytes_and_four_kilobytes() -> Outcome {
    let scene = Scene::start(&SCF)?;
    scene.passes("/whole/5900000")?;
    equal("bytes", &scene.passes("/stream/5900000")?.body.len(), &5_900_000)?;
    scene.passes("/headers/3000")?;
    scene.head_has_no_length()?;
    scene.refuses("/whole/6000001", Limit::WholeBody)?;
    scene.refuses("/stream/6000001", Limit::StreamedBody)?;
    scene.refuses("/headers/4000", Limit::AnswerHeaders)?;
    let large = scene.client.post(scene.gateway.url("/echo")).body(vec![0; 6 * MB + 1]).ask()?;
    large.expect_status(413)?;
    scene.gateway.ledger().expect_breach(Limit::RequestBody)
}

#[test]
fn aliyun_fc_takes_more_only_when_it_is_chunked() -> Outcome {
    let scene = Scene::start(&FC)?;
    scene.passes("/stream/40000000")?;
    scene.passes("/whole/31000000")?;
    scene.head_has_no_length()?;
    let answer = scene.get("/login")?.expect_status(401)?;
    equal("challenge", &answer.header("www-authenticate"), &"Bearer realm=x")?;
    equal("disposition", &answer.header("content-disposition"), &"")?;
    scene.refuses("/whole/32000001", Limit::WholeBody)?;
    scene.refuses("/headers/8000", Limit::AnswerHeaders)?;
    scene.get(&format!("/echo?{}", "x".repeat(4_000)))?.expect_status(400)?;
    scene.gateway.ledger().expect_breach(Limit::Target)?;
    let large = scene.client.get(scene.gateway.url("/echo")).header("x", "x".repeat(8_000)).ask()?;
    large.expect_status(431)?;
    scene.gateway.ledger().expect_breach(Limit::RequestHeaders)
}

#[test]
fn cloud_run_takes_more_only_when_it_is_chunked() -> Outcome {
    let scene = Scene::start(&CLOUD_RUN)?;
    scene.passes("/stream/40000000")?;
    scene.head_has_no_length()?;
    scene.refuses("/whole/33554433", Limit::WholeBody)
}

#[test]
fn aws_lambda_slows_down_after_six_megabytes_and_renames_headers() -> Outcome {
    let scene = Scene::start(&LAMBDA)?;
    scene.head_has_no_length()?;
    let answer = scene.get("/login")?;
    equal("challenge", &answer.header("www-authenticate"), &"")?;
    equal("its other name", &answer.header("x-amzn-remapped-www-authenticate"), &"Bearer realm=x")?;
    equal("length", &answer.header("x-amzn-remapped-content-length"), &"0")?;
    let begun = Instant::now();
    scene.passes("/stream/8000000")?;
    // Two megabytes at two a second.
    ensure(begun.elapsed() > Duration::from_millis(800), format_args!("{:?}", begun.elapsed()))
}

#[test]
fn aws_lambda_cuts_off_after_200_megabytes() -> Outcome {
    let scene = Scene::start(&Rules { throttle: None, ..LAMBDA })?;
    scene.passes("/stream/209715200")?;
    ensure(scene.get("/stream/209715201").is_err(), "a byte more came through")?;
    scene.gateway.ledger().expect_breach(Limit::StreamedBody)
}

#[test]
fn a_request_that_takes_too_long_is_ended() -> Outcome {
    let scene = Scene::start(&Rules { wall: Duration::from_millis(50), ..SCF })?;
    scene.refuses("/wait", Limit::Wall)
}

#[test]
fn the_function_is_told_the_platforms_secrets_and_not_the_clients() -> Outcome {
    for (rules, name) in
        [(&SCF, "x-scf-secret-key"), (&FC, "x-fc-access-key-secret"), (&LAMBDA, "x-amz-security-token")]
    {
        let scene = Scene::start(rules)?;
        let answer = scene.client.get(scene.gateway.url("/echo")).header(name, "the client's").ask()?;
        let seen = String::from_utf8_lossy(&answer.body).into_owned();
        ensure(seen.contains(SECRET) && !seen.contains("the client's"), seen)?;
    }
    Ok(())
}

#[test]
fn the_function_is_told_who_the_client_is_and_by_aws_lambda_what_the_client_wrote() -> Outcome {
    for (rules, expected) in [
        (&SCF, format!("6.6.6.6, 7.7.7.7, {CLIENT}")),
        (&FC, format!("6.6.6.6, 7.7.7.7, {CLIENT}")),
        (&CLOUD_RUN, format!("6.6.6.6, 7.7.7.7, {CLIENT}")),
        (&LAMBDA, "6.6.6.6".to_owned()),
    ] {
        let scene = Scene::start(rules)?;
        let seen = |forged: &[&str]| -> Outcome<String> {
            let ask = scene.client.get(scene.gateway.url("/echo"));
            let ask = forged.iter().fold(ask, |ask, line| ask.header("x-forwarded-for", *line));
            Ok(String::from_utf8_lossy(&ask.ask()?.body).into_owned())
        };
        let (forged, plain) = (seen(&["6.6.6.6", "7.7.7.7"])?, seen(&[])?);
        ensure(forged.contains(&format!("\"x-forwarded-for\": \"{expected}\"")), forged)?;
        ensure(plain.contains(&format!("\"x-forwarded-for\": \"{CLIENT}\"")), plain)?;
    }
    Ok(())
}

#[test]
fn bytes_are_counted_request_by_request() -> Outcome {
    let scene = Scene::start(&FC)?;
    scene.passes("/whole/1000")?;
    scene.passes("/stream/250000")?;
    let ledger = scene.gateway.ledger();
    equal("in total", &ledger.bytes(), &251_000)?;
    let each: Vec<u64> = ledger.exchanges().iter().map(|exchange| exchange.bytes).collect();
    equal("each", &each, &vec![1_000, 250_000])
}

/// What the kernel says of a process: R, S, T and so on.
fn state(process: u32) -> Outcome<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    Ok(stat.rsplit(") ").next().unwrap_or_default().chars().take(1).collect())
}

#[test]
fn a_process_that_nobody_waits_for_stands_still() -> Outcome {
    let folder = tempfile::tempdir()?;
    let service = Program::at("sleep", std::path::Path::new("/bin/sleep"))?
        .argument("60")
        .start(&folder.path().join("log"))?;
    let soon = |what: &str, is_stopped: bool| {
        wait_until(what, Duration::from_secs(10), || {
            Ok(((state(service.id())? == "T") == is_stopped).then_some(()))
        })
    };
    let turnstile = Turnstile::freezing(service.id())?;
    soon("it should be frozen at once", true)?;
    let (one, other) = (turnstile.enter(), turnstile.enter());
    soon("it should run", false)?;
    drop(one);
    ensure(state(service.id())? != "T", "it was frozen while somebody waited")?;
    drop(other);
    soon("it should be frozen again", true)
}

#[test]
fn a_function_that_does_not_answer_is_noticed() -> Outcome {
    let gateway = Gateway::start(SCF)?;
    let server = Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Rogue))?;
    gateway.attach(server.address(), Turnstile::open());
    drop(server);
    http::Client::new()?.get(gateway.url("/echo")).ask()?.expect_status(502)?;
    gateway.ledger().expect_breach(Limit::Answer)
}
