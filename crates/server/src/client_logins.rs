//! Logins at this proxy, on the side of its clients: what kubelet and Docker get them from, and how people log in.
//!
//! - `credential_provider`: kubelet's plugin; `docker_helper`: Docker's
//! - `device_login`: `login` and `logout`, by `device_flow` and `issuer_client`; `renewal`: logins that end
//! - `stored`, `server_key`: the user's file of logins; `docker_config`: the line in Docker's
//! - `web_token`: when a token ends

mod credential_provider;
mod device_flow;
mod device_login;
mod docker_config;
mod docker_helper;
mod issuer_client;
mod renewal;
mod server_key;
mod stored;
mod web_token;

use std::io::Read as _;
use std::time::SystemTime;

use registry_proxy_core::secret::Secret;
use serde::Serializer;

pub(crate) use self::credential_provider::run as credential_provider;
pub(crate) use self::device_login::{login, logout};
pub(crate) use self::docker_helper::run_if_called_so as as_docker_helper;

/// The user name beside a token as password. The proxy takes any.
const USERNAME: &str = "oidc";

/// Standard input to its end.
fn read_input(most: u64) -> Result<String, String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(most + 1).read_to_string(&mut text);
    read.map_err(|error| format!("standard input: {error}"))?;
    if text.len() as u64 > most {
        return Err(format!("standard input: more than {most} bytes"));
    }
    Ok(text)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes a secret where it is meant to be read: for the client that asked, and in the user's own file.
fn exposed<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}
