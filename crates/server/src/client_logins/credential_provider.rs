//! `registry-proxy credential-provider`: what kubelet asks for the login of a pull, as its credential provider plugins are asked
//! (<https://kubernetes.io/docs/reference/config-api/kubelet-credentialprovider.v1/>). The answer is the pod's service account
//! token, which Kubernetes 1.34 and later pass on (KEP-4412).

use std::collections::BTreeMap;
use std::process::ExitCode;

use registry_proxy_core::secret::Secret;
use serde::{Deserialize, Serialize};

use super::web_token::WebToken;
use super::{USERNAME, exposed, read_input, unix_seconds};
use crate::terminal::{complain, print};

const API_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
const REQUEST: &str = "CredentialProviderRequest";
const RESPONSE: &str = "CredentialProviderResponse";
/// kubelet keeps one login for all images of a host.
const PER_REGISTRY: &str = "Registry";
/// A request has an image's name, a token and a few annotations.
const MOST_BYTES: u64 = 1 << 20;
/// A login is kept until so many seconds before its token ends: what begins a pull with it still gets in.
const MARGIN: u64 = 60;
/// The longest time in seconds that kubelet is told to keep a login.
const LONGEST: u64 = 12 * 60 * 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialProviderRequest {
    api_version: String,
    kind: String,
    image: String,
    service_account_token: Option<Secret>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialProviderResponse<'a> {
    api_version: &'static str,
    kind: &'static str,
    cache_key_type: &'static str,
    /// As Go writes durations.
    cache_duration: String,
    /// By the part of an image's name that they are for; `None`: there is no login for the image.
    auth: Option<BTreeMap<&'a str, KubeletLogin>>,
}

#[derive(Serialize)]
struct KubeletLogin {
    username: &'static str,
    #[serde(serialize_with = "exposed")]
    password: Secret,
}

/// An answer, and what an operator should read beside it.
#[derive(Debug, PartialEq, Eq)]
struct KubeletAnswer {
    json: String,
    note: Option<&'static str>,
}

/// Answers the request on standard input. Exit status 1 if it is none.
pub(crate) fn run() -> ExitCode {
    match read_input(MOST_BYTES).and_then(|request| answer(&request, unix_seconds())) {
        Ok(answered) => {
            if let Some(note) = answered.note {
                complain(note);
            }
            print(&answered.json)
        }
        Err(what) => {
            complain(&what);
            ExitCode::FAILURE
        }
    }
}

/// `now` is in seconds since 1970.
fn answer(request: &str, now: u64) -> Result<KubeletAnswer, String> {
    // Its text has the token: an error says nothing but the place.
    let request: CredentialProviderRequest = serde_json::from_str(request)
        .map_err(|error| format!("no {REQUEST} on standard input: not readable in line {}", error.line()))?;
    if request.kind != REQUEST || request.api_version != API_VERSION {
        return Err(format!(
            "expected a {REQUEST} of {API_VERSION}: set this apiVersion in CredentialProviderConfig"
        ));
    }
    let host = registry(&request.image).ok_or("the image of the request names no registry")?;
    let token = request.service_account_token.filter(|token| !token.expose().is_empty());
    let Some(token) = token else {
        let note = "kubelet sent no service account token: set tokenAttributes in CredentialProviderConfig (Kubernetes 1.34 \
                    or later); static pods have none";
        return Ok(KubeletAnswer { json: response(0, None)?, note: Some(note) });
    };
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the service account token has characters that no token has".to_owned());
    }
    // By the clock of this machine. A token that is over is sent as well: the proxy decides, and says why in its log.
    let kept = WebToken::read(token.expose())
        .and_then(|token| token.expires)
        .map_or(0, |expires| expires.saturating_sub(now).saturating_sub(MARGIN).min(LONGEST));
    let login = KubeletLogin { username: USERNAME, password: token };
    Ok(KubeletAnswer { json: response(kept, Some(BTreeMap::from([(host, login)])))?, note: None })
}

fn response(kept: u64, auth: Option<BTreeMap<&str, KubeletLogin>>) -> Result<String, String> {
    let response = CredentialProviderResponse {
        api_version: API_VERSION,
        kind: RESPONSE,
        cache_key_type: PER_REGISTRY,
        cache_duration: format!("{kept}s"),
        auth,
    };
    serde_json::to_string(&response).map(|json| json + "\n").map_err(|error| error.to_string())
}

