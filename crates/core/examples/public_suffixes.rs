//! `cargo run -p registry-proxy-core --example public_suffixes -- FILE > crates/core/src/upstream/public_suffixes.txt`
//! makes the table of `upstream/public_suffix.rs` from `public_suffix_list.dat`, as <https://publicsuffix.org/list/> and the
//! package `publicsuffixlist` of `PyPI` have it: its rules without the comments, in ASCII as hosts are in URLs, and sorted.

use std::io::{Error, Write as _};

use url::Host;

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).ok_or_else(|| Error::other("which file?"))?;
    let list = std::fs::read_to_string(path)?;
    let mut lines = Vec::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("//") {
            // Which list it was: the table keeps these two lines.
            if comment.contains("VERSION:") || comment.contains("COMMIT:") {
                lines.push(line.to_owned());
            }
            continue;
        }
        // A rule ends at the first space (<https://github.com/publicsuffix/list/wiki/Format>).
        let rule = line.split_whitespace().next().unwrap_or_default();
        let (mark, name) = match rule.split_at_checked(2) {
            Some(("*.", name)) => ("*.", name),
            _ => rule.strip_prefix('!').map_or(("", rule), |name| ("!", name)),
        };
        let Host::Domain(name) = Host::parse(name).map_err(|error| Error::other(format!("{rule}: {error}")))?
        else {
            return Err(Error::other(format!("{rule} is no name")));
        };
        lines.push(format!("{mark}{name}"));
    }
    lines.sort_unstable();
    lines.dedup();
    lines.push(String::new());
    std::io::stdout().write_all(lines.join("\n").as_bytes())
}
