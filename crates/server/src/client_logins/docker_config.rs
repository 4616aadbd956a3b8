//! The line of Docker's `config.json` that makes clients ask our helper: `"credHelpers": { "proxy.example.com": "registry-proxy" }`.

use std::fs::{self, DirBuilder, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::server_key::ServerKey;
use crate::client_config::{replace_file, with_field_in_object};

const KEY: &str = "credHelpers";
/// The helper's name without `docker-credential-`.
const HELPER: &str = "registry-proxy";
/// A larger file is none of Docker's.
const MOST_BYTES: u64 = 1 << 20;
const BEFORE: &str = ".before-registry-proxy";

/// What became of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Configured {
    Unchanged(PathBuf),
    Created(PathBuf),
    /// The file, and where it lies as it was before.
    Changed(PathBuf, PathBuf),
}

/// The line, as people add it.
pub(super) fn line(server: &ServerKey) -> String {
    format!("\"{KEY}\": {{ \"{server}\": \"{HELPER}\" }}")
}

/// The user's file, as Docker finds it.
pub(super) fn place() -> Result<PathBuf, String> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")));
    Ok(directory.ok_or("HOME is not set, so there is no place for Docker's config.json")?.join("config.json"))
}

/// Adds the line and leaves the rest as it is.
pub(super) fn configure(path: &Path, server: &ServerKey) -> Result<Configured, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    // A link stays one.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = read(path).map_err(|what| wrong(&what))?;
    let text = before.as_ref().map(|(text, _)| text.as_str()).unwrap_or_default();
    let changed = with_field_in_object(text, KEY, server.as_str(), HELPER).map_err(|what| wrong(&what))?;
    let Some((text, metadata)) = &before else {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| wrong(&error))?;
        }
        replace_file(path, &changed, None, 0o600).map_err(|error| wrong(&error))?;
        return Ok(Configured::Created(path.clone()));
    };
    if changed == *text {
        return Ok(Configured::Unchanged(path.clone()));
    }
    let mut kept = path.as_os_str().to_owned();
    kept.push(BEFORE);
    let (kept, mode) = (PathBuf::from(kept), metadata.mode() & 0o7777);
    replace_file(&kept, text, Some(metadata), mode).map_err(|error| wrong(&error))?;
    replace_file(path, &changed, Some(metadata), mode).map_err(|error| wrong(&error))?;
    Ok(Configured::Changed(path.clone(), kept))
}

/// `None`: there is no file.
fn read(path: &Path) -> Result<Option<(String, Metadata)>, String> {
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MOST_BYTES {
        return Err("has more than 1 MiB".to_owned());
    }
    Ok(Some((text, metadata)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_line_is_added_and_the_file_kept_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let (path, server) = (home.path().join(".docker/config.json"), ServerKey::parse("p.test").unwrap());
        assert_eq!(configure(&path, &server).unwrap(), Configured::Created(path.clone()));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\n  \"credHelpers\": { \"p.test\": \"registry-proxy\" }\n}\n"
        );
        assert_eq!(configure(&path, &server).unwrap(), Configured::Unchanged(path.clone()));
        let text = "{\n\t\"auths\": {},\n\t\"psFormat\": \"x\"\n}";
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let kept = home.path().join(".docker/config.json.before-registry-proxy");
        assert_eq!(configure(&path, &server).unwrap(), Configured::Changed(path.clone(), kept.clone()));
        assert_eq!(fs::read_to_string(&kept).unwrap(), text);
        let expected = "{\n\t\"auths\": {},\n\t\"psFormat\": \"x\",\n\t\"credHelpers\": { \"p.test\": \"registry-proxy\" }\n}";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(line(&server), "\"credHelpers\": { \"p.test\": \"registry-proxy\" }");
    }

    #[test]
    fn a_file_that_cannot_be_changed_safely_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let (path, server) = (home.path().join("config.json"), ServerKey::parse("p.test").unwrap());
        fs::write(&path, "{ \"credHelpers\": 7 }").unwrap();
        configure(&path, &server).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ \"credHelpers\": 7 }");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
