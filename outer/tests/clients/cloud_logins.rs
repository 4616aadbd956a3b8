//! Registries of clouds that the proxy logs in to by itself (`upstream.login`): docker-registry behind the login that moto, or
//! a stand-in for the cloud's services, issues to the proxy.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::{Body, Handler, Server, connector, empty, text};
use registry_proxy_outer::objects::OtherStore;
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::{Access, Registry, Storage};
use registry_proxy_outer::{Context as _, Outcome};

use crate::stage::seed;

/// Pulls an image of this upstream, and wants all of it, and no secret in the log.
fn pulls(setup: Setup, name: &str, address: SocketAddr, lines: &[&str], secrets: &[&str]) -> Outcome {
    let proxy = setup.upstream(name, address, lines).start()?;
    let skopeo = Skopeo::new()?;
    let pulled = skopeo.pull(&format!("{}/{name}/library/sample:v1", proxy.address()), &[])?;
    equal("all of the image", &pulled.digests()?, &seed()?.catalogue().sample.digests())?;
    let log = proxy.service.log();
    ensure(!secrets.iter().any(|secret| log.contains(secret)), log)
}

#[test]
fn ecr_is_pulled_from_as_a_pod_with_moto_for_its_services() -> Outcome {
    let moto = OtherStore::all()?.into_iter().find(|store| store.name == "moto").context("moto is not there")?;
    let password = "123456789012-auth-token";
    let registry = Registry::start(&Storage::Seeded(seed()?), &Access::Basic(&[("AWS", password)]))?;
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    std::fs::write(&token, "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwb2QifQ.c2ln")?;
    let setup = Setup::new()
        .variable("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string())
        .variable("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
        .variable("AWS_ENDPOINT_URL", format!("http://{}", moto.address));
    let name = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    pulls(setup, name, registry.address(), &["login = 'ecr'"], &[password])
}

/// Google's metadata server, Azure's, and what a registry of Azure's has besides a registry.
struct Clouds {
    registry: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Clouds {
    fn start(registry: &Registry) -> Outcome<Server> {
        let client = Client::builder(TokioExecutor::new()).build(connector());
        Server::start(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Self { registry: registry.address(), client }))
    }

    /// What the registry behind says, to whoever has the access token.
    async fn relay(&self, request: Request<Incoming>) -> Outcome<Response<Body>> {
        let (mut head, _) = request.into_parts();
        if head.headers.remove(header::AUTHORIZATION).is_none_or(|token| token != "Bearer acr-access") {
            let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            let challenge = format!("Bearer realm=\"http://{host}/oauth2/token\",service=\"{host}\"");
            let mut response = empty(StatusCode::UNAUTHORIZED);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_str(&challenge)?);
            return Ok(response);
        }
        head.uri = format!("http://{}{}", self.registry, head.uri).parse()?;
        head.headers.remove(header::HOST);
        let response = self.client.request(Request::from_parts(head, Empty::new())).await?;
        Ok(response.map(|body| body.map_err(std::io::Error::other).boxed()))
    }
}

impl Handler for Clouds {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, Outcome<Response<Body>>> {
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let has = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
            let form = match path.as_str() {
                "/computeMetadata/v1/instance/service-accounts/default/token"
                    if has("metadata-flavor", "Google") =>
                {
                    return Ok(text(StatusCode::OK, r#"{"access_token":"gar-access","expires_in":3599}"#));
                }
                "/metadata/identity/oauth2/token" if has("metadata", "true") => {
                    return Ok(text(StatusCode::OK, r#"{"access_token":"entra-access","expires_in":"86399"}"#));
                }
                "/oauth2/exchange" | "/oauth2/token" => request.into_body().collect().await?.to_bytes(),
                _ => return self.relay(request).await,
            };
            let form = String::from_utf8_lossy(&form).into_owned();
            let has = |pair: &str| form.split('&').any(|one| one == pair);
            let answer = match path.as_str() {
                "/oauth2/exchange" if has("grant_type=access_token") && has("access_token=entra-access") => {
                    r#"{"refresh_token":"acr-refresh"}"#
                }
                "/oauth2/token" if has("grant_type=refresh_token") && has("refresh_token=acr-refresh") => {
                    r#"{"access_token":"acr-access"}"#
                }
                _ => return Ok(empty(StatusCode::UNAUTHORIZED)),
            };
            Ok(text(StatusCode::OK, answer))
        })
    }
}

#[test]
fn artifact_registry_is_pulled_from_as_an_instance() -> Outcome {
    let account = [("oauth2accesstoken", "gar-access")];
    let registry = Registry::start(&Storage::Seeded(seed()?), &Access::Basic(&account))?;
    let clouds = Clouds::start(&registry)?;
    let setup = Setup::new().variable("GCE_METADATA_HOST", clouds.address().to_string());
    pulls(setup, "europe-docker.pkg.dev", registry.address(), &["login = 'gar'"], &["gar-access"])
}

#[test]
fn azure_container_registry_is_pulled_from_as_a_virtual_machine() -> Outcome {
    let registry = Registry::start(&Storage::Seeded(seed()?), &Access::Open)?;
    let clouds = Clouds::start(&registry)?;
    let setup = Setup::new().variable("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{}", clouds.address()));
    let secrets = ["entra-access", "acr-refresh", "acr-access"];
    pulls(setup, "contoso.azurecr.io", clouds.address(), &["login = 'acr'"], &secrets)
}
