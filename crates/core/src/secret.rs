//! Values that must not be printed: `Display`, `Debug` and `Serialize` mask them, so that no log line can leak them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

const MASK: &str = "***";

/// A password, token or key. Read it with [`Secret::expose`], where it is used and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error of what is no text repeats it: a number is a secret whose quotes were forgotten.
        let text =
            Box::<str>::deserialize(deserializer).map_err(|_| de::Error::custom("expected text in quotes"))?;
        Ok(Self(text))
    }
}

/// A user name and password for one registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Basic {
    /// The user name: printable.
    pub username: String,
    /// The password: not.
    pub password: Secret,
}

/// Shows a URL in logs: user information and query (where signatures live) are masked.
pub struct SafeUrl<'a>(pub &'a Url);

impl fmt::Display for SafeUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.0.scheme())?;
        if !self.0.username().is_empty() || self.0.password().is_some() {
            write!(f, "{MASK}@")?;
        }
        f.write_str(self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())?;
        if self.0.query().is_some() {
            write!(f, "?{MASK}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_in_no_format() {
        let basic = Basic { username: "alice".into(), password: Secret::new("hunter2") };
        let shown = format!("{basic:?} {:?} {}", basic.password, basic.password);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(serde_json::to_string(&basic.password).unwrap(), "\"***\"");
    }

    #[test]
    fn a_url_shows_neither_password_nor_signature() {
        let url = Url::parse("https://u:p4ss@host.example:8443/a/b?X-Amz-Signature=abc").unwrap();
        assert_eq!(SafeUrl(&url).to_string(), "https://***@host.example:8443/a/b?***");
    }
}
