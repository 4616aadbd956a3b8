//! Forward proxies of other people, on the way to the registries: each with the configuration of its Debian package, but for its
//! port and its files.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::failure::ensure;
use crate::process::{Program, Service, Tool, wait_until};
use crate::proxy::free_port;
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_mins(1);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    Squid,
    Tinyproxy,
}

/// One that runs, until it is dropped.
pub struct Running {
    pub service: Service,
    address: SocketAddr,
    folder: TempDir,
}

impl WayOut {
    pub const ALL: [Self; 2] = [Self::Squid, Self::Tinyproxy];

    /// As the page calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    pub fn start(self) -> Outcome<Running> {
        let folder = tempfile::tempdir()?;
        // Both give up root for users of their own, who write here.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let program = match self {
            Self::Squid => squid(folder.path(), address),
            Self::Tinyproxy => tinyproxy(folder.path(), address),
        }?;
        let mut service = program.start(&folder.path().join("log"))?;
        wait_until(&format!("{} should listen", self.name()), DEADLINE, || {
            ensure(service.is_running()?, format_args!("it ended:\n{}", service.log()))?;
            Ok(std::net::TcpStream::connect(address).ok())
        })?;
        Ok(Running { service, address, folder })
    }
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was asked, as far as it has written that down.
    pub fn asked(&self) -> String {
        fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default()
    }
}

fn squid(folder: &Path, address: SocketAddr) -> Outcome<Program> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let stock = stock("/etc/squid/squid.conf", &[("\nhttp_port 3128\n", format!("\nhttp_port {address}\n"))])?;
    let own = format!(
        "pid_filename {}\naccess_log stdio:{}\ncache_log {}\ncoredump_dir none\npinger_enable off\nvisible_hostname way-out.test\n",
        inside("pid"),
        inside("asked"),
        inside("messages"),
    );
    let path = inside("squid.conf");
    fs::write(&path, stock + &own)?;
    Ok(Program::tool(Tool::SQUID)?.arguments(["-N", "-d", "1", "-f", &path]))
}

fn tinyproxy(folder: &Path, address: SocketAddr) -> Outcome<Program> {
    let inside = |name: &str| folder.join(name).display().to_string();
    let stock = stock(
        "/etc/tinyproxy/tinyproxy.conf",
        &[
            ("\nPort 8888\n", format!("\nPort {}\nListen {}\n", address.port(), address.ip())),
            ("\"/var/log/tinyproxy/tinyproxy.log\"", format!("\"{}\"", inside("asked"))),
            ("\"/run/tinyproxy/tinyproxy.pid\"", format!("\"{}\"", inside("pid"))),
        ],
    )?;
    let path = inside("tinyproxy.conf");
    fs::write(&path, stock)?;
    Ok(Program::tool(Tool::TINYPROXY)?.arguments(["-d", "-c", &path]))
}

/// The package's file with these changes, each of which must be there to be made.
fn stock(path: &str, changes: &[(&str, String)]) -> Outcome<String> {
    let text = fs::read_to_string(path).context(path)?;
    changes.iter().try_fold(text, |text, (old, new)| {
        ensure(text.contains(old), format_args!("{path} has no {old:?}"))?;
        Ok(text.replace(old, new))
    })
}
