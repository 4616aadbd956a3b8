//! Where a page of the project stands on the site, and what its links become there.

use std::path::Path;

use crate::pages::links::{is_ours, resolve};
use crate::pages::twin;

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// What browsers show.
const PICTURES: [&str; 4] = ["svg", "webp", "png", "jpg"];

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Book {
    English,
    Chinese,
}

impl Book {
    pub(super) const BOTH: [Self; 2] = [Self::English, Self::Chinese];

    pub(super) fn other(self) -> Self {
        match self {
            Self::English => Self::Chinese,
            Self::Chinese => Self::English,
        }
    }

    /// As its readers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "中文",
        }
    }

    /// As HTML calls it.
    pub(super) fn language(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh",
        }
    }

    /// Where the book is on the site.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::English => "",
            Self::Chinese => "zh/",
        }
    }
}

/// What the target of a link becomes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// It leads to another site, or to a heading of the same page.
    Unchanged,
    /// It leads there.
    Moved(String),
    /// It leads to a copy of this file in the book.
    Picture { target: String, file: String },
}

/// The book of a page, and its path there: a README is the `index.md` of its folder, and a Chinese page has the path of its
/// English one.
pub(super) fn of(page: &str) -> (Book, String) {
    let (book, path) = match (page.strip_prefix("docs/zh/"), page.strip_suffix("README.zh-CN.md")) {
        (Some(rest), _) => (Book::Chinese, format!("docs/{rest}")),
        (None, Some(folder)) => (Book::Chinese, format!("{folder}README.md")),
        (None, None) => (Book::English, page.to_owned()),
    };
    match path.strip_suffix("README.md") {
        Some(folder) => (book, format!("{folder}index.md")),
        None => (book, path),
    }
}

/// How a page's link to the same page in the other language is written on the site, if there is one.
pub(super) fn link_to_twin(page: &str, is_page: impl Fn(&str) -> bool) -> Option<String> {
    let (book, place) = of(page);
    let twin = match book {
        Book::English => twin::chinese_of(page)?,
        Book::Chinese => twin::english_of(page)?,
    };
    is_page(&twin).then(|| across(book, &place, &twin))
}

/// How a page of a book links to one of the other: to the finished page, which no other book knows by its source.
fn across(book: Book, place: &str, page: &str) -> String {
    let (other_book, other) = of(page);
    let html = other.strip_suffix(".md").map_or_else(|| other.clone(), |stem| format!("{stem}.html"));
    relative(&format!("{}{place}", book.folder()), &format!("{}{html}", other_book.folder()))
}

/// What a link of `page` becomes. Both functions are asked for paths within the project.
pub(super) fn target(
    page: &str,
    target: &str,
    is_page: impl Fn(&str) -> bool,
    exists: impl Fn(&str) -> bool,
) -> Target {
    let (file, anchor) = target.split_once('#').map_or((target, ""), |(file, anchor)| (file, anchor));
    if !is_ours(target) || file.is_empty() {
        return Target::Unchanged;
    }
    let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    let (book, place) = of(page);
    let file = resolve(page, file);
    // A folder with a README is a page.
    let readme = format!("{file}/README.md");
    let file = if is_page(&readme) { readme } else { file };
    if is_page(&file) {
        let (other_book, other) = of(&file);
        if other_book == book {
            return Target::Moved(relative(&place, &other) + &anchor);
        }
        return Target::Moved(across(book, &place, &file) + &anchor);
    }
    let extension = Path::new(&file).extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if PICTURES.contains(&extension) && exists(&file) {
        return Target::Picture { target: relative(&place, &file), file };
    }
    Target::Moved(format!("{REPOSITORY}/blob/main/{file}{anchor}"))
}

