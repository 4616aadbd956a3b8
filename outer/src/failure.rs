//! Why a fixture or a test could not go on: one sentence, with what it was doing in front.
//!
//! It deliberately is no `std::error::Error`, so that `?` accepts every error there is.

use std::fmt;

/// What fixtures and tests return.
pub type Outcome<T = ()> = Result<T, Failure>;

/// A message for the person who reads the test's output.
pub struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// For programs that are no tests, and have errors.
impl From<Failure> for Box<dyn std::error::Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        failure.0.into()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self(message)
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    fn context(self, doing: impl fmt::Display) -> Outcome<T>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{doing}: {}", error.into().0)))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, doing: impl fmt::Display) -> Outcome<T> {
        self.ok_or_else(|| Failure(doing.to_string()))
    }
}

/// Fails with `message` unless `holds`.
pub fn ensure(holds: bool, message: impl fmt::Display) -> Outcome {
    if holds { Ok(()) } else { Err(Failure(message.to_string())) }
}

/// Fails unless both are equal, and prints both.
pub fn equal<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    ensure(found == expected, format_args!("{what}:\n   found {found:#?}\nexpected {expected:#?}"))
}
