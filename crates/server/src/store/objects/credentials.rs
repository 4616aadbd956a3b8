//! Keys to a bucket: what the environment has, as each cloud's own tools read it, or what a platform hands out with
//! every request.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::HeaderMap;
use registry_proxy_core::Config;
use registry_proxy_core::config::StoreAddress;
use registry_proxy_core::platform::Profile;

/// A key, its secret, and the token of one that is lent.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The newest login that a platform handed out; as long as there is none, the environment counts.
#[derive(Default)]
pub(crate) struct Credentials(Mutex<(u64, Option<Login>)>);

impl Credentials {
    /// Takes what comes with a request to a function of Tencent's, for this process. Only where the bucket
    /// [is opened with that](Self::are_lent).
    pub(crate) fn take(headers: &HeaderMap) {
        if let Some(login) = of_tencent_request(headers) {
            Self::of_this_process().renew(login);
        }
    }

    /// Whether the bucket is opened with what a function of Tencent's is lent. Otherwise nothing is lost by not reading
    /// its headers, which the platform does not set for a function without a role, so that anybody could.
    pub(crate) fn are_lent(config: &Config, variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_cos = matches!(&config.cache.store, StoreAddress::Objects(url) if url.scheme() == "cos");
        config.platform == Profile::TencentScf && is_cos && of_tencent(variable).is_none()
    }

    /// Those of this process, for its store.
    pub(super) fn of_this_process() -> Arc<Self> {
        static OURS: LazyLock<Arc<Credentials>> = LazyLock::new(Arc::default);
        Arc::clone(&OURS)
    }

    /// From now on it is this one. Cheap where it is the same.
    pub(super) fn renew(&self, login: Login) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.1.as_ref() != Some(&login) {
            *state = (state.0 + 1, Some(login));
        }
    }

    /// Which one it is, if it is not this; the number grows.
    pub(super) fn newer_than(&self, number: u64) -> Option<(u64, Option<Login>)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.0 != number).then(|| state.clone())
    }
}

/// A function of Tencent's is lent a role with every request, for longer than its environment says. Only a whole one
/// counts: what lacks a token, or comes twice, was not written by the platform.
fn of_tencent_request(headers: &HeaderMap) -> Option<Login> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok().filter(|value| !value.is_empty())?;
        values.next().is_none().then(|| value.to_owned())
    };
    let [id, secret, token] = ["x-scf-secret-id", "x-scf-secret-key", "x-scf-session-token"].map(one);
    Some(Login { id: id?, secret: secret?, token: Some(token?) })
}

/// The key that somebody set, by the names which Tencent's own tools read.
pub(super) fn of_tencent(variable: impl Fn(&str) -> Option<String>) -> Option<Login> {
    let security_token = || given(&variable, "TENCENTCLOUD_SECURITY_TOKEN");
    Some(Login {
        id: given(&variable, "TENCENTCLOUD_SECRET_ID")?,
        secret: given(&variable, "TENCENTCLOUD_SECRET_KEY")?,
        token: given(&variable, "TENCENTCLOUD_TOKEN").or_else(security_token),
    })
}

/// What a function of Tencent's finds in its environment: `TENCENTCLOUD_SECRETID` and so on, which are not the names
/// that tools outside of functions read.
pub(super) fn of_tencent_function(variable: impl Fn(&str) -> Option<String>) -> Option<Login> {
    Some(Login {
        id: given(&variable, "TENCENTCLOUD_SECRETID")?,
        secret: given(&variable, "TENCENTCLOUD_SECRETKEY")?,
        token: given(&variable, "TENCENTCLOUD_SESSIONTOKEN"),
    })
}

fn given(variable: &impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    variable(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn nobody_who_asks_replaces_a_key_that_was_set() {
        let are_lent = |platform, store: &str, set: &[(&str, &str)]| {
            let mut config = Config { platform, ..Config::default() };
            config.cache.store = store.parse().unwrap();
            Credentials::are_lent(&config, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let cos = "cos://bucket-1/x?region=ap-hongkong";
        let key = [("TENCENTCLOUD_SECRET_ID", "i"), ("TENCENTCLOUD_SECRET_KEY", "k")];
        assert!(are_lent(Profile::TencentScf, cos, &[]));
        assert!(are_lent(Profile::TencentScf, cos, &key[..1]), "half a key is none");
        assert!(!are_lent(Profile::TencentScf, cos, &key));
        assert!(!are_lent(Profile::TencentScf, "s3://bucket", &[]), "another cloud's");
        assert!(!are_lent(Profile::TencentScf, "none", &[]));
        assert!(!are_lent(Profile::Server, cos, &[]));
    }

    #[test]
    fn a_login_that_comes_with_a_request_counts_whole_and_once() {
        let names = ["x-scf-secret-id", "x-scf-secret-key", "x-scf-session-token"];
        let mut headers = HeaderMap::new();
        for name in names {
            assert_eq!(of_tencent_request(&headers), None, "before {name}");
            headers.insert(name, HeaderValue::from_static(name));
        }
        let [id, secret, token] = names.map(str::to_owned);
        assert_eq!(of_tencent_request(&headers), Some(Login { id, secret, token: Some(token) }));
        for name in names {
            let mut twice = headers.clone();
            twice.append(name, HeaderValue::from_static("another"));
            assert_eq!(of_tencent_request(&twice), None, "{name} twice");
            let mut blank = headers.clone();
            blank.insert(name, HeaderValue::from_static(""));
            assert_eq!(of_tencent_request(&blank), None, "{name} is blank");
        }
    }
}
