//! Credentials for a bucket: from the environment, as each cloud's own tools read it, or sent by the platform with every
//! request.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::HeaderMap;
use registry_proxy_core::Config;
use registry_proxy_core::config::StoreAddress;
use registry_proxy_core::platform::Profile;

/// An access key, its secret, and a session token if it is temporary.
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

/// The latest credentials that the platform sent; until it sends some, the environment applies.
#[derive(Default)]
pub(crate) struct Credentials(Mutex<(u64, Option<Login>)>);

impl Credentials {
    /// Stores the credentials that came with a request to a Tencent function. Only call it where
    /// [the bucket uses them](Self::are_lent).
    pub(crate) fn take(headers: &HeaderMap) {
        if let Some(login) = of_tencent_request(headers) {
            Self::of_this_process().renew(login);
        }
    }

    /// Whether the bucket uses the temporary credentials of a Tencent function. Otherwise the headers are ignored: for a
    /// function without a role the platform does not set them, so any client could.
    pub(crate) fn are_lent(config: &Config, variable: impl Fn(&str) -> Option<String>) -> bool {
        let is_cos = matches!(&config.cache.store, StoreAddress::Objects(url) if url.scheme() == "cos");
        config.platform == Profile::TencentScf && is_cos && of_tencent(variable).is_none()
    }

    /// The credentials of this process, for its store.
    pub(super) fn of_this_process() -> Arc<Self> {
        static OURS: LazyLock<Arc<Credentials>> = LazyLock::new(Arc::default);
        Arc::clone(&OURS)
    }

    /// Replaces the credentials. Cheap if they are the same.
    pub(super) fn renew(&self, login: Login) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.1.as_ref() != Some(&login) {
            *state = (state.0 + 1, Some(login));
        }
    }

    /// The current credentials, if they are not number `number`. Numbers grow.
    pub(super) fn newer_than(&self, number: u64) -> Option<(u64, Option<Login>)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (state.0 != number).then(|| state.clone())
    }
}

/// Reads the role credentials that Tencent sends with every request; they are newer than those in the environment.
/// Incomplete or repeated headers were not written by the platform, and are ignored.
fn of_tencent_request(headers: &HeaderMap) -> Option<Login> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok().filter(|value| !value.is_empty())?;
        values.next().is_none().then(|| value.to_owned())
    };
    let [id, secret, token] = ["x-scf-secret-id", "x-scf-secret-key", "x-scf-session-token"].map(one);
    Some(Login { id: id?, secret: secret?, token: Some(token?) })
}

/// The configured key, by the variables that Tencent's tools read.
pub(super) fn of_tencent(variable: impl Fn(&str) -> Option<String>) -> Option<Login> {
    let security_token = || given(&variable, "TENCENTCLOUD_SECURITY_TOKEN");
    Some(Login {
        id: given(&variable, "TENCENTCLOUD_SECRET_ID")?,
        secret: given(&variable, "TENCENTCLOUD_SECRET_KEY")?,
        token: given(&variable, "TENCENTCLOUD_TOKEN").or_else(security_token),
    })
}

/// The key in a Tencent function's environment: `TENCENTCLOUD_SECRETID` and so on, names that tools outside of functions do not
/// read.
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
