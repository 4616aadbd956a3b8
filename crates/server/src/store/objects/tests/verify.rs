//! Signatures of OSS and COS, written down a second time from their documents, and held against what these publish: so
//! we know that what our signers write is what the clouds read.

use std::collections::BTreeMap;

use http::request::Parts;
use ring::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, HMAC_SHA256, Key as HmacKey};
use url::form_urlencoded::parse;

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

fn sha1(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn sha256(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

fn hmac(algorithm: hmac::Algorithm, key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&HmacKey::new(algorithm, key), text.as_bytes()).as_ref().to_vec()
}

/// Percent-encodes all but what RFC 3986 leaves alone.
fn encode(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn decode(path: &str) -> String {
    parse(format!("x={}", path.replace('+', "%2B")).as_bytes()).next().map(|(_, value)| value.into()).unwrap()
}

pub(super) type Pairs = BTreeMap<String, String>;

fn joined(pairs: &Pairs) -> String {
    pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

/// Tencent Cloud, COS, "Request Signature" (document 436/7778), steps 3 to 8.
fn cos(secret: &str, time: &str, method: &str, path: &str, query: &Pairs, headers: &Pairs) -> String {
    let request = format!("{}\n{path}\n{}\n{}\n", method.to_lowercase(), joined(query), joined(headers));
    let key = hex(&hmac(HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes(), time));
    hex(&hmac(HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes(), &format!("sha1\n{time}\n{}\n", sha1(&request))))
}

/// Alibaba Cloud, OSS, "Include a V4 signature in the Authorization header": what is signed, and with which key.
fn oss(secret: &str, time: &str, region: &str, canonical: &str) -> String {
    let scope = format!("{}/{region}/oss/aliyun_v4_request", &time[..8]);
    let key = hmac(HMAC_SHA256, format!("aliyun_v4{secret}").as_bytes(), &time[..8]);
    let key = ["oss", "aliyun_v4_request"]
        .iter()
        .fold(hmac(HMAC_SHA256, &key, region), |key, text| hmac(HMAC_SHA256, &key, text));
    hex(&hmac(HMAC_SHA256, &key, &format!("OSS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical))))
}

fn header(parts: &Parts, name: &str) -> String {
    let own = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    let value = parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    value.unwrap_or_else(|| if name == "host" { own } else { panic!("{name} is signed and not sent") })
}

fn query(parts: &Parts) -> Pairs {
    parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

fn chosen(list: &str, all: impl Fn(&str) -> String) -> Pairs {
    list.split(';').filter(|name| !name.is_empty()).map(|name| (name.to_owned(), all(name))).collect()
}

/// Whether COS would take it, by its header or its link.
pub(super) fn cos_takes(parts: &Parts, secret: &str) -> bool {
    let sent = query(parts);
    let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let fields: Pairs = match &authorization {
        Some(text) => {
            text.split('&').filter_map(|pair| pair.split_once('=')).map(|(a, b)| (a.into(), b.into())).collect()
        }
        None => sent.clone(),
    };
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let lower: Pairs = sent.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    let params = chosen(&field("q-url-param-list"), |name| lower.get(&decode(name)).cloned().unwrap_or_default());
    let headers = chosen(&field("q-header-list"), |name| header(parts, name));
    let expected =
        cos(secret, &field("q-key-time"), parts.method.as_str(), &decode(parts.uri.path()), &params, &headers);
    expected == field("q-signature")
}

/// Whether OSS would take it, by its header or its link. `host`: the one that a client would send.
pub(super) fn oss_takes(parts: &Parts, secret: &str, bucket: &str, region: &str) -> bool {
    let mut sent = query(parts);
    let is_link = !parts.headers.contains_key("authorization");
    let (time, additional, signature) = if is_link {
        let signature = sent.remove("x-oss-signature").unwrap_or_default();
        (sent["x-oss-date"].clone(), sent["x-oss-additional-headers"].clone(), signature)
    } else {
        let text = header(parts, "authorization");
        let fields: Pairs = text
            .strip_prefix("OSS4-HMAC-SHA256 ")
            .unwrap()
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
        (header(parts, "x-oss-date"), field("AdditionalHeaders"), field("Signature"))
    };
    let mut headers = chosen(&additional, |name| header(parts, name));
    for name in parts.headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-oss-") || matches!(name, "content-type" | "content-md5") {
            headers.insert(name.to_owned(), header(parts, name));
        }
    }
    let headers = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim()));
    let headers = headers.collect::<Vec<_>>().concat();
    let word = |(name, value): (&String, &String)| match &**value {
        "" => encode(name),
        value => format!("{}={}", encode(name), encode(value)),
    };
    let query = sent.iter().map(word).collect::<Vec<_>>().join("&");
    let path: Vec<String> = decode(parts.uri.path()).split('/').map(encode).collect();
    let canonical = format!(
        "{}\n/{bucket}{}\n{query}\n{headers}\n{additional}\nUNSIGNED-PAYLOAD",
        parts.method,
        path.join("/")
    );
    oss(secret, &time, region, &canonical) == signature
}

fn pairs(all: &[(&str, &str)]) -> Pairs {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Both examples of Tencent Cloud's document 436/7778.
#[test]
fn the_signature_of_cos_is_that_of_its_document() {
    let secret = "BQYIM75p8x0iWVFSIgqEKwFprpRSVHlz";
    let host = ("host", "examplebucket-1250000000.cos.ap-beijing.myqcloud.com");
    let path = "/exampleobject(腾讯云)";
    let headers = pairs(&[
        ("content-length", "13"),
        ("content-md5", "mQ/fVh815F3k6TAUm8m0eg=="),
        ("content-type", "text/plain"),
        ("date", "Thu, 16 May 2019 06:45:51 GMT"),
        host,
        ("x-cos-acl", "private"),
        ("x-cos-grant-read", "uin=\"100000000011\""),
    ]);
    let put = cos(secret, "1557989151;1557996351", "PUT", path, &Pairs::new(), &headers);
    assert_eq!(put, "3b8851a11a569213c17ba8fa7dcf2abec6935172");
    let params =
        pairs(&[("response-cache-control", "max-age=600"), ("response-content-type", "application/octet-stream")]);
    let headers = pairs(&[("date", "Thu, 16 May 2019 06:55:53 GMT"), host]);
    let get = cos(secret, "1557989753;1557996953", "GET", path, &params, &headers);
    assert_eq!(get, "01681b8c9d798a678e43b685a9f1bba0f6c0e012");
}

/// The example that Alibaba Cloud's SDKs share, as `TestV4AuthHeader` of alibabacloud-oss-go-sdk-v2; its documents hide
/// the keys of theirs.
#[test]
fn the_signature_of_oss_is_that_of_its_tools() {
    let canonical = "PUT\n/bucket/1234%2B-/123/1.txt\n\
        %2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n\
        content-type:text/plain\nx-oss-content-sha256:UNSIGNED-PAYLOAD\nx-oss-date:20231216T162057Z\n\
        x-oss-head1:value\n\n\nUNSIGNED-PAYLOAD";
    let signature = oss("sk", "20231216T162057Z", "cn-hangzhou", canonical);
    assert_eq!(signature, "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe");
}
