//! `cargo xtask docs --site`: the pages as a site, in both languages, with search, made by mdBook.
//!
//! No page is written for the site: it has the README, the pages of `docs/` and of `deploy/` as they are, each language as a
//! book with the same addresses, the Chinese one below `zh/`. What changes is links: to another page they lead within the
//! site, and to any other file of the project to the repository.

mod html;
mod place;
mod summary;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::place::{Book, Target};
use crate::machine::{self, crates};
use crate::pages::{self, Pages, markdown};
use crate::run::{target_folder, workspace};

/// Text by path within a book.
type Chapters = BTreeMap<String, String>;

const SETTINGS: &str = "docs/site/book.toml";
/// The search of the Chinese book.
const SEARCH: &str = "docs/site/search.js";

pub(crate) fn run(out: &Path, install: bool) -> Result<(), String> {
    machine::prepare_site(install)?;
    let pages = pages::all()?;
    let out = workspace().join(out);
    remove(&out)?;
    for book in Book::BOTH {
        let work = target_folder().join("site").join(book.language());
        remove(&work)?;
        write(book, &pages, &work)?;
        // mdBook empties the folder that it writes to: the English book, which holds the other one, comes first.
        build(book, &work, &out.join(book.folder()))?;
    }
    let faults = html::faults(&read(&out)?);
    if !faults.is_empty() {
        return Err(format!("the site has links that lead nowhere:\n{}", faults.join("\n")));
    }
    eprintln!("wrote {}: open {}", out.display(), out.join("index.html").display());
    Ok(())
}

/// Writes what mdBook reads.
fn write(book: Book, pages: &Pages, work: &Path) -> Result<(), String> {
    let exists = |path: &str| workspace().join(path).exists();
    let mut chapters = Chapters::new();
    let mut pictures = Vec::new();
    for (page, text) in pages {
        let (its_book, path) = place::of(page);
        if its_book != book {
            continue;
        }
        let text = markdown::with_targets(text, |target| {
            match place::target(page, target, |path| pages.contains_key(path), exists) {
                Target::Unchanged => target.to_owned(),
                Target::Moved(target) => target,
                Target::Picture { target, file } => {
                    pictures.push(file);
                    target
                }
            }
        });
        let twin = place::link_to_twin(page, |path| pages.contains_key(path));
        let is_named = |link: &String| markdown::targets(&text).contains(link);
        let text = match twin.filter(|link| !is_named(link)) {
            Some(link) => below_title(&text, &format!("[{}]({link})", book.other().name())),
            None => text,
        };
        chapters.insert(path, text);
    }
    let summary = summary::of(book, &chapters);
    let source = work.join("src");
    save(&source.join("SUMMARY.md"), summary.as_bytes())?;
    for (path, text) in &chapters {
        save(&source.join(path), text.as_bytes())?;
    }
    for picture in pictures {
        save(&source.join(&picture), &load(&workspace().join(&picture))?)?;
    }
    save(&work.join("book.toml"), &load(&workspace().join(SETTINGS))?)?;
    save(&work.join("search.js"), &load(&workspace().join(SEARCH))?)
}

/// With a paragraph below the first heading.
fn below_title(text: &str, paragraph: &str) -> String {
    let heading = text.lines().find(|line| line.starts_with("# ")).unwrap_or_default();
    text.replacen(heading, &format!("{heading}\n\n{paragraph}"), 1)
}

/// Runs mdBook, and fails if it warns.
fn build(book: Book, work: &Path, out: &Path) -> Result<(), String> {
    let (work, out) = (work.display().to_string(), out.display().to_string());
    let mut command = crates::MDBOOK.command(&["build", "--dest-dir", &out, &work]);
    command = command.variable("MDBOOK_BOOK__TITLE", "registry-proxy");
    command = command.variable("MDBOOK_BOOK__LANGUAGE", book.language());
    if book == Book::Chinese {
        command = command.variable("MDBOOK_OUTPUT__HTML__ADDITIONAL_JS", "[\"search.js\"]");
    }
    let said = command.everything()?;
    let warnings: Vec<&str> =
        said.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    if warnings.is_empty() { Ok(()) } else { Err(format!("mdBook warns:\n{}", warnings.join("\n"))) }
}

/// The pages and every other file of the finished site; only pages have a text.
fn read(folder: &Path) -> Result<html::Files, String> {
    let mut files = html::Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        let failed = |error: std::io::Error| format!("{}: {error}", inner.display());
        for entry in fs::read_dir(&inner).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let is_page = path.extension().is_some_and(|extension| extension == "html");
            let text = if is_page { String::from_utf8_lossy(&load(&path)?).into_owned() } else { String::new() };
            files.insert(name, text);
        }
    }
    Ok(files)
}

fn remove(folder: &Path) -> Result<(), String> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

fn load(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, bytes).map_err(failed)
}
