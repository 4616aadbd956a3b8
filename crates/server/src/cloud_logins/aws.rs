//! Who this process is at AWS: the identity's credentials, by `reqsign`, and requests signed with them.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use registry_proxy_core::platform::NotIssued;
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider,
    EnvCredentialProvider, IMDSv2CredentialProvider, RequestSigner,
};
use reqsign_core::{Context, Env as _, Error, HttpSend, ProvideCredential, Signer};
use reqsign_file_read_tokio::TokioFileRead;

use super::client::{CloudClient, refused, shown};
use crate::environment::Environment;
use crate::transport::causes;

/// As what we appear in `CloudTrail`, after the name of an assumed role.
const SESSION_NAME: &str = "registry-proxy";
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// Where the credentials of this process come from, in the order in which AWS's own tools look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwsSource {
    /// Variables, which Lambda sets for the function's role.
    Variables,
    /// A token in a file, which EKS writes for the pod's service account (IRSA); any OIDC issuer can.
    WebIdentity,
    /// The endpoint that ECS, Fargate and EKS Pod Identity name.
    Container,
    /// The metadata service of an EC2 instance, version 2.
    Instance,
}

impl AwsSource {
    /// The source that these variables name.
    pub(super) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| variable(name).is_some();
        if is_set("AWS_ACCESS_KEY_ID") && is_set("AWS_SECRET_ACCESS_KEY") {
            Self::Variables
        } else if is_set("AWS_WEB_IDENTITY_TOKEN_FILE") {
            Self::WebIdentity
        } else if is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI") || is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        {
            Self::Container
        } else {
            Self::Instance
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Variables => "AWS_ACCESS_KEY_ID",
            Self::WebIdentity => "AWS_WEB_IDENTITY_TOKEN_FILE",
            Self::Container => "the container's credentials endpoint",
            Self::Instance => "the instance's metadata service",
        }
    }
}

/// Signs requests as this process, or as the role that it assumes.
pub(super) struct AwsIdentity {
    client: CloudClient,
    region: String,
    role_arn: Option<String>,
}

impl AwsIdentity {
    pub(super) fn new(client: CloudClient, region: String, role_arn: Option<String>) -> Self {
        Self { client, region, role_arn }
    }

    /// Sends a signed request. Credentials are fetched for each: logins live for hours, so little is gained by keeping
    /// credentials, which may have been withdrawn.
    pub(super) async fn send(&self, service: &str, request: Request<Bytes>) -> Result<Response<Bytes>, NotIssued> {
        let source = AwsSource::of(|name| Environment.var(name));
        let (mut parts, body) = request.into_parts();
        if let Ok(hash) = HeaderValue::from_str(&reqsign_core::hash::hex_sha256(&body)) {
            parts.headers.insert(CONTENT_SHA256, hash);
        }
        let signed = self.signer(source, service).sign(&mut parts, None).await;
        signed.map_err(|error| {
            NotIssued(format!("no credentials from {}: {}", source.as_str(), messages(&error)))
        })?;
        self.client.send(at_endpoint(Request::from_parts(parts, body), |name| Environment.var(name))).await
    }

    /// The name of the identity, as STS tells it.
    pub(super) async fn name(&self) -> Result<String, NotIssued> {
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let address = format!("https://sts.{}.{suffix}/?Action=GetCallerIdentity&Version=2011-06-15", self.region);
        let request = Request::get(address).body(Bytes::new()).map_err(|_| NotIssued("no region".to_owned()))?;
        let response = self.send("sts", request).await?;
        if !response.status().is_success() {
            return Err(refused("STS", &response));
        }
        let text = String::from_utf8_lossy(response.body());
        let arn = text.split_once("<Arn>").and_then(|(_, rest)| rest.split_once("</Arn>"));
        arn.map(|(arn, _)| shown(arn)).ok_or_else(|| NotIssued("STS names nobody".to_owned()))
    }

    fn signer(&self, source: AwsSource, service: &str) -> Signer<Credential> {
        let role = self.role_arn.as_deref();
        match source {
            AwsSource::Variables => self.signer_as(role, service, EnvCredentialProvider::new()),
            AwsSource::Container => self.signer_as(role, service, ECSCredentialProvider::new()),
            AwsSource::Instance => self.signer_as(role, service, IMDSv2CredentialProvider::new()),
            AwsSource::WebIdentity => {
                let token = AssumeRoleWithWebIdentityCredentialProvider::new()
                    .with_region(self.region.clone())
                    .with_regional_sts_endpoint();
                let token = match Environment.var("AWS_ROLE_SESSION_NAME") {
                    Some(_) => token,
                    None => token.with_role_session_name(SESSION_NAME.to_owned()),
                };
                match role {
                    // The token itself is good for the role.
                    Some(role) if Environment.var("AWS_ROLE_ARN").is_none() => {
                        self.signer_as(None, service, token.with_role_arn(role))
                    }
                    Some(_) | None => self.signer_as(role, service, token),
                }
            }
        }
    }

