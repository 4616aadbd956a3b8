//! What was found: good or bad, of what, and what to do next.

use std::fmt::Write as _;

use serde::Serialize;

use crate::terminal::Palette;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// It works, and may stop to.
    Warning,
    /// Something does not work.
    Error,
}

/// One line of the report. Whatever is not as it should be has a next step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// What was looked at: `upstream ghcr.io`.
    pub(crate) subject: String,
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl Finding {
    pub(crate) fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject: subject.into(), what: what.into(), next: None }
    }

    pub(crate) fn warning(subject: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        let (subject, what, next) = (subject.into(), what.into(), Some(next.into()));
        Self { severity: Severity::Warning, subject, what, next }
    }

    pub(crate) fn error(subject: impl Into<String>, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::warning(subject, what, next) }
    }
}

/// The report for people. Text of others, which some findings quote, is made printable.
pub(crate) fn for_people(findings: &[Finding], palette: Palette) -> String {
    let width = findings.iter().map(|finding| finding.subject.len()).max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let (word, colour) = match finding.severity {
            Severity::Ok => ("ok", palette.good),
            Severity::Warning => ("warning", palette.warning),
            Severity::Error => ("ERROR", palette.error),
        };
        let (subject, what) = (printable(&finding.subject), printable(&finding.what));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{colour}{word:<8}{} {subject:<width$}  {what}", palette.off);
        if let Some(next) = &finding.next {
            let _ = writeln!(text, "{:<8} {:<width$}  next: {}", "", "", printable(next));
        }
    }
    text
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
