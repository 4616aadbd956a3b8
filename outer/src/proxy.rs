//! The product itself: the binary named by `PROXY_UNDER_TEST`, with a config of the test's.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::packaged::PackagedImage;
use crate::process::{Finished, Program, Service, wait_until};
use crate::registry::address_at_start;
use crate::{Context, Outcome, http, users};

/// The variable that names the product's binary; `cargo xtask test` builds it and sets this.
const BINARY: &str = "PROXY_UNDER_TEST";
const HEALTH_DEADLINE: Duration = Duration::from_secs(10);
const END_DEADLINE: Duration = Duration::from_secs(10);

/// Any secret will do; a fixed one keeps the product from warning that it has none.
const SIGNING_KEY: &str = "only the tests sign with this, 0123456789abcdef";

/// What a proxy keeps content in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Store {
    /// Nothing: everything is relayed.
    None,
    /// Its memory.
    Memory,
    /// A folder of its own, as where nobody has said anything: that is what most people run.
    #[default]
    File,
}

impl Store {
    /// As the configuration calls it, for a proxy whose own folder this is.
    fn address(self, folder: &Path) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Memory => "memory:".to_owned(),
            Self::File => format!("file://{}", folder.join("kept").display()),
        }
    }
}

/// What a proxy is started with.
#[derive(Default)]
pub struct Setup {
    binary: Option<PathBuf>,
    image: Option<(Arc<PackagedImage>, Option<&'static str>)>,
    config: String,
    users: Vec<(&'static str, &'static str)>,
    variables: Vec<(String, String)>,
    port: Option<u16>,
    listens_on: Option<IpAddr>,
    listens_by_itself: bool,
    hosts: Option<String>,
    store: Store,
    /// The configuration says what content is kept in.
    names_its_store: bool,
}

/// A running proxy.
pub struct Proxy {
    pub service: Service,
    address: SocketAddr,
    folder: TempDir,
}

impl Setup {
    /// No config file, only variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// The packaged image as it is, as its own user or as this one (`UID:GID`). Nothing of ours is in it, so only its
    /// variables can be set.
    pub fn of_image(image: &Arc<PackagedImage>, user: Option<&'static str>) -> Self {
        Self { image: Some((Arc::clone(image), user)), ..Self::default() }
    }

    /// Another binary than the one that the environment names.
    pub fn binary(mut self, path: PathBuf) -> Self {
        self.binary = Some(path);
        self
    }

    /// A line, or several, of the config file.
    pub fn config(mut self, text: impl AsRef<str>) -> Self {
        self.config.push_str(text.as_ref());
        self.config.push('\n');
        self
    }

    /// Clients log in, as one of these.
    pub fn users(mut self, users: &[(&'static str, &'static str)]) -> Self {
        self.users.extend_from_slice(users);
        self.config("[clients]\nauth = \"users\"\nusers_file = \"@FOLDER@/users\"")
    }

    /// Clients log in with their accounts at the upstream.
    pub fn upstream_accounts(self) -> Self {
        self.config("[clients]\nauth = \"upstream\"")
    }

