//! Signs our own requests and links. `OpenDAL` builds requests without signing: its signature for OSS is no longer accepted
//! by new buckets, and it keeps credentials for longer than some platforms allow.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use opendal::HttpTransporter;
use reqsign_core::{
    Context, Env as _, Error, OsEnv, ProvideCredentialChain, SignRequest, Signer, SigningCredential,
};
use reqsign_file_read_tokio::TokioFileRead;

use super::address::{BucketAddress, Cloud};
use super::credentials::{Credentials, Login, of_tencent, of_tencent_function};
use crate::environment::Environment;

/// Signs for one bucket.
pub(super) struct Signing {
    address: BucketAddress,
    context: Context,
    credentials: Arc<Credentials>,
    /// The signer, and the number of its credentials.
    current: Mutex<(u64, Arc<dyn Sign>)>,
}

#[async_trait]
trait Sign: Send + Sync {
    async fn sign(&self, parts: &mut Parts, life: Option<Duration>) -> Result<(), Error>;
}

#[async_trait]
impl<K: SigningCredential> Sign for Signer<K> {
    async fn sign(&self, parts: &mut Parts, life: Option<Duration>) -> Result<(), Error> {
        Self::sign(self, parts, life).await
    }
}

impl Signing {
    /// `None`: for this cloud `OpenDAL` signs. The transport is for fetching credentials from the machine or a token service.
    pub(super) fn of(
        address: &BucketAddress,
        credentials: Arc<Credentials>,
        transport: HttpTransporter,
    ) -> Option<Self> {
        let context = Context::new().with_file_read(TokioFileRead).with_http_send(transport).with_env(Environment);
        let (number, login) = credentials.newer_than(u64::MAX).unwrap_or_default();
        let first = signer(address, &context, login)?;
        Some(Self { address: address.clone(), context, credentials, current: Mutex::new((number, first)) })
    }

    /// Says where credentials were looked for and not found.
    pub(super) fn missing_credentials(&self) -> String {
        let [id, secret] = match self.address.cloud {
            Cloud::S3 => ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"],
            Cloud::Oss => ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
            Cloud::Cos => ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY"],
            Cloud::Obs => ["HUAWEI_CLOUD_ACCESS_KEY_ID", "HUAWEI_CLOUD_SECRET_ACCESS_KEY"],
            Cloud::Gcs | Cloud::Azblob => return "no credentials were found".to_owned(),
        };
        let said = |name: &str| match OsEnv.var(name).as_deref() {
            None => format!("{name} is not set"),
            Some("") => format!("{name} is set and empty"),
            Some(_) => format!("{name} is set"),
        };
        format!("{}, {}, and neither a profile nor a role of this machine has any", said(id), said(secret))
    }

    fn current(&self) -> Arc<dyn Sign> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, login)) = self.credentials.newer_than(current.0)
            && let Some(signer) = signer(&self.address, &self.context, login)
        {
            *current = (number, signer);
        }
        Arc::clone(&current.1)
    }

    /// Signs a request, and replaces any signature it has.
    pub(super) async fn request(&self, parts: &mut Parts) -> Result<(), Error> {
        const TOKENS: [&str; 2] = ["x-cos-security-token", "x-obs-security-token"];
        for name in [AUTHORIZATION, DATE, HOST].into_iter().chain(TOKENS.map(HeaderName::from_static)) {
            parts.headers.remove(name);
        }
        if self.address.cloud == Cloud::Oss {
            // The list of signed headers must not be empty.
            set_host(parts, None)?;
        }
        self.current().sign(parts, None).await?;
        if self.address.cloud == Cloud::Oss {
            tighten(parts)?;
        }
        Ok(())
    }

    /// Signs a link, for another host if one is given. Of the headers it signs at most Host, so that clients may add Range.
    pub(super) async fn link(&self, parts: &mut Parts, host: Option<&str>, life: Duration) -> Result<(), Error> {
        parts.headers.clear();
        if self.address.cloud == Cloud::Oss {
            set_host(parts, host)?;
        }
        self.current().sign(parts, Some(life)).await
    }
}

