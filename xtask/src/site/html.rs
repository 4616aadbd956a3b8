//! Links of the finished site: the file is there, and so is the heading.

use std::collections::{BTreeMap, BTreeSet};

use crate::pages::links::{is_ours, resolve};

/// Every file by its path on the site. Pages have their text, other files none.
pub(super) type Files = BTreeMap<String, String>;

pub(super) fn faults(files: &Files) -> Vec<String> {
    let mut faults = BTreeSet::new();
    for (page, text) in files {
        for target in values(text, "href").chain(values(text, "src")) {
            let target = decoded(target);
            if target.is_empty() || !is_ours(&target) || target.starts_with("//") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = file.split('?').next().unwrap_or_default();
            let path = if file.is_empty() { page.clone() } else { resolve(page, file) };
            match files.get(&path) {
                None => drop(faults.insert(format!("{page}: {target}"))),
                Some(there) if !anchor.is_empty() && !values(there, "id").any(|id| decoded(id) == anchor) => {
                    faults.insert(format!("{page}: {target} names a heading that is not there"));
                }
                Some(_) => {}
            }
        }
    }
    faults.into_iter().collect()
}

/// The values of an attribute. mdBook writes them between double quotes.
fn values<'text>(text: &'text str, attribute: &str) -> impl Iterator<Item = &'text str> {
    let begin = format!(" {attribute}=\"");
    let pieces: Vec<&str> =
        text.split(&*begin).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    pieces.into_iter()
}

/// Without escapes of HTML and of addresses.
fn decoded(value: &str) -> String {
    let value = value.replace("&amp;", "&").replace("&#39;", "'");
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped =
            behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<String> {
        let files = [("docs/a.html", text), ("index.html", "<h2 id=\"检查\">"), ("docs/b.svg", "")];
        faults(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into())
    }

    #[test]
    fn a_link_that_leads_somewhere_is_no_fault() {
        let text = "<a href=\"../index.html#%E6%A3%80%E6%9F%A5\"> <img src=\"b.svg?x\"> <a href=\"#top\" id=\"top\"> \
                    <a href=\"https://x.example/#y\"> <a href=\"//x.example\">";
        assert!(check(text).is_empty(), "{:?}", check(text));
    }

    #[test]
    fn a_link_to_a_page_or_a_heading_that_is_not_there_is_named() {
        assert_eq!(
            check("<a href=\"b.html\"> <a href=\"../index.html#check\">"),
            ["docs/a.html: ../index.html#check names a heading that is not there", "docs/a.html: b.html"]
        );
    }
}