/// How a path is written on the page at another path.
fn relative(from: &str, to: &str) -> String {
    let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
    let same =
        from.iter().zip(&to).take(from.len().min(to.len()) - 1).take_while(|(one, other)| one == other).count();
    let up = from.len() - 1 - same;
    std::iter::repeat_n("..", up).chain(to[same..].iter().copied()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: [&str; 8] = [
        "README.md",
        "README.zh-CN.md",
        "docs/README.md",
        "docs/how-to/docker.md",
        "docs/zh/how-to/docker.md",
        "docs/reference/platforms.md",
        "deploy/aws/README.md",
        "deploy/aws/README.zh-CN.md",
    ];

    fn moved(page: &str, link: &str) -> String {
        let exists = |path: &str| ["docs/images/a.svg", "deploy/aws/template.yaml"].contains(&path);
        match target(page, link, |path| PAGES.contains(&path), exists) {
            Target::Unchanged => "unchanged".to_owned(),
            Target::Moved(target) => target,
            Target::Picture { target, file } => format!("{target} copied from {file}"),
        }
    }

    #[test]
    fn a_page_and_its_twin_have_the_same_path_in_their_books() {
        for (page, path) in [
            ("README.md", "index.md"),
            ("README.zh-CN.md", "index.md"),
            ("docs/how-to/docker.md", "docs/how-to/docker.md"),
            ("docs/zh/how-to/docker.md", "docs/how-to/docker.md"),
            ("docs/zh/README.md", "docs/index.md"),
            ("deploy/aws/README.zh-CN.md", "deploy/aws/index.md"),
        ] {
            assert_eq!(of(page).1, path, "{page}");
            assert_eq!(of(page).0 == Book::Chinese, page.contains("zh"), "{page}");
        }
    }

    #[test]
    fn a_link_within_a_book_leads_to_the_page_and_the_heading() {
        assert_eq!(moved("README.md", "docs/how-to/docker.md#hub"), "docs/how-to/docker.md#hub");
        assert_eq!(moved("docs/how-to/docker.md", "../../README.md"), "../../index.md");
        assert_eq!(moved("docs/how-to/docker.md", "../../deploy/aws/README.md"), "../../deploy/aws/index.md");
        assert_eq!(
            moved("docs/zh/how-to/docker.md", "../../../deploy/aws/README.zh-CN.md"),
            "../../deploy/aws/index.md"
        );
        assert_eq!(moved("docs/README.md", "../deploy/aws"), "../deploy/aws/index.md");
    }

    #[test]
    fn a_link_to_the_other_book_leads_to_the_finished_page() {
        assert_eq!(moved("README.md", "README.zh-CN.md"), "zh/index.html");
        assert_eq!(moved("README.zh-CN.md", "README.md"), "../index.html");
        assert_eq!(
            moved("docs/zh/how-to/docker.md", "../../how-to/docker.md"),
            "../../../docs/how-to/docker.html"
        );
        assert_eq!(
            moved("deploy/aws/README.zh-CN.md", "../../docs/reference/platforms.md#a"),
            "../../../docs/reference/platforms.html#a"
        );
    }

    #[test]
    fn a_page_knows_where_its_twin_is() {
        let link = |page: &str| link_to_twin(page, |path| PAGES.contains(&path));
        assert_eq!(link("docs/how-to/docker.md").as_deref(), Some("../../zh/docs/how-to/docker.html"));
        assert_eq!(link("docs/zh/how-to/docker.md").as_deref(), Some("../../../docs/how-to/docker.html"));
        assert_eq!(link("README.md").as_deref(), Some("zh/index.html"));
        assert_eq!(link("docs/reference/platforms.md"), None);
        assert_eq!(link("docs/README.md"), None, "its twin is not there");
    }

    #[test]
    fn pictures_are_copied_and_other_files_are_in_the_repository() {
        assert_eq!(
            moved("README.zh-CN.md", "docs/images/a.svg"),
            "docs/images/a.svg copied from docs/images/a.svg"
        );
        let expected = "https://github.com/registry-proxy/registry-proxy/blob/main/deploy/aws/template.yaml";
        assert_eq!(moved("deploy/aws/README.md", "template.yaml"), expected);
        assert_eq!(moved("README.md", "https://x.example/a.md"), "unchanged");
        assert_eq!(moved("README.md", "#try-it"), "unchanged");
    }
}
