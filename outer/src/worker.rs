//! The product as a Cloudflare Worker: packaged, in the real runtime (workerd), with miniflare's bucket in a folder.
//!
//! `cargo xtask test` packages it and installs what runs it, and says where both are.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::digest::Hasher;
use crate::failure::ensure;
use crate::http;
use crate::process::{Finished, Program, Service, memory_kib};
use crate::registry::address_at_start;
use crate::{Context, Outcome};

/// The packaged folder.
const WORKER: &str = "WORKER_UNDER_TEST";
/// The folder with `node_modules`.
const TOOLS: &str = "WORKER_TOOLS";
/// The Node.js that runs them.
const NODE: &str = "WORKER_NODE";
const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/worker/serve.mjs");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cloudflare");

/// Miniflare's bucket hashes and writes in the same thread that answers, and on a small machine takes its time.
const PATIENCE: [(&str, &str); 3] = [
    ("REGISTRY_PROXY_TIMEOUTS__FIRST_BYTE", "60s"),
    ("REGISTRY_PROXY_TIMEOUTS__HEAD", "100s"),
    ("REGISTRY_PROXY_TIMEOUTS__IDLE", "60s"),
];
const SOCKET_DEADLINE: Duration = Duration::from_mins(3);
const WRANGLER_DEADLINE: Duration = Duration::from_mins(2);

/// What a Worker is started with.
#[derive(Default)]
pub struct Setup {
    variables: Map<String, Value>,
    bucket: Option<PathBuf>,
}

/// A running Worker.
pub struct Worker {
    service: Service,
    address: SocketAddr,
    /// The process of workerd, in which the Worker and the bucket are.
    process: u32,
    _folder: TempDir,
}

/// What the process of a Worker has used.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub processor: Duration,
    /// Held now.
    pub memory_kib: u64,
    /// Held at once, at the most.
    pub peak_kib: u64,
}

/// What came over a connection.
pub struct Pulled {
    /// Status line and headers, in lower case.
    pub head: String,
    pub length: u64,
    pub digest: String,
    /// Whether all came that was promised.
    pub is_whole: bool,
    pub took: Duration,
}

impl Setup {
    pub fn new() -> Self {
        PATIENCE.iter().fold(Self::default(), |setup, (name, value)| setup.variable(name, *value))
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into().into());
        self
    }

    /// The only upstream, over plain HTTP.
    pub fn upstream(self, name: &str, address: SocketAddr) -> Self {
        let upstream = format!("[{{name='{name}',urls=['http://{address}'],insecure=true,default=true}}]");
        self.variable("REGISTRY_PROXY_UPSTREAM", upstream)
    }

    /// Keeps content in a bucket, which is this folder.
    pub fn bucket(mut self, folder: &Path) -> Self {
        self.bucket = Some(folder.to_owned());
        self
    }

    pub fn start(self) -> Outcome<Worker> {
        let folder = tempfile::tempdir()?;
        let settings = folder.path().join("settings.json");
        let text = json!({
            "tools": path_in(TOOLS)?,
            "worker": path_in(WORKER)?,
            "compatibility_date": compatibility_date()?,
            "variables": self.variables,
            "bucket": self.bucket,
        });
        fs::write(&settings, text.to_string())?;
        let program = Program::at("node", &path_in(NODE)?)?.argument(SERVE).argument(&settings);
        let program = program.variable("TMPDIR", folder.path()).variable("HOME", folder.path());
        let mut service = program.start(&folder.path().join("log"))?;
        let process = service.wait_for_log("workerd is process ")?.parse()?;
        let address = address_at_start(&service.wait_for_log("listening on http://")?)?;
        Ok(Worker { service, address, process, _folder: folder })
    }
}

impl Worker {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn log(&self) -> String {
        self.service.log()
    }

