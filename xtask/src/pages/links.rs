//! Links between pages: the file is there, and so is the heading.

use std::path::{Component, Path};

use super::Pages;
use super::markdown::{anchors, targets};

pub(super) fn faults(pages: &Pages, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (page, text) in pages {
        for target in targets(text).iter().filter(|target| is_ours(target)) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.clone() } else { resolve(page, file) };
            if !exists(&path) {
                faults.push(format!("{page}: the link {target} leads to {path}, which does not exist"));
            } else if let Some(there) = pages.get(&path).filter(|_| !anchor.is_empty())
                && !anchors(there).contains(anchor)
            {
                faults.push(format!("{page}: the link {target} names a heading that {path} does not have"));
            }
        }
    }
    faults
}

/// Whether it leads to a file here, and not to another site.
pub(crate) fn is_ours(target: &str) -> bool {
    !target.split(['/', '#']).next().is_some_and(|start| start.ends_with(':'))
}

/// The path of a file that a page names.
pub(crate) fn resolve(page: &str, file: &str) -> String {
    let mut path = Vec::new();
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    for component in folder.join(file).components() {
        match component {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name.to_string_lossy().into_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        let pages = [("docs/how-to/a.md", text), ("docs/zh/b.md", "# 检查\n")];
        let pages = pages.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
        faults(&pages, |path| ["docs/how-to/a.md", "docs/zh/b.md", "docs/images/c.svg"].contains(&path))
    }

    #[test]
    fn a_link_that_leads_to_a_file_or_to_another_site_is_no_fault() {
        assert!(
            check("[b](../zh/b.md#检查) ![c](../images/c.svg) [x](https://x.example/#y) [a](#top)\n# Top\n")
                .is_empty()
        );
    }

    #[test]
    fn a_link_to_a_file_or_a_heading_that_is_not_there_is_named() {
        assert_eq!(
            check("[b](b.md) [c](../zh/b.md#check)"),
            [
                "docs/how-to/a.md: the link b.md leads to docs/how-to/b.md, which does not exist",
                "docs/how-to/a.md: the link ../zh/b.md#check names a heading that docs/zh/b.md does not have",
            ]
        );
    }
}