fn set_host(parts: &mut Parts, host: Option<&str>) -> Result<(), Error> {
    let own = parts.uri.authority().map(http::uri::Authority::as_str);
    parts.headers.insert(HOST, HeaderValue::from_str(host.or(own).unwrap_or_default())?);
    Ok(())
}

/// Removes spaces after commas, as OSS's own tools do.
fn tighten(parts: &mut Parts) -> Result<(), Error> {
    if let Some(text) = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let mut value = HeaderValue::from_str(&text.replace(", ", ","))?;
        value.set_sensitive(true);
        parts.headers.insert(AUTHORIZATION, value);
    }
    Ok(())
}

fn signer(address: &BucketAddress, context: &Context, login: Option<Login>) -> Option<Arc<dyn Sign>> {
    match address.cloud {
        #[cfg(feature = "s3")]
        Cloud::S3 => {
            use reqsign_aws_v4::{DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
            let known = login.map(|login| {
                let known = StaticCredentialProvider::new(&login.id, &login.secret);
                login.token.iter().fold(known, |known, token| known.with_session_token(token))
            });
            let chain = ProvideCredentialChain::new();
            let chain = match known {
                Some(known) => chain.push(known),
                None => chain.push(DefaultCredentialProvider::new()),
            };
            Some(over(context, chain, RequestSigner::new("s3", &address.region)))
        }
        #[cfg(feature = "oss")]
        Cloud::Oss => {
            use reqsign_aliyun_oss::{
                DefaultCredentialProvider, RequestSigner, SigningVersion, StaticCredentialProvider,
            };
            let known = login.map(|login| {
                let known = StaticCredentialProvider::new(&login.id, &login.secret);
                login.token.iter().fold(known, |known, token| known.with_security_token(token))
            });
            let chain = ProvideCredentialChain::new();
            let chain = match known {
                Some(known) => chain.push(known),
                None => chain.push(DefaultCredentialProvider::new()),
            };
            let signer = RequestSigner::new(&address.bucket).with_region(&address.region);
            Some(over(context, chain, signer.with_signing_version(SigningVersion::V4)))
        }
        #[cfg(feature = "cos")]
        Cloud::Cos => {
            use reqsign_tencent_cos::{DefaultCredentialProvider, RequestSigner, StaticCredentialProvider};
            let chain = ProvideCredentialChain::new();
            let chain = match tencent(login, |name| context.env_var(name)) {
                Some(Login { id, secret, token: Some(token) }) => {
                    chain.push(StaticCredentialProvider::with_security_token(&id, &secret, &token))
                }
                Some(Login { id, secret, token: None }) => chain.push(StaticCredentialProvider::new(&id, &secret)),
                None => chain.push(DefaultCredentialProvider::new()),
            };
            Some(over(context, chain, RequestSigner::new()))
        }
        #[cfg(feature = "obs")]
        Cloud::Obs => {
            use reqsign_huaweicloud_obs::{EnvCredentialProvider, RequestSigner, StaticCredentialProvider};
            let chain = ProvideCredentialChain::new();
            let chain = match login {
                Some(Login { id, secret, token: Some(token) }) => {
                    chain.push(StaticCredentialProvider::with_security_token(&id, &secret, &token))
                }
                Some(Login { id, secret, token: None }) => chain.push(StaticCredentialProvider::new(&id, &secret)),
                None => chain.push(EnvCredentialProvider::new()),
            };
            Some(over(context, chain, RequestSigner::new(&address.bucket)))
        }
        Cloud::Gcs | Cloud::Azblob => None,
        #[cfg(not(all(feature = "s3", feature = "oss", feature = "cos", feature = "obs")))]
        _ => None,
    }
}

/// A configured key comes before a temporary one, whose links expire when it does.
pub(super) fn tencent(lent: Option<Login>, variable: impl Fn(&str) -> Option<String>) -> Option<Login> {
    of_tencent(&variable).or(lent).or_else(|| of_tencent_function(&variable))
}

fn over<K: SigningCredential>(
    context: &Context,
    chain: ProvideCredentialChain<K>,
    signer: impl SignRequest<Credential = K>,
) -> Arc<dyn Sign> {
    Arc::new(Signer::new(context.clone(), chain, signer))
}
