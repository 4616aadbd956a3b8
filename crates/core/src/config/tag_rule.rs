//! `[[cache.tags]]`: rules for some tags, when their upstream is asked and how long new digests are held.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::ConfigError;
#[cfg(feature = "schema")]
use super::order;
use super::units::Span;

/// `[[cache.tags]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(extend("x-order" = order::of::<Self>())))]
#[cfg_attr(feature = "schema", schemars(extend("anyOf" = [{ "required": ["revalidate"] }, { "required": ["hold"] }])))]
pub struct TagRule {
    /// Pattern such as `docker.io/library/*:latest`: upstream, repository and tag; `*` within a segment, `**` across segments.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = "^[!-~]+$")))]
    pub pattern: String,
    /// When the upstream is asked whether the tag still points there: a time such as `5m`, `always` or `never`.
    ///
    /// Default: `cache.tag_ttl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revalidate: Option<Revalidate>,
    /// How long a manifest must have stood under the tag before clients get it: a tag that moved goes on pointing to the
    /// manifest it had. The time counts from when this proxy first saw the tag there. `0s`: not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// What happens with a tag that this proxy has never seen: `serve`, or `refuse` until it has stood for `hold`.
    #[serde(default)]
    pub hold_new: HoldNew,
    /// For tags that move more often than `hold`: after so long at one manifest, the tag goes on to the newest manifest
    /// that was seen at least `hold` ago.
    #[serde(default = "usual_max")]
    pub hold_max: Span,
    /// `true`: a manifest that only a held tag names is refused by its digest, too. `false`: whoever knows its digest gets
    /// it at once.
    #[serde(default = "yes")]
    pub hold_digests: bool,
}

fn usual_max() -> Span {
    Span::seconds(30 * 86_400)
}

fn yes() -> bool {
    true
}

impl TagRule {
    /// A rule that says when tags are asked about, and nothing else.
    pub fn new(pattern: &str, revalidate: Revalidate) -> Self {
        Self {
            pattern: pattern.to_owned(),
            revalidate: Some(revalidate),
            hold: None,
            hold_new: HoldNew::Serve,
            hold_max: usual_max(),
            hold_digests: true,
        }
    }

    /// How new digests of its tags are held; `None`: they are not.
    pub fn hold_rule(&self) -> Option<HoldRule> {
        let span = self.hold.filter(|span| !span.0.is_zero())?;
        Some(HoldRule { span, max: self.hold_max, new: self.hold_new, digests: self.hold_digests })
    }
}

/// What happens with a held tag that was never seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub enum HoldNew {
    /// It is served at once.
    #[default]
    Serve,
    /// It is refused until it has stood for as long as any other.
    Refuse,
}

/// How new digests of a tag are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldRule {
    /// How long a digest must have stood.
    pub span: Span,
    /// How long a tag that moves all the time stays at one digest.
    pub max: Span,
    /// What happens with a tag that was never seen.
    pub new: HoldNew,
    /// Whether a digest that only a held tag names is held as well.
    pub digests: bool,
}

/// When an upstream is asked whether a tag still points where it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revalidate {
    /// When it was asked longer ago than this.
    After(Span),
    /// Each time.
    Always,
    /// Never: the tag is as good as a digest.
    Never,
}

impl fmt::Display for Revalidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(span) => span.fmt(f),
            Self::Always => f.write_str("always"),
            Self::Never => f.write_str("never"),
        }
    }
}

impl Serialize for Revalidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Revalidate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            other => Span::parse(other).map(Self::After).ok_or_else(|| {
                de::Error::custom(format!("{other:?}: expected \"always\", \"never\" or a time such as \"5m\""))
            }),
        }
    }
}

/// Times of tags are known to the second.
const LEAST_HOLD: Duration = Duration::from_secs(1);

/// Refuses rules that mean nothing or cannot be kept.
pub(super) fn check(rules: &[TagRule], has_store: bool) -> Result<(), ConfigError> {
    for (i, rule) in rules.iter().enumerate() {
        let refuse = |key: &str, what: String| Err(ConfigError::new(format!("cache.tags[{i}]{key}"), what));
        if rule.pattern.is_empty() {
            return refuse(".match", "expected a pattern such as docker.io/library/*:latest".to_owned());
        }
        if rule.revalidate.is_none() && rule.hold.is_none() {
            return refuse("", "expected revalidate, hold or both".to_owned());
        }
        let Some(hold) = rule.hold_rule() else { continue };
        if !has_store {
            let what = "a hold needs a cache, which remembers where tags pointed; cache.store is none";
            return refuse(".hold", what.to_owned());
        }
        if hold.span.0 < LEAST_HOLD {
            return refuse(".hold", "expected at least 1s, or 0s for tags that are not held".to_owned());
        }
        if hold.max.0 < hold.span.0 {
            return refuse(".hold_max", format!("expected at least as long as hold, {}", hold.span));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(hold: Option<u64>, max: u64) -> TagRule {
        let hold = hold.map(Span::seconds);
        TagRule { revalidate: None, hold, hold_max: Span::seconds(max), ..TagRule::new("**", Revalidate::Never) }
    }

    #[test]
    fn a_rule_that_cannot_be_kept_is_refused_with_its_key() {
        let exempt = rule(Some(0), 0);
        let short = TagRule { hold: Some(Span(Duration::from_millis(500))), ..rule(None, 60) };
        for (rule, has_store, expected) in [
            (TagRule::new("**", Revalidate::Never), false, None),
            (TagRule::new("", Revalidate::Never), true, Some("cache.tags[0].match")),
            (rule(None, 60), true, Some("cache.tags[0]")),
            (rule(Some(60), 60), true, None),
            (rule(Some(61), 60), true, Some("cache.tags[0].hold_max")),
            (rule(Some(60), 60), false, Some("cache.tags[0].hold")),
            (short, true, Some("cache.tags[0].hold")),
            (exempt.clone(), false, None),
        ] {
            let refused = check(std::slice::from_ref(&rule), has_store).err();
            assert_eq!(refused.map(|error| error.place).as_deref(), expected, "{rule:?}");
        }
        assert_eq!(exempt.hold_rule(), None);
    }
}
