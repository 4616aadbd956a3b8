//! What the core's own source may not say.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::workspace;

/// Words that a line may not have together, and the reason.
const BANNED: [(&[&str], &str); 10] = [
    (&["std::time", "Instant"], "time comes through the platform"),
    (&["std::time", "SystemTime"], "time comes through the platform"),
    (&["Instant::now"], "time comes through the platform"),
    (&["SystemTime::now"], "time comes through the platform"),
    (&["std::env"], "variables are handed in"),
    (&["std::fs"], "files are read by the platform"),
    (&["std::thread"], "a wasm host has no threads"),
    (&["std::net", "Tcp"], "sockets belong to the platform"),
    (&["std::net", "Udp"], "sockets belong to the platform"),
    (&["target_arch"], "the core is the same everywhere; differences belong to the platform"),
];

pub(super) fn faults() -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for path in sources(&workspace().join("crates/core/src"))? {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.strip_prefix(workspace()).unwrap_or(&path).display().to_string();
        for (number, statement) in statements(&text) {
            let found = BANNED.iter().find(|(words, _)| words.iter().all(|word| statement.contains(word)));
            faults
                .extend(found.map(|(words, reason)| format!("{name}:{number}: {}: {reason}", words.join(" … "))));
        }
    }
    Ok(faults)
}

/// Statements with the number of their first line: a `use` may be broken over many. Comments are
/// left out, for they may say what the code must not.
fn statements(text: &str) -> Vec<(usize, String)> {
    let mut statements = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        let (start, mut statement) = open.take().unwrap_or((number, String::new()));
        statement.push_str(line);
        let is_use = ["use ", "pub use ", "pub(crate) use "].iter().any(|word| statement.starts_with(word));
        if is_use && !statement.ends_with(';') {
            open = Some((start, statement));
        } else {
            statements.push((start, statement));
        }
    }
    statements.extend(open);
    statements
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::statements;

    #[test]
    fn a_broken_use_is_one_statement_and_comments_are_none() {
        let text = "// std::env\nuse std::time::{\n    Duration,\n    Instant,\n};\nfn main() {}";
        let found = statements(text);
        assert_eq!(found[0], (2, "use std::time::{Duration,Instant,};".to_owned()));
        assert_eq!(found.len(), 2);
    }
}
