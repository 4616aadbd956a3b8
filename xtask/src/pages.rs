//! The pages of the documentation: whether each Chinese one follows its English one, and whether links between them lead
//! somewhere. Decisions are made on texts; only this file reads and writes.

pub(crate) mod links;
pub(crate) mod markdown;
pub(crate) mod twin;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::workspace;

/// Text by path; paths are those from the workspace's folder, with `/`.
pub(crate) type Pages = BTreeMap<String, String>;

/// What else is looked at besides the pages of the workspace's folder itself.
const FOLDERS: [&str; 2] = ["docs", "deploy"];

pub(crate) fn all() -> Result<Pages, String> {
    let mut pages = Pages::new();
    read(&workspace(), "", &mut pages)?;
    Ok(pages)
}

pub(crate) fn faults() -> Result<Vec<String>, String> {
    let pages = all()?;
    let exists = |path: &str| workspace().join(path).exists();
    Ok([twin::faults(&pages), links::faults(&pages, exists)].concat())
}

/// Writes into the first line of `twin` which text of its English page it follows.
pub(crate) fn mark(twin: &Path) -> Result<(), String> {
    let text = text(twin)?;
    let root = fs::canonicalize(workspace()).map_err(|error| format!("{}: {error}", workspace().display()))?;
    let path = fs::canonicalize(twin).map_err(|error| format!("{}: {error}", twin.display()))?;
    let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
    let english = twin::english_of(&path).ok_or_else(|| format!("{path} is no Chinese page"))?;
    let marked = twin::marked(&text, &self::text(&workspace().join(&english))?);
    fs::write(twin, marked).map_err(|error| format!("cannot write {path}: {error}"))?;
    eprintln!("{path} follows {english} as it is now");
    Ok(())
}

fn read(root: &Path, below: &str, pages: &mut Pages) -> Result<(), String> {
    let folder = root.join(below);
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(&folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type().map_err(failed)?.is_dir() {
            if !below.is_empty() || FOLDERS.contains(&path.as_str()) {
                read(root, &path, pages)?;
            }
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "md") {
            pages.insert(path, text(&entry.path())?);
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