    /// Signs with these credentials, or as the role that they may assume.
    fn signer_as(
        &self,
        role: Option<&str>,
        service: &str,
        own: impl ProvideCredential<Credential = Credential>,
    ) -> Signer<Credential> {
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(AwsSend(self.client.clone()))
            .with_env(Environment);
        let signer = |service: &str| RequestSigner::new(service, &self.region);
        let Some(role) = role else { return Signer::new(context, own, signer(service)) };
        let sts = Signer::new(context.clone(), own, signer("sts"));
        let assumed = AssumeRoleCredentialProvider::new(role.to_owned(), sts)
            .with_role_session_name(SESSION_NAME.to_owned())
            .with_region(self.region.clone())
            .with_regional_sts_endpoint();
        Signer::new(context, assumed, signer(service))
    }
}

/// Sends what `reqsign` asks for credentials.
#[derive(Debug)]
struct AwsSend(CloudClient);

impl HttpSend for AwsSend {
    async fn http_send(&self, request: Request<Bytes>) -> reqsign_core::Result<Response<Bytes>> {
        let sent = self.0.send(at_endpoint(request, |name| Environment.var(name))).await;
        sent.map_err(|error| Error::unexpected(error.to_string()))
    }
}

/// The request, at the address that the environment names for its service (`AWS_ENDPOINT_URL_ECR`, `AWS_ENDPOINT_URL_STS`,
/// `AWS_ENDPOINT_URL`), as AWS's tools read it: a VPC endpoint, or a stand-in on this machine. `Host` stays what was signed.
fn at_endpoint(mut request: Request<Bytes>, variable: impl Fn(&str) -> Option<String>) -> Request<Bytes> {
    let service = match request.uri().host().unwrap_or_default() {
        host if host.starts_with("sts.") => "AWS_ENDPOINT_URL_STS",
        host if host.starts_with("api.ecr-public.") => "AWS_ENDPOINT_URL_ECR_PUBLIC",
        host if host.starts_with("api.ecr.") => "AWS_ENDPOINT_URL_ECR",
        // A metadata service.
        _ => return request,
    };
    let Some(endpoint) = variable(service).or_else(|| variable("AWS_ENDPOINT_URL")) else { return request };
    let authority = request.uri().authority().map(ToString::to_string);
    let host = authority.and_then(|authority| HeaderValue::from_str(&authority).ok());
    let endpoint = endpoint.parse::<Uri>().unwrap_or_default().into_parts();
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    (parts.scheme, parts.authority) = (endpoint.scheme, endpoint.authority);
    // Without scheme or host it is no address, and nothing is sent there.
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    if let Some(host) = host {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    request
}

/// The messages of an error and of its causes, as far as they are `reqsign`'s: a parser's would repeat what it read.
fn messages(error: &Error) -> String {
    let own = causes(error).filter_map(|cause| cause.downcast_ref::<Error>());
    shown(&own.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_source_is_the_first_that_the_environment_names() {
        let all = &[
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "f"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "u"),
        ];
        for (set, source) in [
            (&all[..], AwsSource::Variables),
            (&all[1..], AwsSource::WebIdentity),
            (&all[3..], AwsSource::Container),
            (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x")], AwsSource::Container),
            (&all[..1], AwsSource::Instance),
            (&[], AwsSource::Instance),
        ] {
            assert_eq!(AwsSource::of(variables(set)), source, "{set:?}");
        }
    }

    #[test]
    fn an_endpoint_of_the_environment_is_asked_in_place_of_the_service() {
        let asked = |address: &str, set| {
            let request = at_endpoint(Request::get(address).body(Bytes::new()).unwrap(), variables(set));
            let host = request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned());
            (request.uri().to_string(), host)
        };
        let sts = "https://sts.eu-central-1.amazonaws.com/?Action=x";
        let all = &[("AWS_ENDPOINT_URL", "http://127.0.0.1:5000")][..];
        let one =
            &[("AWS_ENDPOINT_URL_STS", "https://vpce-1.sts.example"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
        let host = |name: &str| Some(name.to_owned());
        assert_eq!(asked(sts, &[]), (sts.to_owned(), None));
        assert_eq!(
            asked(sts, all),
            ("http://127.0.0.1:5000/?Action=x".to_owned(), host("sts.eu-central-1.amazonaws.com"))
        );
        assert_eq!(
            asked(sts, one),
            ("https://vpce-1.sts.example/?Action=x".to_owned(), host("sts.eu-central-1.amazonaws.com"))
        );
        let metadata = "http://169.254.169.254/latest/api/token";
        assert_eq!(asked(metadata, all), (metadata.to_owned(), None), "this is no service");
    }
}
