//! The traits through which the core uses its platform; it uses nothing else. Natively tokio is behind them, in tests
//! fakes and a virtual clock.

mod capabilities;
mod keys;
mod store;

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use http::{Request, Response};

pub use self::capabilities::{Capabilities, IngestMode, Profile, UnknownProfile};
pub use self::keys::{
    BLOBS, EVERYTHING, HELD, HOLDS, INGESTS, Key, Kind, LEASES, LINKS, MANIFESTS, ORIGINS, TAGS, USAGE,
};
pub(crate) use self::keys::{CONTENT, OF_A_DIGEST, RECORDS};
pub use self::store::{
    CopyOutcome, Draft, Entry, Found, Part, Passing, Precondition, Stat, Store, StoreCapabilities, StoreError,
    Swept, UPLOAD_DEADLINE, Upload, Validator,
};
use crate::body::Body;
use crate::digest::Digest;
use crate::jwks::{IssuerKey, KeySet};
use crate::name::RepositoryName;
use crate::notification::Notifications;
use crate::secret::{Basic, Secret};
pub use crate::unconnected::Unconnected;

/// One request out, one response back. Redirects are returned, not followed; nothing is decoded.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends the request. The answer's body is still on its way when this returns.
    async fn send(&self, outgoing: Outgoing) -> Result<Response<Body>, TransportError>;
}

/// A request to send, and what the connection it travels on may be.
pub struct Outgoing {
    /// The request; its URI is absolute.
    pub request: Request<Body>,
    /// Which configured upstream this is for: its certificates, proxy and connection cap apply.
    pub upstream: usize,
    /// Which addresses the connection may reach.
    pub reach: Reach,
    /// What it fetches.
    pub purpose: RequestPurpose,
}

/// Which addresses a connection may reach, judged after the name is resolved (P-66, P-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// An address from the configuration: anything.
    Configured,
    /// A host that an upstream named: public addresses only.
    Public,
    /// A host that an upstream named and the configuration trusts, or any where it says that the upstream is private:
    /// anything.
    Trusted,
}

/// What a request fetches: blobs travel on HTTP/1.1 connections of their own, as the fixed windows of HTTP/2 hold
/// a single stream back over long distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestPurpose {
    /// Manifests, tokens, lists.
    Api,
    /// Layers.
    Blob,
}

/// Why no response came.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection: name resolution, TCP, TLS or an egress proxy failed.
    #[error("cannot connect: {why}")]
    Connect {
        /// In which way, as far as the platform knows.
        why: Unconnected,
        /// All that it says, for the log alone: addresses stand in it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address is private and nothing allows it.
    #[error("{host} resolves to the private address {address}, which nothing in the configuration allows")]
    AddressRefused {
        /// The host, as named.
        host: Box<str>,
        /// Where it leads.
        address: IpAddr,
    },
    /// The upstream's `max_connections` are all in use, and none became free in time.
    #[error("no connection to the upstream became free")]
    Busy,
    /// The connection broke before a response came.
    #[error("the connection broke before a response came")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A point in time on a clock that never goes back; only differences mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// This moment and a while.
    #[must_use]
    pub fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(while_))
    }

    /// How long from `earlier` to this.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A boxed sleep.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Time: `std`'s clocks panic on wasm32, so it comes from here only.
pub trait Clock: Send + Sync {
    /// Now, on the clock that never goes back.
    fn now(&self) -> Moment;
    /// Seconds since 1970, for what outlives the process: tokens.
    fn unix_seconds(&self) -> u64;
    /// Wakes up after a while.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

/// The future's value, or [`Elapsed`] where it takes longer than `limit`. What is there at once takes no timer.
pub async fn within<F: Future>(clock: &dyn Clock, limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut timer) = (pin!(future), None);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => timer.get_or_insert_with(|| clock.sleep(limit)).as_mut().poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// Work that outlives the response it began with: fills.
pub trait Tasks: Send + Sync {
    /// Runs it to its end, whatever becomes of the request.
    fn spawn(&self, work: BoxFuture<'static, ()>);

    /// Runs work that takes milliseconds of a processor, on another thread than the caller's where the platform has one.
    /// Ends when the work has ended; work that has begun goes on if this is dropped.
    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        work();
        Box::pin(std::future::ready(()))
    }
}

/// Clients' passwords for `clients.auth = "users"`.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Whether this user has this password. Slow by design (bcrypt), so the platform decides where it runs and how many
    /// at once; the caller decides who may ask.
    async fn verify(&self, login: &Basic) -> bool;

