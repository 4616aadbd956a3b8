//! The platform of an image, as indexes call it. Pure.

use std::fmt;

/// Every platform of an image.
pub(crate) const ALL_PLATFORMS: &str = "all";

/// `linux/arm64`, or with its variant `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImagePlatform {
    text: String,
}

impl fmt::Display for ImagePlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ImagePlatform {
    /// Reads `os/architecture` or `os/architecture/variant`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word.len() <= 32
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        let count = text.split('/').count();
        if (2..=3).contains(&count) && text.split('/').all(is_word) {
            return Ok(Self { text: text.to_ascii_lowercase() });
        }
        let shown: String = text.chars().filter(|c| !c.is_control()).take(40).collect();
        Err(format!("{shown:?} is no platform; expected one such as linux/amd64 or linux/arm/v7"))
    }

    /// Whether a manifest is for this platform. Without a variant every variant is.
    pub(crate) fn takes(&self, platform: &str) -> bool {
        let rest = platform.get(..self.text.len()).filter(|begin| begin.eq_ignore_ascii_case(&self.text));
        rest.is_some() && matches!(platform.as_bytes().get(self.text.len()), None | Some(b'/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/am d64", "linux/arm\u{fe0f}"] {
            assert!(ImagePlatform::parse(text).is_err(), "{text}");
        }
    }
}
