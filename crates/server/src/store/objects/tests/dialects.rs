//! OSS, COS and OBS against a translator: it holds each request against the cloud's signature, where we know it from
//! its documents, and asks the S3 server for the same. No server of these clouds exists to be run.

use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Response, Uri};
use opendal::{Buffer, HttpBody, HttpTransport};
use registry_proxy_core::testing::contract::{store_contract, upload_contract};

use super::verify::{cos_takes, oss_takes};
use super::*;

const BUCKET: &str = "bucket";

#[derive(Clone)]
struct Translator {
    cloud: Cloud,
    secret: &'static str,
    server: Authority,
    s3: HttpTransporter,
}

impl Translator {
    fn takes(&self, parts: &http::request::Parts) -> bool {
        let host = parts.uri.host().unwrap();
        assert!(host.starts_with("bucket."), "{host}");
        match self.cloud {
            Cloud::Oss => oss_takes(parts, self.secret, BUCKET, "cn-hangzhou"),
            Cloud::Cos => cos_takes(parts, self.secret),
            _ => parts.headers.get("authorization").unwrap().to_str().unwrap().starts_with("OBS AKIDEXAMPLE:"),
        }
    }
}

impl HttpTransport for Translator {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (mut parts, body) = request.into_parts();
        let say = |status: StatusCode, code: &str| {
            let text = Bytes::from(format!("<Error><Code>{code}</Code></Error>"));
            let length = Some(text.len() as u64);
            let pieces = futures_util::stream::iter([Ok(Buffer::from(text))]);
            Ok(Response::builder().status(status).body(HttpBody::new(pieces, length)).unwrap())
        };
        if !self.takes(&parts) {
            return say(StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
        }
        let forbids = ["x-oss-forbid-overwrite", "x-cos-forbid-overwrite"];
        let is_conditional = forbids.iter().any(|name| parts.headers.contains_key(*name));
        let mut headers = HeaderMap::new();
        for name in [CONTENT_LENGTH, http::header::CONTENT_TYPE, http::header::RANGE] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        if is_conditional {
            headers.insert(IF_NONE_MATCH, "*".parse().unwrap());
        }
        let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
        let mut uri = std::mem::take(&mut parts.uri).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.server.clone());
        uri.path_and_query = Some(format!("/{BUCKET}{path}").parse().unwrap());
        parts.uri = Uri::from_parts(uri).unwrap();
        parts.headers = headers;
        let answer = self.s3.fetch(Request::from_parts(parts, body)).await?;
        if is_conditional && answer.status() == StatusCode::PRECONDITION_FAILED {
            return say(StatusCode::CONFLICT, "FileAlreadyExists");
        }
        Ok(answer)
    }
}

fn credentials(secret: &str, token: Option<&str>) -> Arc<Credentials> {
    let credentials = Arc::<Credentials>::default();
    let token = token.map(str::to_owned);
    credentials.renew(Login { id: ACCESS_KEY.to_owned(), secret: secret.to_owned(), token });
    credentials
}

fn address(cloud: Cloud, prefix: &str, more: &str) -> Url {
    let scheme = match cloud {
        Cloud::Oss => "oss",
        Cloud::Cos => "cos",
        _ => "obs",
    };
    format!("{scheme}://{BUCKET}/{prefix}?region=cn-hangzhou{more}").parse().unwrap()
}

/// A store of that cloud that keeps its content on an S3 server.
fn translated(server: &Server, cloud: Cloud, prefix: &str, credentials: Arc<Credentials>) -> ObjectStore {
    let s3 = BucketAddress::parse(&server.url(""), |_| None).unwrap();
    let plain = client::transport().unwrap();
    let signing = sign::Signing::of(&s3, super::dialects::credentials(SECRET_KEY, None), plain.clone()).unwrap();
    let authority = server.address.to_string().parse().unwrap();
    let s3 = client::signed(plain, Arc::new(signing));
    let translator = Translator { cloud, secret: SECRET_KEY, server: authority, s3 };
    let address = BucketAddress::parse(&address(cloud, prefix, ""), |_| None).unwrap();
    let scratch = FileStore::open(&server.dir.path().join("scratch"), 0).unwrap();
    ObjectStore::over(address, credentials, HttpTransporter::new(translator), scratch).unwrap()
}