    /// An upstream over plain HTTP, with more `lines` of its section.
    pub fn upstream(self, name: &str, address: SocketAddr, lines: &[&str]) -> Self {
        let lines = lines.join("\n");
        self.config(format!(
            "[[upstream]]\nname = \"{name}\"\nurls = [\"http://{address}\"]\ninsecure = true\n{lines}"
        ))
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Keeps content in this.
    pub fn keeping(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Keeps content in this folder, with more `lines` of the section.
    pub fn cache(mut self, folder: &Path, lines: &[&str]) -> Self {
        self.names_its_store = true;
        self.config(format!("[cache]\nstore = \"file://{}\"\n{}", folder.display(), lines.join("\n")))
    }

    /// Keeps content in this store: a URL.
    pub fn store(mut self, url: &str) -> Self {
        self.names_its_store = true;
        self.config(format!("[cache]\nstore = \"{url}\""))
    }

    /// Listens on this port, for a config which must name it.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Listens on this address.
    pub fn listens_on(mut self, address: impl Into<IpAddr>) -> Self {
        self.listens_on = Some(address.into());
        self
    }

    /// Finds names by these lines, in the form of `/etc/hosts`, in place of the machine's own.
    pub fn hosts(mut self, lines: &str) -> Self {
        self.hosts = Some(format!("{lines}\n"));
        self
    }

    /// Is not told where to listen.
    pub fn listens_by_itself(mut self) -> Self {
        self.listens_by_itself = true;
        self
    }

    pub fn start(self) -> Outcome<Proxy> {
        let proxy = self.start_unasked()?;
        let client = http::Client::new()?;
        wait_until("the proxy should be healthy", HEALTH_DEADLINE, || {
            let answer = client.get(proxy.url("/healthz")).ask();
            Ok(answer.ok().filter(|answer| answer.status == 200))
        })?;
        Ok(proxy)
    }

    /// For a setup that answers nobody who asks as others do: does not ask it whether it is well.
    pub fn start_unasked(self) -> Outcome<Proxy> {
        let folder = tempfile::tempdir()?;
        let program = self.program(folder.path())?;
        let mut service = program.start(&folder.path().join("log"))?;
        let rest = service.wait_for_log("listening on http")?;
        let (_, rest) = rest.split_once("://").context(format_args!("no address in {rest}"))?;
        let address = address_at_start(rest)?;
        Ok(Proxy { service, address, folder })
    }

    /// For a setup that listens nowhere: waits for this line of its log.
    pub fn start_until(self, marker: &str) -> Outcome<(Service, TempDir)> {
        let folder = tempfile::tempdir()?;
        let program = self.program(folder.path())?;
        let mut service = program.start(&folder.path().join("log"))?;
        service.wait_for_log(marker)?;
        Ok((service, folder))
    }

    /// For a setup that ends by itself, because something is wrong with it.
    pub fn run(self) -> Outcome<Finished> {
        let folder = tempfile::tempdir()?;
        self.program(folder.path())?.run(END_DEADLINE)
    }

    fn program(self, folder: &Path) -> Outcome<Program> {
        if let Some((image, user)) = &self.image {
            let program = image.program(folder, *user)?;
            return Ok(self
                .variables
                .iter()
                .fold(program, |program, (name, value)| program.variable(name, value)));
        }
        let address = self.listens_on.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listen = SocketAddr::new(address, self.port.unwrap_or(0)).to_string();
        let binary = self.binary.map_or_else(binary, Ok)?;
        let mut program = match &self.hosts {
            None => Program::at("registry-proxy", &binary)?,
            Some(lines) => {
                let hosts = folder.join("hosts");
                fs::write(&hosts, lines)?;
                Program::with_hosts("registry-proxy", &binary, &hosts)?
            }
        };
        if !self.listens_by_itself {
            program = program.argument("--listen").argument(listen);
        }
        if !self.config.is_empty() {
            fs::write(folder.join("signing-key"), SIGNING_KEY)?;
            write_config(folder, &self.config)?;
            users::write(&folder.join("users"), &self.users)?;
            program = program.argument("--config").argument(config_path(folder));
        }
        // The usual place would be one that tests, and whoever runs them, share.
        if !self.names_its_store {
            program = program.variable("REGISTRY_PROXY_CACHE__STORE", self.store.address(folder));
        }
        for (name, value) in self.variables {
            program = program.variable(name, value);
        }
        Ok(program)
    }
}

impl Proxy {
    /// `IP:PORT`, as it stands in image names.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Another command of the same binary, with the same configuration.
    pub fn command(&self, words: &[&str]) -> Outcome<Finished> {
        let program = Program::at("registry-proxy", &binary()?)?;
        program.argument("--config").argument(config_path(self.folder.path())).arguments(words).run(END_DEADLINE)
    }

    /// Replaces the config file; the running process has to be told.
    pub fn rewrite_config(&self, text: &str) -> Outcome {
        write_config(self.folder.path(), text)
    }
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join("config.toml")
}

fn write_config(folder: &Path, text: &str) -> Outcome {
    // TOML wants top-level keys before tables, and tests may add sections in any order.
    let folder_name = folder.display().to_string();
    let text =
        format!("signing_key_file = \"{folder_name}/signing-key\"\n{}", text.replace("@FOLDER@", &folder_name));
    fs::write(config_path(folder), text)?;
    Ok(())
}

pub(crate) fn binary() -> Outcome<PathBuf> {
    let path = env::var_os(BINARY).map(PathBuf::from).context(format_args!(
        "{BINARY} is not set: run `cargo xtask test`, which builds the binary and names it"
    ))?;
    path.canonicalize().context(format_args!("{BINARY} names no file: {}", path.display()))
}

/// A port that is free now. Something else may take it; use it only where a config has to name
/// the port before the program runs.
pub fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
