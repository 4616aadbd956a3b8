//! Keys to a bucket: what the environment has, as each cloud's own tools read it, or what a platform hands out with
//! every request.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use http::HeaderMap;

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
    /// Takes what comes with a request to a function of Tencent's, for this process. Only where the platform sets these
    /// headers itself, as anybody can send them elsewhere.
    pub(crate) fn take(headers: &HeaderMap) {
        if let Some(login) = of_tencent_request(headers) {
            Self::of_this_process().renew(login);
        }
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

/// What a function of Tencent's finds in its environment: `TENCENTCLOUD_SECRETID` and so on, which are not the names
/// that tools outside of functions read.
pub(super) fn of_tencent_function(variable: impl Fn(&str) -> Option<String>) -> Option<Login> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty());
    Some(Login {
        id: given("TENCENTCLOUD_SECRETID")?,
        secret: given("TENCENTCLOUD_SECRETKEY")?,
        token: given("TENCENTCLOUD_SESSIONTOKEN"),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

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
