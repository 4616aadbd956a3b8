//! A bucket: how to reach it, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use opendal::layers::RetryLayer;
use opendal::{ErrorKind, HttpTransporter, OperationContext, Operator};
use registry_proxy_core::cache::Key;
use registry_proxy_core::digest::Digest;
use registry_proxy_core::platform::StoreError;
use tokio::sync::Semaphore;
use url::Url;

use super::address::BucketAddress;
use super::client::{self, REQUEST_TIMEOUT};
use super::credentials::Credentials;
use super::sign::Signing;

/// Retries after a temporary failure.
pub(super) const RETRIES: usize = 2;

/// Blobs uploaded at once. Each has a part in memory, and another while the next is read; through `OpenDAL` a third.
pub(super) const TURNS: usize = 2;

/// A bucket, or what lies below a prefix of it.
pub(super) struct Bucket {
    pub(super) address: BucketAddress,
    pub(super) operator: Operator,
    /// The bucket at the endpoint for clients, if the signature covers the endpoint.
    public: Option<Operator>,
    /// Signs requests, if we sign them ourselves.
    pub(super) transport: HttpTransporter,
    pub(super) signing: Option<Arc<Signing>>,
    /// Limits uploads at once, since each takes memory for its parts.
    pub(super) turns: Semaphore,
}

impl Bucket {
    pub(super) fn over(
        address: BucketAddress,
        credentials: Arc<Credentials>,
        transport: HttpTransporter,
    ) -> Result<Self, opendal::Error> {
        let signing = Signing::of(&address, credentials, transport.clone()).map(Arc::new);
        let transport = match &signing {
            Some(signing) => client::signed(transport, Arc::clone(signing)),
            None => transport,
        };
        let retry =
            RetryLayer::new().with_max_times(RETRIES).with_min_delay(Duration::from_millis(200)).with_jitter();
        let finish = |operator: Operator| {
            let context = OperationContext::new().with_http_transport(transport.clone());
            operator.with_context(context).layer(retry.clone())
        };
        let operator = finish(address.operator()?);
        let public = address.public().map(|address| address.operator()).transpose()?.map(finish);
        Ok(Self { address, operator, public, transport, signing, turns: Semaphore::new(TURNS) })
    }

    /// The URL of an object, without a signature.
    pub(super) async fn url(&self, key: &Key) -> Result<http::Uri, StoreError> {
        bare(&self.operator, key).await
    }

    /// The URL of the bucket, without a signature, and the prefix of our keys in it.
    pub(super) async fn base_url(&self) -> Result<(String, String), StoreError> {
        let parts: Vec<&str> = self.address.root.split('/').filter(|part| !part.is_empty()).collect();
        let root = if parts.is_empty() { String::new() } else { parts.join("/") + "/" };
        // The clouds' URLs differ; only the end, our key, is known.
        let key = Key::blob(&Digest::sha256(b""));
        let mut url = Url::parse(&self.url(&key).await?.to_string()).map_err(StoreError::failed)?;
        let ours = format!("{root}{key}").split('/').count();
        if let Ok(mut path) = url.path_segments_mut() {
            for _ in 0..ours {
                path.pop();
            }
            path.pop_if_empty().push("");
        }
        Ok((url.to_string(), root))
    }

    /// Checks that an object just written has this length. Buckets have been seen to accept an object and store less.
    pub(super) async fn verify_length(&self, key: &Key, bytes: u64) -> Result<(), StoreError> {
        let found = absent_as_none(with_timeout(REQUEST_TIMEOUT, self.operator.stat(key.as_str())).await?)?;
        let length = found.map(|found| found.content_length());
        if length == Some(bytes) {
            return Ok(());
        }
        if length.is_some() {
            // It is incomplete, and ours: delete it.
            let _ = with_timeout(REQUEST_TIMEOUT, self.operator.delete(key.as_str())).await;
        }
        let kept = length.map_or("nothing".to_owned(), |length| format!("{length} bytes"));
        Err(StoreError::failed(format!("{bytes} bytes were written to the bucket, and it has {kept}")))
    }

    /// Whether it can create links that work without credentials.
    pub(super) fn gives_links(&self) -> bool {
        self.signing.is_some() || self.operator.info().capability().presign_read
    }

    /// A link to an object that works without credentials for a while.
    pub(super) async fn link(&self, key: &Key, life: Duration) -> Result<Url, StoreError> {
        let Some(signing) = &self.signing else {
            let signed = with_timeout(REQUEST_TIMEOUT, self.operator.presign_read(key.as_str(), life))
                .await?
                .map_err(store_error)?;
            return Url::parse(&signed.uri().to_string()).map_err(StoreError::failed);
        };
        let uri = bare(self.public.as_ref().unwrap_or(&self.operator), key).await?;
        let (mut parts, ()) = Request::get(uri).body(()).map_err(StoreError::failed)?.into_parts();
        let public = self.address.public_host();
        let sign = async {
            let host = public.as_ref().map(|(_, host)| &**host);
            signing.link(&mut parts, host, life).await.map_err(|error| client::unsigned(error, signing))
        };
        with_timeout(REQUEST_TIMEOUT, sign).await?.map_err(store_error)?;
        let mut signed = parts.uri.into_parts();
        if let Some((scheme, host)) = public {
            signed.scheme = Some(scheme.parse().map_err(StoreError::failed)?);
            signed.authority = Some(host.parse().map_err(StoreError::failed)?);
        }
        let signed = http::Uri::from_parts(signed).map_err(StoreError::failed)?;
        Url::parse(&signed.to_string()).map_err(StoreError::failed)
    }
}

/// The URL of an object as the operator writes it, since the clouds' URLs differ.
async fn bare(operator: &Operator, key: &Key) -> Result<http::Uri, StoreError> {
    let presigned =
        with_timeout(REQUEST_TIMEOUT, operator.presign_read(key.as_str(), Duration::from_mins(1))).await?;
    let uri = presigned.map_err(store_error)?.uri().to_string();
    let path = uri.split('?').next().unwrap_or_default();
    path.parse().map_err(StoreError::failed)
}

/// Waits with a time limit.
pub(super) async fn with_timeout<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, opendal::Error>>,
) -> Result<Result<T, opendal::Error>, StoreError> {
    tokio::time::timeout(limit, work).await.map_err(|_| StoreError::TimedOut)
}

pub(super) fn absent_as_none<T>(done: Result<T, opendal::Error>) -> Result<Option<T>, StoreError> {
    match done {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(store_error(error)),
    }
}

pub(super) fn store_error(error: opendal::Error) -> StoreError {
    match error.kind() {
        ErrorKind::PermissionDenied => StoreError::Denied(error.into()),
        // One of our own errors, whose message says what to do.
        ErrorKind::ConfigInvalid => StoreError::NoCredentials(error.message().to_owned().into()),
        _ => StoreError::failed(error),
    }
}
