//! In place of `client_logins`, in a build without the feature `logins`.

use std::process::ExitCode;

use crate::cli::{LoginArguments, LogoutArguments};
use crate::terminal::{WRONG_USAGE, complain};

const UNAVAILABLE: &str = "this build has no logins: use a packaged one, or build with --features logins";

pub(crate) fn credential_provider() -> ExitCode {
    unavailable()
}

pub(crate) fn login(_: &LoginArguments) -> ExitCode {
    unavailable()
}

pub(crate) fn logout(_: &LogoutArguments) -> ExitCode {
    unavailable()
}

/// Under the helper's name this build is the program that it is.
pub(crate) fn as_docker_helper() -> Option<ExitCode> {
    None
}

fn unavailable() -> ExitCode {
    complain(UNAVAILABLE);
    ExitCode::from(WRONG_USAGE)
}
