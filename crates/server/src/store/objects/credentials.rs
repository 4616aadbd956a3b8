//! Keys to a bucket: what the environment has, as each cloud's own tools read it, or what a platform hands out with
//! every request.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// A key, its secret, and the token of one that is lent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: Option<String>,
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
    /// Those of this process, for its store: `X-Scf-Secret-Id`, `-Key` and `-Session-Token` of a request to a
    /// function of Tencent's go here. Only where the platform sets these headers itself, as anybody can send them
    /// elsewhere.
    pub(crate) fn of_this_process() -> Arc<Self> {
        static OURS: LazyLock<Arc<Credentials>> = LazyLock::new(Arc::default);
        Arc::clone(&OURS)
    }

    /// From now on it is this one. Cheap where it is the same.
    pub(crate) fn renew(&self, login: Login) {
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
