//! nginx with the file of deploy/nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::failure::ensure;
use crate::process::{Program, Tool};
use crate::proxy::free_port;
use crate::{Context, Outcome};

use super::{DEADLINE, Front, Running, adapted, certificate};

/// A folder of the project, relative to that of the fixtures.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/nginx");

/// What is changed of the file, besides names and ports.
#[derive(Default)]
pub struct Nginx {
    http: &'static str,
    location: &'static str,
}

impl Nginx {
    /// It keeps every 200 for ten minutes, as many caches are told to.
    pub fn that_keeps_what_it_sees(mut self) -> Self {
        self.http = "proxy_cache_path cache keys_zone=all:1m;\n";
        self.location = "proxy_cache all; proxy_cache_valid 200 10m; proxy_buffering on;\n";
        self
    }

    /// Starts it on this port of this machine, in front of this address.
    pub fn start(self, port: u16, proxy: SocketAddr) -> Outcome<Running> {
        let folder = tempfile::tempdir()?;
        let program = self.program(folder.path(), port, proxy)?;
        Running::start(program, folder, Front::Nginx.base(port), port)
    }

    pub(super) fn program(self, folder: &Path, port: u16, proxy: SocketAddr) -> Outcome<Program> {
        let (certificate, key) = certificate(folder)?;
        let site = adapted(
            &file("registry-proxy.conf")?,
            [
                ("    listen [::]:80;\n", String::new()),
                ("    listen [::]:443 ssl http2;\n", String::new()),
                ("listen 80;", format!("listen 127.0.0.1:{};", free_port()?)),
                ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
                ("server 127.0.0.1:3000;", format!("server {proxy};")),
                ("/etc/ssl/proxy/fullchain.pem", certificate.display().to_string()),
                ("/etc/ssl/proxy/key.pem", key.display().to_string()),
            ],
        )?;
        let site = if self.location.is_empty() {
            site
        } else {
            adapted(&site, [("        proxy_buffering off;\n", self.location.to_owned())])?
        };
        program(folder, &format!("{}{site}", self.http))
    }
}

/// A file of deploy/nginx.
pub(super) fn file(name: &str) -> Outcome<String> {
    let path = Path::new(FOLDER).join(name);
    fs::read_to_string(&path).context(path.display())
}

/// nginx with these lines within `http`, which it must take without a word.
pub(super) fn program(folder: &Path, site: &str) -> Outcome<Program> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let whole = format!(
        "daemon off; pid {}; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {};\nproxy_temp_path {};\nfastcgi_temp_path {};\nuwsgi_temp_path {};\n\
         scgi_temp_path {};\n{site}\n}}\n",
        inside("pid"),
        inside("1"),
        inside("2"),
        inside("3"),
        inside("4"),
        inside("5"),
    );
    let path = inside("nginx.conf");
    fs::write(&path, whole)?;
    let options = ["-e", "stderr", "-p", &inside(""), "-c", &path];
    let said = Program::tool(Tool::NGINX)?.arguments(["-t", "-q"]).arguments(options).run(DEADLINE)?;
    ensure(said.errors.is_empty(), format_args!("nginx says:\n{}", said.errors))?;
    said.success()?;
    Ok(Program::tool(Tool::NGINX)?.arguments(options))
}

/// nginx alone before a registry, without the product: the other file of that folder.
pub struct Alone<'a> {
    /// `http://IP:PORT`
    pub registry: String,
    /// What its challenges name.
    pub realm: String,
    /// Where it may be sent for blobs: an address, and what stands before it.
    pub storage: &'a str,
}

impl Alone<'_> {
    /// Starts it on this port of this machine.
    pub fn start(&self, port: u16) -> Outcome<Running> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = certificate(folder.path())?;
        let as_pattern = |text: &str| text.replace('.', "\\.");
        let site = adapted(
            &file("nginx-only.conf")?,
            [
                ("    listen [::]:443 ssl http2;\n", String::new()),
                ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
                ("/etc/ssl/proxy/fullchain.pem", certificate.display().to_string()),
                ("/etc/ssl/proxy/key.pem", key.display().to_string()),
                ("https://auth\\.docker\\.io/token", as_pattern(&self.realm)),
                ("https://auth.docker.io/token", self.realm.clone()),
                ("https://registry-1.docker.io", self.registry.clone()),
                ("https://([a-z0-9-]+\\.)*(docker\\.com|r2\\.cloudflarestorage\\.com)", as_pattern(self.storage)),
            ],
        )?;
        let program = program(folder.path(), &site)?;
        Running::start(program, folder, Front::Nginx.base(port), port)
    }
}
