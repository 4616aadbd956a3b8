//! The little of Markdown that the checks need: fenced code, links and headings.

use std::collections::BTreeSet;

/// A fenced block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// What follows the opening fence, such as `sh`.
    pub(super) language: &'a str,
    pub(super) lines: Vec<&'a str>,
}

pub(super) fn blocks(text: &str) -> Vec<Block<'_>> {
    let (mut blocks, mut is_open) = (Vec::<Block>::new(), false);
    for line in text.lines().map(str::trim) {
        match (line.strip_prefix("```"), blocks.last_mut()) {
            (Some(_), _) if is_open => is_open = false,
            (Some(language), _) => {
                is_open = true;
                blocks.push(Block { language, lines: Vec::new() });
            }
            (None, Some(block)) if is_open => block.lines.push(line),
            (None, _) => {}
        }
    }
    blocks
}

/// The targets of links and pictures outside of code.
pub(crate) fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        // Code between backticks is every other piece.
        let line: String = line.split('`').step_by(2).collect();
        for rest in line.split("](").skip(1) {
            targets.extend(rest.split([')', ' ']).next().map(str::to_owned));
        }
    }
    targets
}

/// The text with other targets, outside of code.
pub(crate) fn with_targets(text: &str, mut moved: impl FnMut(&str) -> String) -> String {
    let mut is_open = false;
    let mut written = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        is_open ^= is_fence;
        if is_open || is_fence {
            written.push_str(line);
            continue;
        }
        for (number, piece) in line.split('`').enumerate() {
            if number > 0 {
                written.push('`');
            }
            let (is_code, mut links) = (number % 2 == 1, piece.split("]("));
            written.push_str(links.next().unwrap_or_default());
            for link in links {
                let end = link.find([')', ' ']).unwrap_or(link.len());
                written.push_str("](");
                written.push_str(&if is_code { link[..end].to_owned() } else { moved(&link[..end]) });
                written.push_str(&link[end..]);
            }
        }
    }
    written
}

/// The names under which headings can be linked, as GitHub makes them.
pub(super) fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let name = anchor(line.trim_start_matches('#'));
        let mut candidates = (1..).map(|number| format!("{name}-{number}"));
        let taken = anchors.contains(&name);
        anchors.extend(if taken { candidates.find(|other| !anchors.contains(other)) } else { Some(name) });
    }
    anchors
}

fn anchor(heading: &str) -> String {
    let letters = heading.trim().chars().flat_map(char::to_lowercase);
    let kept = letters.filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// The lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_open = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_open ^= is_fence;
        !is_open && !is_fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_their_language_and_below_a_list_too() {
        let text = "```sh\nls\n```\n1. then\n\n   ```toml\n   a = 1\n   ```\n";
        let expected =
            [Block { language: "sh", lines: vec!["ls"] }, Block { language: "toml", lines: vec!["a = 1"] }];
        assert_eq!(blocks(text), expected);
    }

    #[test]
    fn links_in_code_are_none() {
        let text = "see [`x`](a.md#b) and ![p](p.svg)\n`[no](code.md)`\n```\n[no](fence.md)\n```\n";
        assert_eq!(targets(text), ["a.md#b", "p.svg"]);
    }

    #[test]
    fn other_targets_change_nothing_else() {
        let text = "see [`x`](a.md#b) and\n![p](p.svg), `[no](code.md)`\n```\n[no](fence.md)\n```\nend";
        let expected = "see [`x`](<a.md#b>) and\n![p](<p.svg>), `[no](code.md)`\n```\n[no](fence.md)\n```\nend";
        assert_eq!(with_targets(text, |target| format!("<{target}>")), expected);
    }

    #[test]
    fn headings_in_both_languages_have_the_anchors_that_github_gives_them() {
        let text =
            "# Where `it` runs: now?\n## `users`：自己的密码文件\n```sh\n# a comment\n```\n## Check\n## Check\n";
        let expected = ["where-it-runs-now", "users自己的密码文件", "check", "check-1"];
        assert_eq!(anchors(text), expected.map(str::to_owned).into());
    }
}
