//! User names and passwords, and where they come from.

use crate::seal::Sealer;
use crate::secret::Basic;

/// A user name and password, and the mark by which tables know them.
#[derive(Debug)]
pub struct Login {
    /// The login.
    pub basic: Basic,
    /// Its fingerprint.
    pub id: [u8; 16],
    /// Where it comes from.
    pub origin: LoginSource,
}

impl Login {
    /// A login that a client brought.
    pub fn new(basic: Basic, sealer: &Sealer) -> Self {
        let id = sealer.fingerprint(&[&basic.username, basic.password.expose()]);
        Self { basic, id, origin: LoginSource::Client }
    }
}

/// Where a login comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSource {
    /// The client brought it.
    Client,
    /// `username` and `password`.
    Account,
    /// This entry of `credentials`.
    Entry(usize),
    /// `docker_config`.
    DockerConfig,
    /// The upstream's cloud issued it (`login`).
    Cloud,
}
