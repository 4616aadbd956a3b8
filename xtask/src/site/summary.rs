//! The table of contents, in the order in which the overview (`docs/README.md`) names the pages.

use std::fmt::Write as _;

use super::Chapters;
use super::place::Book;
use crate::pages::links::resolve;
use crate::pages::markdown::targets;

const OVERVIEW: &str = "docs/index.md";

/// The parts: which pages, and their title in both languages.
const PARTS: [(&str, [&str; 2]); 5] = [
    ("docs/how-to/", ["How to", "操作指南"]),
    ("deploy/", ["Where it runs", "部署"]),
    ("docs/explanation/", ["Explanation", "原理"]),
    ("docs/reference/", ["Reference", "参考"]),
    ("", ["The project", "项目"]),
];

pub(super) fn of(book: Book, chapters: &Chapters) -> String {
    let overview = chapters.get(OVERVIEW).map(String::as_str).unwrap_or_default();
    let named: Vec<String> = targets(overview)
        .iter()
        .map(|target| resolve(OVERVIEW, target.split('#').next().unwrap_or_default()))
        .collect();
    let rank = |path: &&String| named.iter().position(|other| other == *path).unwrap_or(named.len());
    let mut text = String::from("# Summary\n\n");
    let mut left: Vec<&String> = chapters.keys().collect();
    left.sort_by_key(|path| (rank(path), (*path).clone()));
    for first in ["index.md", OVERVIEW] {
        left.retain(|path| *path != first);
        if let Some(chapter) = chapters.get(first) {
            let _ = writeln!(text, "[{}]({first})", title(chapter));
        }
    }
    for (folder, titles) in PARTS {
        let (part, rest): (Vec<&String>, Vec<&String>) =
            left.into_iter().partition(|path| path.starts_with(folder));
        left = rest;
        if !part.is_empty() {
            let _ = writeln!(text, "\n# {}\n", titles[usize::from(book == Book::Chinese)]);
        }
        for path in part {
            let _ = writeln!(text, "- [{}]({path})", title(&chapters[path]));
        }
    }
    text
}

/// The first heading.
fn title(chapter: &str) -> &str {
    chapter.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("?").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_in_the_order_of_the_overview_and_the_others_behind_them() {
        let chapters = [
            ("index.md", "# registry-proxy\n"),
            ("docs/index.md", "<!-- x -->\n\n# Documentation\n[b](how-to/b.md#x) [a](how-to/a.md)\n"),
            ("docs/how-to/a.md", "# A\n"),
            ("docs/how-to/b.md", "# B\n"),
            ("docs/how-to/aa.md", "# Not named\n"),
            ("deploy/aws/index.md", "# AWS\n"),
            ("SECURITY.md", "# Security\n"),
        ];
        let chapters = chapters.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        assert_eq!(
            of(Book::English, &chapters),
            "# Summary\n\n[registry-proxy](index.md)\n[Documentation](docs/index.md)\n\n# How to\n\n- [B](docs/how-to/b.md)\n\
             - [A](docs/how-to/a.md)\n- [Not named](docs/how-to/aa.md)\n\n# Where it runs\n\n- [AWS](deploy/aws/index.md)\n\n\
             # The project\n\n- [Security](SECURITY.md)\n"
        );
        assert!(of(Book::Chinese, &chapters).contains("\n# 部署\n"));
    }
}