    /// Calls it as a cron trigger of the platform does, and gives how that ended.
    pub fn timer(&self) -> Outcome<String> {
        let url = self.url("/cdn-cgi/handler/scheduled?cron=0+*+*+*+*&format=json");
        let answer = http::Client::new()?.get(url).ask()?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// GETs something large, and holds none of it.
    pub fn pull(&self, path: &str) -> Outcome<Pulled> {
        let mut begun = self.begin(path)?;
        begun.rest()
    }

    /// GETs something, and has its head.
    pub fn begin(&self, path: &str) -> Outcome<Begun> {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(SOCKET_DEADLINE))?;
        let address = self.address;
        stream.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 4096]);
        let end = loop {
            let length = stream.read(&mut piece)?;
            ensure(length > 0, format_args!("no head: {}", String::from_utf8_lossy(&bytes)))?;
            bytes.extend_from_slice(&piece[..length]);
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        Ok(Begun { stream, head, first: bytes.split_off(end), asked })
    }

    /// What it has used so far.
    pub fn figures(&self) -> Outcome<Figures> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process))?;
        // Behind the name, which may have spaces: user and system time are the 14th and 15th field, in hundredths.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| -> Outcome<u64> { Ok(fields.get(at).context("no such field")?.parse()?) };
        let processor = Duration::from_millis((ticks(11)? + ticks(12)?) * 10);
        Ok(Figures {
            processor,
            memory_kib: memory_kib(self.process, "VmRSS:")?,
            peak_kib: memory_kib(self.process, "VmHWM:")?,
        })
    }
}

/// An answer that has begun.
pub struct Begun {
    stream: TcpStream,
    head: String,
    first: Vec<u8>,
    asked: Instant,
}

impl Begun {
    /// All of it.
    pub fn rest(&mut self) -> Outcome<Pulled> {
        let mut hasher = Hasher::new();
        hasher.update(&self.first);
        let mut length = self.first.len() as u64;
        let mut piece = vec![0; 256 << 10];
        let promised = header(&self.head, "content-length").and_then(|text| text.parse().ok());
        // workerd does not close a connection that is asked to, but for one that was cut.
        while promised.is_none_or(|promised| length < promised) {
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(more) => {
                    hasher.update(&piece[..more]);
                    length += more as u64;
                }
                // Cut off: whether it was whole is seen below.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Pulled {
            is_whole: promised == Some(length),
            head: self.head.clone(),
            length,
            digest: hasher.finish(),
            took: self.asked.elapsed(),
        })
    }
}

impl Pulled {
    /// A header, in lower case; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        header(&self.head, name).unwrap_or_default()
    }

    /// What was done, by the header that says it.
    pub fn done(&self) -> &str {
        self.header("x-registry-proxy").split(';').next().unwrap_or_default()
    }
}

/// Lets wrangler do all but the deploying, with what was packaged.
pub fn dry_run() -> Outcome<Finished> {
    let folder = tempfile::tempdir()?;
    let build = folder.path().join("build");
    fs::create_dir(&build)?;
    for file in fs::read_dir(path_in(WORKER)?)? {
        let file = file?;
        fs::copy(file.path(), build.join(file.file_name()))?;
    }
    // It is compiled already.
    let text = fs::read_to_string(Path::new(DEPLOY).join("wrangler.toml"))?;
    let mut table: Vec<&str> = text.lines().collect();
    table.retain(|line| {
        !line.starts_with("[build]") && !line.starts_with("command") && !line.starts_with("watch_dir")
    });
    fs::write(folder.path().join("wrangler.toml"), table.join("\n"))?;
    let wrangler = path_in(TOOLS)?.join("node_modules/wrangler/wrangler-dist/cli.js");
    let config = folder.path().join("wrangler.toml");
    Program::at("node", &path_in(NODE)?)?
        .argument(wrangler)
        .arguments(["deploy", "--dry-run", "--outdir"])
        .argument(folder.path().join("out"))
        .argument("--config")
        .argument(config)
        .variable("HOME", folder.path())
        .variable("CI", "true")
        .variable("WRANGLER_SEND_METRICS", "false")
        .run(WRANGLER_DEADLINE)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// That of what is deployed.
fn compatibility_date() -> Outcome<String> {
    let text = fs::read_to_string(Path::new(DEPLOY).join("wrangler.toml"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("compatibility_date = "));
    Ok(line.context("wrangler.toml has no compatibility_date")?.trim_matches('"').to_owned())
}

fn path_in(variable: &str) -> Outcome<PathBuf> {
    env::var_os(variable).map(PathBuf::from).context(format_args!(
        "{variable} is not set: run `cargo xtask test`, which packages the Worker and says where it is"
    ))
}