#[tokio::test]
async fn oss_and_cos_keep_the_contract() {
    for cloud in [Cloud::Oss, Cloud::Cos] {
        let server = Server::start().await;
        let number = std::cell::Cell::new(0);
        store_contract(|| {
            number.set(number.get() + 1);
            let prefix = format!("some/{cloud:?}-{}", number.get());
            Arc::new(translated(&server, cloud, &prefix, credentials(SECRET_KEY, Some("a+token/=="))))
        })
        .await;
    }
}

#[tokio::test]
async fn oss_cos_and_obs_keep_the_contract_of_uploads() {
    for cloud in [Cloud::Oss, Cloud::Cos, Cloud::Obs] {
        let server = Server::start().await;
        let number = std::cell::Cell::new(0);
        upload_contract(|| {
            number.set(number.get() + 1);
            let prefix = format!("some/{cloud:?}-{}", number.get());
            [(); 2].map(|()| {
                Arc::new(translated(&server, cloud, &prefix, credentials(SECRET_KEY, None))) as Arc<dyn Store>
            })
        })
        .await;
    }
}

#[tokio::test]
async fn obs_holds_no_leases_and_says_so() {
    let server = Server::start().await;
    let store = translated(&server, Cloud::Obs, "p", credentials(SECRET_KEY, None));
    assert!(!store.capabilities().is_shared);
    let key = Key::lease(&Digest::sha256(b"x"), 1);
    assert!(store.write(&key, Bytes::from_static(b"x"), Precondition::Absent).await.is_err());
    assert!(store.write(&key, Bytes::from_static(b"x"), Precondition::Always).await.unwrap());
}

/// A platform lends a key for a while, and hands out the next one with a request.
#[tokio::test]
async fn a_new_login_counts_from_the_next_request() {
    let server = Server::start().await;
    for cloud in [Cloud::Oss, Cloud::Cos] {
        let credentials = credentials("one that ended", Some("token"));
        let store = translated(&server, cloud, "p", Arc::clone(&credentials));
        let key = Key::lease(&Digest::sha256(b"x"), 1);
        assert!(matches!(store.read(&key).await, Err(StoreError::ReadDenied(_))), "{cloud:?}");
        credentials.renew(Login { id: ACCESS_KEY.to_owned(), secret: SECRET_KEY.to_owned(), token: None });
        assert!(store.read(&key).await.unwrap().is_none(), "{cloud:?}");
    }
}

/// What a client would send that follows a link.
fn followed(link: &Url) -> http::request::Parts {
    Request::get(link.as_str()).header("host", link.authority()).body(()).unwrap().into_parts().0
}

#[tokio::test]
async fn links_are_signed_for_the_host_that_clients_see() {
    let server = Server::start().await;
    let key = Key::blob(&Digest::sha256(b"x"));
    for (cloud, public, expected) in [
        (Cloud::Oss, "https://oss-cn-hangzhou.aliyuncs.com", "bucket.oss-cn-hangzhou.aliyuncs.com"),
        (Cloud::Oss, "https://images.example.com", "images.example.com"),
        (Cloud::Cos, "https://cos.accelerate.myqcloud.com", "bucket.cos.accelerate.myqcloud.com"),
        (Cloud::Cos, "https://images.example.com:8443", "images.example.com:8443"),
    ] {
        for token in [None, Some("a+token/==")] {
            let internal = match cloud {
                Cloud::Oss => "&endpoint=https://oss-cn-hangzhou-internal.aliyuncs.com",
                _ => "",
            };
            let url = address(cloud, "a prefix", &format!("{internal}&public_endpoint={public}"));
            let address = BucketAddress::parse(&url, |_| None).unwrap();
            let transport = client::transport().unwrap();
            let scratch = FileStore::open(&server.dir.path().join("scratch"), 0).unwrap();
            let login = credentials(SECRET_KEY, token);
            let store = ObjectStore::over(address, login, transport, scratch).unwrap();
            let link = store.link(&key, Duration::from_mins(5)).await.unwrap();
            assert_eq!(link.authority(), expected);
            let mut parts = followed(&link);
            let takes = |parts: &http::request::Parts| match cloud {
                Cloud::Oss => oss_takes(parts, SECRET_KEY, BUCKET, "cn-hangzhou"),
                _ => cos_takes(parts, SECRET_KEY),
            };
            assert!(takes(&parts), "{link}");
            parts.headers.insert("range", "bytes=5-".parse().unwrap());
            assert!(takes(&parts), "a range is the client's own affair: {link}");
            parts.uri = parts.uri.to_string().replace("sha256", "sha257").parse().unwrap();
            assert!(!takes(&parts), "another object: {link}");
        }
    }
}
