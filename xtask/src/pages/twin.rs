//! Each English page that a user follows has a Chinese twin, and the twin's first line says which text of the English page
//! it follows, by its SHA-256: a commit could not name itself.
//!
//! Whether the Chinese is good, no check can say. But its commands and configurations are those of the English page,
//! comments apart.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::Pages;
use super::markdown::blocks;

const FOLLOWS: (&str, &str) = ("<!-- 对应英文版 sha256:", " -->");
const ALONE: &str = "<!-- 只有中文版 -->";

/// The English page of a Chinese one.
pub(crate) fn english_of(path: &str) -> Option<String> {
    match path.strip_prefix("docs/zh/") {
        Some(rest) => Some(format!("docs/{rest}")),
        None => path.strip_suffix("README.zh-CN.md").map(|folder| format!("{folder}README.md")),
    }
}

/// The Chinese page that an English one has to have; a reference has none.
pub(crate) fn chinese_of(path: &str) -> Option<String> {
    let is_read_by_users = ["docs/how-to/", "docs/explanation/"].iter().any(|folder| path.starts_with(folder));
    match path.strip_suffix("README.md") {
        Some("docs/") => Some("docs/zh/README.md".to_owned()),
        Some(folder) if folder.is_empty() || folder.starts_with("deploy/") => {
            Some(format!("{folder}README.zh-CN.md"))
        }
        _ if is_read_by_users => path.strip_prefix("docs/").map(|rest| format!("docs/zh/{rest}")),
        _ => None,
    }
}

pub(super) fn faults(pages: &Pages) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in pages {
        if let Some(chinese) = chinese_of(path).filter(|chinese| !pages.contains_key(chinese)) {
            faults.push(format!("{path} has no Chinese twin: {chinese}"));
        }
        if let Some(english) = english_of(path) {
            faults.extend(of_twin(path, text, &english, pages.get(&english)));
        }
    }
    faults
}

/// The twin's text with a first line that says that it follows `english`.
pub(super) fn marked(twin: &str, english: &str) -> String {
    let (first, rest) = twin.split_once('\n').unwrap_or((twin, ""));
    let (mark, is_marked) = (mark(english), first.starts_with(FOLLOWS.0) || first == ALONE);
    if is_marked { format!("{mark}\n{rest}") } else { format!("{mark}\n\n{twin}") }
}

fn of_twin(path: &str, text: &str, english: &str, english_text: Option<&String>) -> Vec<String> {
    let first = text.lines().next().unwrap_or_default();
    let Some(english_text) = english_text else {
        let expected = format!("{path}: there is no {english}, so its first line has to be {ALONE}");
        return if first == ALONE { Vec::new() } else { vec![expected] };
    };
    let mut faults = Vec::new();
    if first != mark(english_text) {
        faults.push(format!(
            "{path} does not follow {english} as it is now. See what has changed (git log -p -- {english}), bring the \
             Chinese up to date, then: cargo xtask docs --twin {path}"
        ));
    }
    let (ours, theirs) = (code(text), code(english_text));
    if ours.len() != theirs.len() {
        faults.push(format!("{path} has {} blocks of code, {english} has {}", ours.len(), theirs.len()));
    }
    for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs) {
        let pairs = ours.iter().zip(theirs).find(|(ours, theirs)| ours != theirs);
        let (our, their) = pairs.map_or(("its length", "its length"), |(our, their)| (our, their));
        faults.push(format!("{path}: a block of code differs from that of {english}: {our} / {their}"));
    }
    faults
}

