//! `registry-proxy credential-provider`, as kubelet runs it: a request on standard input, the login on standard output.

use std::io::Write as _;
use std::process::{Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::fixture::Setup;

/// Runs it with this on its standard input.
fn ask(setup: &Setup, input: &str) -> Output {
    let mut command = setup.command(&["credential-provider"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn kubelets_request_is_answered_with_the_pods_token() {
    // As kubelet has them. What is configured for a proxy on the same machine does not matter here.
    let setup = Setup::new().variable("REGISTRY_PROXY_CONFIG", "/nowhere/proxy.toml").variable("PORT", "abc");
    let payload = BASE64_URL_SAFE_NO_PAD.encode(
        r#"{"aud":["proxy.example.com"],"exp":4102444800,"iat":1790000000,"iss":"https://kubernetes.default.svc.cluster.local",
            "kubernetes.io":{"namespace":"web","pod":{"name":"app"},"serviceaccount":{"name":"default"}},
            "sub":"system:serviceaccount:web:default"}"#,
    );
    let token = format!("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.{payload}.c2lnbmF0dXJl");
    let request = json!({
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": "proxy.example.com/ghcr.io/owner/image",
        "serviceAccountToken": token,
        "serviceAccountAnnotations": {},
    });
    let output = ask(&setup, &request.to_string());
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    let expected = json!({
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Registry",
        "cacheDuration": "43200s",
        "auth": { "proxy.example.com": { "username": "oidc", "password": token } },
    });
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
}

#[test]
fn what_is_no_request_ends_with_1_and_a_line_that_kubelet_logs() {
    let output = ask(&Setup::new(), "GET / HTTP/1.1\r\n\r\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("no CredentialProviderRequest"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