    /// What the password file has for a user: other text, once the password is another. `None`: no such user.
    fn line(&self, username: &str) -> Option<Secret>;
}

/// A public key that verifies signatures of images (`[[policy]]`).
pub trait SignatureKey: Send + Sync {
    /// Whether it made this signature of these bytes.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool;

    /// SHA-256 of the key in DER: it names the key in messages, and tells another key from it.
    fn fingerprint(&self) -> [u8; 32];
}

/// Verifies signatures of tokens that OIDC issuers give (`[[clients.issuer]]`).
pub trait TokenSignatures: Send + Sync {
    /// Whether the key made this signature, in the form of RFC 7518 section 3 and RFC 8037 section 3.1, of these bytes.
    fn verifies(&self, key: &IssuerKey, message: &[u8], signature: &[u8]) -> bool;
}

/// What a platform has for the OIDC issuers of the configuration.
#[derive(Clone)]
pub struct TokenIssuers {
    /// Sends to the issuers: as `upstream` it takes the place of the first `[[clients.issuer]]` of a URL.
    pub transport: Arc<dyn Transport>,
    /// Verifies what they have signed.
    pub signatures: Arc<dyn TokenSignatures>,
    /// What is in `jwks_file` of each `[[clients.issuer]]`, in their order.
    pub key_files: Vec<Option<KeySet>>,
}

/// When something is due by the calendar: a cron expression in a time zone (`[[warm]] at`). The platform has the time zones.
pub trait Timetable: Send + Sync {
    /// The first time after this one, both in seconds since 1970; `None`: it never comes.
    fn next_after(&self, unix_seconds: u64) -> Option<u64>;
}

/// Verifies Sigstore bundles by a trust root, for `[[policy]]` with `issuer` and `subject`.
pub trait BundleVerifier: Send + Sync {
    /// Verifies everything about a bundle (sigstore/protobuf-specs, `sigstore_bundle.proto`) but whose it must be: that its
    /// certificate is by an authority of the trust root and was valid when the bundle was made, that the certificate and the
    /// signature are in transparency logs of the trust root, that the signature is by the certificate's key, and that the signed
    /// statement names this manifest.
    fn verify(&self, bundle: &[u8], manifest: &Digest) -> Result<VerifiedBundle, BundleFlaw>;

    /// SHA-256 of the trust root, which tells it from another.
    fn fingerprint(&self) -> [u8; 32];
}

/// What a bundle says, and who says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBundle {
    /// The OIDC issuer that the signer has logged in to.
    pub issuer: String,
    /// The signer, as that issuer calls it: an email address or a URI.
    pub subject: String,
    /// The statement of in-toto that is signed.
    pub statement: Vec<u8>,
}

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleFlaw {
    /// It is none that an identity has made for an image.
    NotABundle,
    /// It is about something else.
    OtherManifest,
    /// Its certificate is by no authority that is trusted, or in no trusted log of certificates.
    Untrusted,
    /// Its certificate, or the authority, was not valid when it was made, or nobody trusted says when that was.
    NotValidThen,
    /// It is not proved that it is in a trusted transparency log.
    NotLogged,
    /// Its signature is not by the certificate's key, or was changed.
    Changed,
}

/// Who signs images, for `[[policy]]`.
#[derive(Clone)]
pub enum Signer {
    /// Who has the private half of this key.
    Key(Arc<dyn SignatureKey>),
    /// An identity for which the authorities of this trust root vouch.
    Identity(Arc<dyn BundleVerifier>),
}