fn mark(english: &str) -> String {
    let digest = Sha256::digest(english);
    let mut mark = FOLLOWS.0.to_owned();
    for byte in digest {
        // Writing to a String does not fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark + FOLLOWS.1
}

/// Commands and configurations: the language, then the lines without comments, which are translated. Pictures and output
/// have no language or `text`, and may be translated too.
fn code(text: &str) -> Vec<Vec<&str>> {
    blocks(text)
        .into_iter()
        .filter(|block| !["", "text"].contains(&block.language))
        .map(|block| {
            let lines = block.lines.into_iter().map(without_comment).filter(|line| !line.is_empty());
            [block.language].into_iter().chain(lines).collect()
        })
        .collect()
}

fn without_comment(line: &str) -> &str {
    let comment = if line.starts_with('#') { Some(0) } else { line.find(" #") };
    line[..comment.unwrap_or(line.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "# Docker\n```sh\ndocker pull a   # once\n```\n";
    const CHINESE: &str = "# Docker\n```sh\ndocker pull a   # 一次\n```\n";

    fn check(pages: &[(&str, &str)]) -> Vec<String> {
        faults(&pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn a_twin_that_follows_its_page_has_translated_comments_only() {
        let twin = marked(CHINESE, ENGLISH);
        assert_eq!(check(&[("docs/how-to/docker.md", ENGLISH), ("docs/zh/how-to/docker.md", &twin)]), [""; 0]);
    }

    #[test]
    fn the_first_line_is_the_digest_of_the_english_page() {
        // printf 'a\n' | sha256sum
        let expected =
            "<!-- 对应英文版 sha256:87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7 -->";
        assert_eq!(marked("# 甲\n", "a\n"), format!("{expected}\n\n# 甲\n"));
        assert_eq!(marked(&marked("# 甲\n", "before\n"), "a\n"), format!("{expected}\n\n# 甲\n"));
    }

    #[test]
    fn a_page_that_has_changed_since_names_the_command_for_its_twin() {
        let twin = marked(CHINESE, ENGLISH);
        let changed = ENGLISH.replace("# Docker", "# Docker and Podman");
        assert_eq!(
            check(&[("deploy/aws/README.md", &changed), ("deploy/aws/README.zh-CN.md", &twin)]),
            [
                "deploy/aws/README.zh-CN.md does not follow deploy/aws/README.md as it is now. See what has changed (git log -p \
              -- deploy/aws/README.md), bring the Chinese up to date, then: cargo xtask docs --twin \
              deploy/aws/README.zh-CN.md"
            ]
        );
    }

    #[test]
    fn a_page_for_users_without_a_twin_is_named_and_a_reference_is_not() {
        let pages = [
            "README.md",
            "docs/README.md",
            "docs/explanation/a.md",
            "docs/reference/b.md",
            "deploy/aws/README.md",
        ];
        assert_eq!(
            check(&pages.map(|path| (path, ""))),
            [
                "README.md has no Chinese twin: README.zh-CN.md",
                "deploy/aws/README.md has no Chinese twin: deploy/aws/README.zh-CN.md",
                "docs/README.md has no Chinese twin: docs/zh/README.md",
                "docs/explanation/a.md has no Chinese twin: docs/zh/explanation/a.md",
            ]
        );
    }

    #[test]
    fn a_chinese_page_of_its_own_says_that_it_is_one() {
        let page = "docs/zh/how-to/in-china.md";
        assert_eq!(check(&[(page, "<!-- 只有中文版 -->\n\n# 国内\n")]), [""; 0]);
        assert_eq!(
            check(&[(page, "# 国内\n")]),
            [
                "docs/zh/how-to/in-china.md: there is no docs/how-to/in-china.md, so its first line has to be <!-- 只有中文版 -->"
            ]
        );
    }

    #[test]
    fn a_command_that_differs_or_is_missing_is_shown() {
        let wrong = marked(&CHINESE.replace("pull a", "pull b"), ENGLISH);
        let less = marked("# Docker\n", ENGLISH);
        let of = |twin: &str| check(&[("docs/how-to/docker.md", ENGLISH), ("docs/zh/how-to/docker.md", twin)]);
        assert_eq!(
            of(&wrong),
            [
                "docs/zh/how-to/docker.md: a block of code differs from that of docs/how-to/docker.md: docker pull b / docker \
              pull a"
            ]
        );
        assert_eq!(of(&less), ["docs/zh/how-to/docker.md has 0 blocks of code, docs/how-to/docker.md has 1"]);
    }
}
