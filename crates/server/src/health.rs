//! `registry-proxy health`: asks the server at the configured address for `/healthz`, as HEALTHCHECK of an image does.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::config::UpstreamConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::listen_address;
use crate::terminal::complain;

/// For everything: connecting, TLS and the answer. Shorter than the timeout of the image's HEALTHCHECK.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);

/// Version 2 of the PROXY protocol, command LOCAL: a connection of the proxy in front itself.
const LOCAL_CONNECTION: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// As which the server is asked from its own machine.
const HOST: &str = "localhost";
const GOOD: &str = "HTTP/1.1 200 ";
/// The longest answer that is read: of `/metrics` with labels of many upstreams.
const MOST_BYTES: u64 = 4 << 20;
/// More than any server sends before a body.
const MOST_BYTES_OF_HEAD: u64 = 64 << 10;

/// Exit status 0 if the server answers, 1 if not.
pub(crate) fn run(config: &Config) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked =
        runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(ask_in_time(config)));
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            complain(&format_args!("not healthy: {}: {what}", config.listen));
            ExitCode::FAILURE
        }
    }
}

/// Why the server at the configured address does not answer as ours does.
pub(crate) async fn ask_in_time(config: &Config) -> Result<(), String> {
    get(config, "/healthz").await.map(drop)
}

/// What the server answers to `/metrics`, on the address that serves it.
pub(crate) async fn metrics(config: &Config) -> Result<String, String> {
    let Some(listen) = &config.metrics.listen else { return get(config, "/metrics").await };
    // That address speaks plain HTTP, without a PROXY header.
    let mut plain = config.clone();
    (plain.listen, plain.proxy_protocol, plain.tls.cert_file) = (listen.clone(), false, None);
    get(&plain, "/metrics").await
}

/// What it answers to `/v2/`, whatever that is: 401 where clients log in.
pub(crate) async fn ping(config: &Config) -> Result<String, String> {
    answer(config, "/v2/").await
}

/// What the server at the configured address answers to a path of its own.
async fn get(config: &Config, path: &str) -> Result<String, String> {
    let answer = answer(config, path).await?;
    if answer.starts_with(GOOD) {
        return Ok(answer);
    }
    Err(format!(
        "it answered {:?}: does another server have this address?",
        answer.lines().next().unwrap_or_default()
    ))
}

async fn answer(config: &Config, path: &str) -> Result<String, String> {
    let asked = tokio::time::timeout(DEADLINE, ask(config, path)).await;
    asked.unwrap_or_else(|_| Err(format!("no answer within {} s", DEADLINE.as_secs())))
}

async fn ask(config: &Config, path: &str) -> Result<String, String> {
    if config.listen.ends_with(":0") {
        return Err("with port 0 nobody knows the port: set listen, PORT or --listen to a fixed one".to_owned());
    }
    let addresses: Vec<SocketAddr> =
        tokio::net::lookup_host(&config.listen).await.map_err(|error| error.to_string())?.collect();
    let addresses: Vec<SocketAddr> = addresses.into_iter().flat_map(listen_address::reachable).collect();
    let connected = TcpStream::connect(&addresses[..]).await;
    let mut stream = connected.map_err(|error| format!("cannot connect: {error}"))?;
    let own = stream.local_addr().map_err(|error| error.to_string())?.ip();
    if config.proxy_protocol && config.is_trusted(own) {
        stream.write_all(LOCAL_CONNECTION).await.map_err(|error| error.to_string())?;
    }
    let answered = if config.tls.cert_file.is_some() {
        // The certificate is for the name that clients use, and this connection does not leave the machine.
        let any = UpstreamConfig { insecure: true, ..UpstreamConfig::default() };
        let tls = crate::tls::client(&any, true).map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(tls).connect(ServerName::IpAddress(own.into()), stream);
        exchange(connecting.await.map_err(|error| format!("TLS: {error}"))?, path).await
    } else {
        exchange(stream, path).await
    };
    answered.map_err(|error| format!("the connection failed: {error}"))
}

/// The head of what another server answers, whether it closes the connection or not.
pub(crate) async fn head(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    host: &str,
) -> io::Result<String> {
    ask_for(&mut stream, path, host).await?;
    let (mut stream, mut head) = (stream.take(MOST_BYTES_OF_HEAD), Vec::new());
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut head).await? > 0 {}
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn ask_for(stream: &mut (impl AsyncWrite + Unpin), path: &str, host: &str) -> io::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await
}

/// The answer, head and all.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<String> {
    ask_for(&mut stream, path, HOST).await?;
    let mut answer = Vec::new();
    match stream.take(MOST_BYTES).read_to_end(&mut answer).await {
        // A server that closes TLS without saying so has answered all the same.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !answer.is_empty() => {}
        read => drop(read?),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