/// Credentials that a Docker configuration file or a credential helper holds (`docker_config`).
#[async_trait]
pub trait CredentialStore: Send + Sync {
    /// What is stored for this repository of this host (`ghcr.io`, `registry.example:5000`), or for the host; `None`:
    /// nothing is.
    async fn find(&self, upstream: usize, host: &str, repository: &RepositoryName) -> Option<Basic>;

    /// A registry did not take this login. What is stored may be another one by now.
    fn refused(&self, login: &Basic);
}

/// Issues logins at the registries of clouds, for what this process is there: an instance, a pod or a function
/// (`upstream.login`).
#[async_trait]
pub trait LoginIssuer: Send + Sync {
    /// A login for the upstream at this place of the configuration. The caller sets a time limit, and decides when to ask again.
    async fn issue(&self, upstream: usize) -> Result<IssuedLogin, NotIssued>;
}

/// A login that a cloud issued.
#[derive(Debug)]
pub struct IssuedLogin {
    /// For the registry or its token server.
    pub basic: Basic,
    /// How long it is valid.
    pub life: Duration,
}

/// Why no login was issued, for the log: without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotIssued(pub String);

/// Begins another invocation of this function.
#[async_trait]
pub trait Invoke: Send + Sync {
    /// With this event, a JSON object; returns when the platform has taken it.
    async fn invoke(&self, event: String) -> Result<(), InvokeError>;
}

/// The platform did not take an event.
#[derive(Debug, thiserror::Error)]
#[error("the platform did not begin an invocation")]
pub struct InvokeError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Everything that the platform gives the core.
#[derive(Clone)]
pub struct Platform {
    /// Sends requests.
    pub transport: Arc<dyn Transport>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Clients' passwords, where `clients.auth = "users"`.
    pub passwords: Option<Arc<dyn Passwords>>,
    /// The keys and trust roots of `[[policy]]`, in the order of its rules; none where this platform verifies no signatures.
    pub signers: Vec<Option<Signer>>,
    /// Sends to the services of `[[policy]]`: as `upstream` it takes their places among the rules that have a `verdict_url`. `None`:
    /// this platform asks none.
    pub verdict_services: Option<Arc<dyn Transport>>,
    /// Reaches the issuers of `[[clients.issuer]]` and verifies what they sign. `None`: this platform or build takes no such tokens.
    pub token_issuers: Option<TokenIssuers>,
    /// Stored credentials, where `docker_config` is set.
    pub credentials: Option<Arc<dyn CredentialStore>>,
    /// Issues logins, where `login` of an upstream is set.
    pub login_issuer: Option<Arc<dyn LoginIssuer>>,
    /// Where content is kept; `None`: nowhere.
    pub store: Option<Arc<dyn Store>>,
    /// Invocations of its own, where the platform has such.
    pub invoker: Option<Arc<dyn Invoke>>,
    /// Who is told when something happens.
    pub notifications: Notifications,
    /// Work that outlives the response.
    pub tasks: Arc<dyn Tasks>,
    /// What it can do.
    pub capabilities: Capabilities,
}

/// What the platform knows of one request.
#[derive(Debug, Clone)]
pub struct Cx {
    /// The peer's address, as the connection shows it: perhaps a reverse proxy's.
    pub peer: Option<IpAddr>,
    /// Whose connection it is, where the peer has said so before its first byte (the PROXY protocol). This address is a
    /// client's, whatever list it stands in, and so is every header.
    pub introduced: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// Tells one request from another in the log.
    pub id: u64,
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    /// A clock on which nothing may wait.
    struct NoTimers;

    impl Clock for NoTimers {
        fn now(&self) -> Moment {
            Moment::default()
        }

        fn unix_seconds(&self) -> u64 {
            0
        }

        fn sleep(&self, _: Duration) -> Sleep {
            panic!("a timer")
        }
    }

    #[test]
    fn what_is_there_at_once_takes_no_timer() {
        let there = within(&NoTimers, Duration::from_secs(1), std::future::ready(7));
        assert_eq!(there.now_or_never(), Some(Ok(7)));
    }
}