/// The host in an image's name, with its port. It never has a `*`, which kubelet would take for a pattern.
fn registry(image: &str) -> Option<&str> {
    let (host, _) = image.split_once('/')?;
    let names_host = host.contains(['.', ':']) || host == "localhost";
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    Some(host).filter(|host| names_host && host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::web_token::tests::token;
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn request(image: &str, token: &str) -> String {
        json!({
            "kind": "CredentialProviderRequest",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "image": image,
            "serviceAccountToken": token,
            "serviceAccountAnnotations": { "example.com/team": "web" },
        })
        .to_string()
    }

    fn answered(request: &str) -> Value {
        serde_json::from_str(&answer(request, NOW).unwrap().json).unwrap()
    }

    #[test]
    fn the_token_is_the_password_for_the_images_host_until_shortly_before_its_end() {
        let jwt = token(r#"{"exp":1790000600,"aud":["proxy.example.com"]}"#);
        let expected = json!({
            "kind": "CredentialProviderResponse",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
            "cacheKeyType": "Registry",
            "cacheDuration": "540s",
            "auth": { "proxy.example.com": { "username": "oidc", "password": jwt } },
        });
        assert_eq!(answered(&request("proxy.example.com/ghcr.io/owner/image", &jwt)), expected);
    }

    #[test]
    fn a_login_is_for_the_host_and_port_that_the_image_names() {
        for (image, host) in [
            ("proxy.example.com:8443/docker.io/library/alpine", "proxy.example.com:8443"),
            ("127.0.0.1:3000/library/alpine", "127.0.0.1:3000"),
            ("[fd00::1]:3000/library/alpine", "[fd00::1]:3000"),
            ("localhost/alpine", "localhost"),
        ] {
            let auth = answered(&request(image, "opaque"))["auth"].clone();
            assert_eq!(auth.as_object().unwrap().keys().collect::<Vec<_>>(), [host], "{image}");
        }
        for image in
            ["alpine", "library/alpine", "", "/alpine", "*.example.com/alpine", "proxy.example.com", "a b.c/d"]
        {
            let refused = answer(&request(image, "opaque"), NOW).unwrap_err();
            assert!(refused.contains("names no registry"), "{image}: {refused}");
        }
    }

    #[test]
    fn a_login_is_kept_for_as_long_as_its_token_counts_and_no_longer() {
        for (payload, kept) in [
            (r#"{"exp":1790003600}"#, "3540s"),
            (r#"{"exp":1790000060}"#, "0s"),
            (r#"{"exp":1790000061}"#, "1s"),
            (r#"{"exp":1700000000}"#, "0s"),
            (r#"{"exp":18446744073709551615}"#, "43200s"),
            ("{}", "0s"),
        ] {
            let answer = answered(&request("proxy.example.com/a", &token(payload)));
            assert_eq!(answer["cacheDuration"], kept, "{payload}");
        }
        assert_eq!(answered(&request("proxy.example.com/a", "opaque"))["cacheDuration"], "0s");
    }

    #[test]
    fn without_a_token_there_is_no_login_and_the_operator_reads_why() {
        let none = r#"{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"p.test/a"}"#;
        for request in [none, &request("p.test/a", "")] {
            let answered = answer(request, NOW).unwrap();
            let json: Value = serde_json::from_str(&answered.json).unwrap();
            assert_eq!((&json["auth"], &json["cacheDuration"]), (&Value::Null, &json!("0s")));
            assert!(answered.note.unwrap().contains("tokenAttributes"));
        }
    }

    #[test]
    fn another_version_or_what_is_no_request_is_refused_without_repeating_it() {
        let old = request("p.test/a", "hunter2").replace("k8s.io/v1", "k8s.io/v1beta1");
        let other = request("p.test/a", "hunter2").replace("ProviderRequest", "ProviderResponse");
        let number = request("p.test/a", "hunter2").replace("\"hunter2\"", "8675309");
        let control = request("p.test/a", "hunter2\r\nX: y");
        for request in ["", "{}", "[]", "hunter2", &old, &other, &number, &control] {
            let refused = answer(request, NOW).unwrap_err();
            assert!(!refused.contains("hunter2") && !refused.contains("8675309"), "{refused}");
        }
        assert!(answer(&old, NOW).unwrap_err().contains("credentialprovider.kubelet.k8s.io/v1:"));
    }
}
