//! In place of `client_logins`, in a build without the feature `logins`.

use std::process::ExitCode;

use crate::terminal::{WRONG_USAGE, complain};

const UNAVAILABLE: &str = "this build has no logins: use a packaged one, or build with --features logins";

pub(crate) fn credential_provider() -> ExitCode {
    unavailable()
}

fn unavailable() -> ExitCode {
    complain(UNAVAILABLE);
    ExitCode::from(WRONG_USAGE)
}
