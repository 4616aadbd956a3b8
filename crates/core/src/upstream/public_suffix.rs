//! The public suffix of a host: the part below which strangers register names, as `co.uk`, `github.io` (<https://publicsuffix.org>).

/// The rules, one a line, sorted by their bytes: `uk`, `*.ck` (each name directly below `ck`), `!www.ck` (but not this one).
/// Made by `examples/public_suffixes.rs`; the lines with `//` say of which list. The crate `psl`, with which the tests compare
/// this, has the same rules as code: 650 KB of it.
const RULES: &str = include_str!("public_suffixes.txt");

/// The suffix of a host that is written in lower case, without a dot at its end: none where no rule names one.
pub(super) fn suffix(host: &str) -> Option<&str> {
    let mut rest = host;
    loop {
        let parent = rest.split_once('.').map(|(_, parent)| parent);
        // The longest rule counts, and an exception more than the rule from which it is one.
        if is_rule("!", rest) {
            return parent;
        }
        if is_rule("", rest) || parent.is_some_and(|parent| is_rule("*.", parent)) {
            return Some(rest);
        }
        rest = parent?;
    }
}

/// The name that somebody registered, a label longer than its suffix: none for a suffix itself.
pub(super) fn registrable_domain(host: &str) -> Option<&str> {
    let above = host.strip_suffix(suffix(host)?)?.strip_suffix('.')?;
    let label = above.rfind('.').map_or(0, |dot| dot + 1);
    host.get(label..).filter(|name| !name.starts_with('.'))
}

fn is_rule(mark: &str, name: &str) -> bool {
    let wanted = || mark.bytes().chain(name.bytes());
    let (mut from, mut to) = (0, RULES.len());
    while from < to {
        let middle = from.midpoint(to);
        let start = RULES[from..middle].rfind('\n').map_or(from, |end| from + end + 1);
        let end = RULES[middle..to].find('\n').map_or(to, |end| middle + end);
        match RULES[start..end].bytes().cmp(wanted()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => from = end + 1,
            std::cmp::Ordering::Greater => to = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_the_suffix_that_the_list_documents() {
        // From the description of the format, <https://github.com/publicsuffix/list/wiki/Format>, and the list itself.
        for (host, expected, registered) in [
            ("com", Some("com"), None),
            ("docker.io", Some("io"), Some("docker.io")),
            ("auth.docker.io", Some("io"), Some("docker.io")),
            ("a.b.example.co.uk", Some("co.uk"), Some("example.co.uk")),
            ("co.uk", Some("co.uk"), None),
            ("alice.github.io", Some("github.io"), Some("alice.github.io")),
            // `*.ck` and `!www.ck`; `ck` itself has no rule.
            ("any.ck", Some("any.ck"), None),
            ("shop.any.ck", Some("any.ck"), Some("shop.any.ck")),
            ("www.ck", Some("ck"), Some("www.ck")),
            ("a.www.ck", Some("ck"), Some("www.ck")),
            ("ck", None, None),
            // Private rules, of some clouds where registries stand.
            ("x.s3.amazonaws.com", Some("s3.amazonaws.com"), Some("x.s3.amazonaws.com")),
            // ASCII form of 公司.cn.
            ("a.xn--55qx5d.cn", Some("xn--55qx5d.cn"), Some("a.xn--55qx5d.cn")),
            ("registry", None, None),
            ("localhost", None, None),
            ("harbor.lan", None, None),
            ("", None, None),
            (".", None, None),
            ("..io", Some("io"), None),
            ("// version", None, None),
        ] {
            assert_eq!((suffix(host), registrable_domain(host)), (expected, registered), "{host}");
        }
    }

    #[test]
    fn the_rules_are_sorted_and_of_a_list() {
        assert!(RULES.lines().is_sorted());
        assert!(RULES.lines().any(|line| line.starts_with("// VERSION: 20")));
        assert!(RULES.lines().count() > 9_000);
        assert!(RULES.is_ascii() && RULES.ends_with('\n'));
    }

    /// `psl` may be a few weeks older or younger than the table. If this fails after an update of `psl`, make the table anew.
    #[test]
    fn nearly_every_rule_is_one_of_the_crate_psl() {
        let (mut compared, mut differ) = (0, Vec::new());
        for rule in RULES.lines().filter(|line| !line.starts_with("//")) {
            let name = rule.trim_start_matches(['!', '*', '.']);
            for host in [name.to_owned(), format!("a.{name}"), format!("b.a.{name}")] {
                compared += 1;
                let theirs = psl::suffix(host.as_bytes()).filter(psl::Suffix::is_known);
                if theirs.map(|suffix| suffix.as_bytes().to_vec())
                    != suffix(&host).map(|suffix| suffix.as_bytes().to_vec())
                {
                    differ.push(host);
                }
            }
        }
        assert!(compared > 27_000);
        assert!(differ.len() * 100 < compared, "{} of {compared}: {differ:?}", differ.len());
    }
}
