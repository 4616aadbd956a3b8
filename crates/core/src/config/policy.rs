//! `[[policy]]`: whose signature the images of a repository need.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;

/// `[[policy]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct PolicyRule {
    /// Pattern of repositories, such as `ghcr.io/acme/**`: upstream and repository; `*` within a segment, `**` across segments.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[!-~]+$")))]
    pub pattern: String,
    /// Who must have signed.
    pub require: RequiredSigner,
    /// `warn`: an image without that signature is served, and the log says so. `enforce`: it is refused.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// `require` of `[[policy]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
pub struct RequiredSigner {
    /// File with the signer's public key in PEM, as `cosign generate-key-pair` writes it to `cosign.pub`: ECDSA P-256, Ed25519, or
    /// RSA of 2048 to 8192 bits. Read again at SIGHUP.
    pub key_file: String,
}

/// What becomes of an image without the signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum PolicyMode {
    /// It is served, and the log says so.
    #[default]
    Warn,
    /// It is refused.
    Enforce,
}

impl PolicyMode {
    /// As the configuration has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

/// Refuses rules that could not apply to anything.
pub(super) fn check(rules: &[PolicyRule]) -> Result<(), ConfigError> {
    for (i, rule) in rules.iter().enumerate() {
        let refuse = |key: &str, what: &str| Err(ConfigError::new(format!("policy[{i}].{key}"), what));
        // A port is part of the upstream's name, before the first slash.
        let has_tag = rule.pattern.split_once('/').is_some_and(|(_, repository)| repository.contains([':', '@']));
        if rule.pattern.is_empty() {
            return refuse("match", "expected a pattern such as ghcr.io/acme/**");
        }
        if has_tag {
            return refuse("match", "expected repositories, such as ghcr.io/acme/**, without tag or digest");
        }
        if rule.require.key_file.is_empty() {
            return refuse("require.key_file", "expected the path of a public key, such as cosign.pub");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_names_repositories_and_a_key() {
        let rule = |pattern: &str, key_file: &str| PolicyRule {
            pattern: pattern.to_owned(),
            require: RequiredSigner { key_file: key_file.to_owned() },
            mode: PolicyMode::default(),
        };
        for (pattern, key_file, expected) in [
            ("ghcr.io/acme/**", "cosign.pub", None),
            ("**", "cosign.pub", None),
            ("registry.test:5000/acme/app", "cosign.pub", None),
            ("", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/app:v1", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/app@sha256:00", "cosign.pub", Some("policy[0].match")),
            ("ghcr.io/acme/**", "", Some("policy[0].require.key_file")),
        ] {
            let place = check(&[rule(pattern, key_file)]).err().map(|error| error.place);
            assert_eq!(place.as_deref(), expected, "{pattern} {key_file}");
        }
        assert_eq!(rule("**", "k").mode, PolicyMode::Warn);
    }
}
