//! Opens the store that `cache.store` names.

mod disk;
mod files;
mod health;
mod objects;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use registry_proxy_core::cache::MemoryStore;
use registry_proxy_core::config::{CacheConfig, ConfigError, StoreAddress};
use registry_proxy_core::platform::Store;
use rustix::fs::Access;

use self::files::FileStore;
#[cfg(test)]
pub(crate) use self::files::Residency;
pub(crate) use self::files::{FileSlice, READ_BYTES, available};
pub(crate) use self::health::{StoreHealth, check, is_checked};
use self::objects::ObjectStore;
pub(crate) use self::objects::{Credentials, asked_at};
use crate::error_text::with_source;
use crate::runtime::SystemClock;

/// A store, and its directory, if it is in one.
pub(crate) struct OpenedStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) directory: Option<PathBuf>,
}

impl OpenedStore {
    fn elsewhere(store: impl Store + 'static) -> Self {
        Self { store: Arc::new(store), directory: None }
    }

    fn files(store: FileStore, directory: PathBuf) -> Self {
        Self { store: Arc::new(store), directory: Some(directory) }
    }
}

/// Opens the configured store; `None`: nothing is cached. To find a directory it writes to the candidates, so call it once.
pub(crate) fn open(cache: &CacheConfig) -> Result<Option<OpenedStore>, ConfigError> {
    let wrong = |what: String| ConfigError { place: "cache.store".to_owned(), what };
    match &cache.store {
        StoreAddress::None => Ok(None),
        StoreAddress::Memory => {
            let store = MemoryStore::new(cache.max_size().0, Arc::new(SystemClock));
            Ok(Some(OpenedStore::elsewhere(store)))
        }
        StoreAddress::File(path) => {
            let directory = PathBuf::from(&**path);
            let store = FileStore::open(&directory, cache.min_free().0)
                .map_err(|error| wrong(format!("{path} cannot be written: {error}")))?;
            Ok(Some(OpenedStore::files(store, directory)))
        }
        StoreAddress::Auto => open_automatic(cache, &own_places()),
        StoreAddress::Objects(url) => {
            let told = cache.scratch.as_deref().map(PathBuf::from);
            let drafts: Vec<PathBuf> =
                told.into_iter().chain(own_places()).map(|place| place.join("scratch")).collect();
            let (_, scratch) = first_writable(&drafts, cache.min_free().0).ok_or_else(|| {
                wrong("needs a directory for unfinished downloads; name one in CACHE_DIRECTORY".to_owned())
            })?;
            let store = ObjectStore::open(url, scratch).map_err(|error| wrong(with_source(&error)))?;
            Ok(Some(OpenedStore::elsewhere(store)))
        }
    }
}

/// The store of `auto`: in the first of these directories that can be written. Without one nothing is cached, which a rule
/// that holds tags does not allow.
fn open_automatic(cache: &CacheConfig, places: &[PathBuf]) -> Result<Option<OpenedStore>, ConfigError> {
    let Some((place, store)) = first_writable(places, cache.min_free().0) else {
        if let Some(refused) = hold_without_store(cache) {
            return Err(refused);
        }
        tracing::warn!("nothing is cached: no cache directory is writable; set cache.store");
        return Ok(None);
    };
    tracing::info!(directory = %place.display(), "content is cached in this directory");
    Ok(Some(OpenedStore::files(store, place)))
}

/// The error of a rule that holds tags, where no directory was found to remember them in.
fn hold_without_store(cache: &CacheConfig) -> Option<ConfigError> {
    let rule = cache.first_hold()?;
    let what = "a hold needs a cache, which remembers where tags pointed; cache.store is auto, and no cache directory is writable: set cache.store, or make a directory writable and name it in CACHE_DIRECTORY";
    Some(ConfigError { place: format!("cache.tags[{rule}].hold"), what: what.to_owned() })
}

/// The directory of the cache, if it is in one: the configured one, even if we cannot open it, or the one that was found.
pub(crate) fn directory<'path>(cache: &'path CacheConfig, found: Option<&'path Path>) -> Option<&'path Path> {
    match &cache.store {
        StoreAddress::File(path) => Some(Path::new(&**path)),
        StoreAddress::Auto => found,
        StoreAddress::None | StoreAddress::Memory | StoreAddress::Objects(_) => None,
    }
}

/// The directory that `auto` means for this user now, without creating it.
pub(crate) fn automatic_place() -> Option<PathBuf> {
    let may_write = |path: &Path| rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    own_places().into_iter().find(|place| {
        let there = place.ancestors().find(|path| path.exists());
        there.is_some_and(|path| path.is_dir() && may_write(path))
    })
}

/// The directory that [`open`] would make as root's, if we are root: the server, which may run as another user, could not
/// write there.
pub(crate) fn missing_for_root(cache: &CacheConfig) -> Option<PathBuf> {
    let place = match &cache.store {
        StoreAddress::File(path) => Some(PathBuf::from(&**path)),
        StoreAddress::Auto => {
            let places = own_places();
            let is_there = places.iter().any(|place| place.is_dir());
            places.into_iter().next().filter(|_| !is_there)
        }
        StoreAddress::None | StoreAddress::Memory | StoreAddress::Objects(_) => None,
    };
    let can_be_made = |place: &PathBuf| {
        let above = place.ancestors().skip(1).find(|path| path.exists());
        !place.exists() && above.is_some_and(Path::is_dir)
    };
    place.filter(|place| rustix::process::geteuid().is_root() && can_be_made(place))
}

/// What keeps the server from starting with `auto` on this machine, if anything. Creates nothing.
pub(crate) fn automatic_error(cache: &CacheConfig) -> Option<ConfigError> {
    let has_place = cache.store != StoreAddress::Auto || automatic_place().is_some();
    if has_place { None } else { hold_without_store(cache) }
}

/// Warns of a cache directory that other users may write to. For the log at startup, and for `check`; creates nothing.
pub(crate) fn warnings(cache: &CacheConfig) -> Option<String> {
    let places = match &cache.store {
        StoreAddress::File(path) => vec![PathBuf::from(&**path)],
        StoreAddress::Auto => own_places(),
        StoreAddress::None | StoreAddress::Memory | StoreAddress::Objects(_) => Vec::new(),
    };
    let place = places.into_iter().find(|place| place.is_dir())?;
    let open = [place.clone(), place.join("v1")].into_iter().find_map(|path| {
        let mode = std::fs::metadata(&path).ok()?.permissions().mode();
        may_be_written_by_anybody(mode).then_some((path, mode & 0o7777))
    });
    open.map(|(path, mode)| {
        format!(
            "{} has mode {mode:04o}: every user of this machine can write there, and so change which image a tag means and which content clients may read; run chmod o-w on it",
            path.display()
        )
    })
}

/// Whether other users may replace files in a directory. With the sticky bit they may only add files.
fn may_be_written_by_anybody(mode: u32) -> bool {
    mode & 0o1002 == 0o002
}

/// Where the cache is, for people.
pub(crate) fn place(cache: &CacheConfig, found: Option<&Path>) -> String {
    directory(cache, found).map_or_else(|| cache.store.to_string(), |place| place.display().to_string())
}

/// Candidates for this process's cache directory.
fn own_places() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    places(&variable, rustix::process::geteuid().is_root(), &|path| path.is_dir())
}

/// Candidates for a cache directory, best first.
fn places(
    variable: &dyn Fn(&str) -> Option<std::ffi::OsString>,
    is_root: bool,
    is_there: &dyn Fn(&Path) -> bool,
) -> Vec<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    // systemd separates several directories by colons.
    let service =
        variable("CACHE_DIRECTORY").and_then(|value| std::env::split_paths(&value).next()).and_then(absolute);
    let user = variable("XDG_CACHE_HOME").map(PathBuf::from).and_then(absolute);
    let home = variable("HOME").map(PathBuf::from).and_then(absolute).map(|home| home.join(".cache"));
    let system = PathBuf::from("/var/cache");
    // If root has ~/.cache, a person runs us; if not, we are a service.
    let is_service = is_root && !home.as_deref().is_some_and(is_there);
    let shared = if is_service { [Some(system), home] } else { [home, Some(system)] };
    let own = [user].into_iter().chain(shared).flatten().map(|path| path.join("registry-proxy"));
    service.into_iter().chain(own).collect()
}

/// The first of these directories that can be written.
fn first_writable(places: &[PathBuf], min_free: u64) -> Option<(PathBuf, FileStore)> {
    for place in places {
        match FileStore::open(place, min_free) {
            Ok(store) => return Some((place.clone(), store)),
            Err(error) => {
                tracing::debug!(directory = %place.display(), %error, "this directory cannot hold a cache");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::Config;
    use registry_proxy_core::config::Sources;

    use super::*;

    fn cache_at(address: &str) -> CacheConfig {
        CacheConfig { store: address.parse().unwrap(), ..CacheConfig::default() }
    }

    fn open_at(address: &str) -> Result<Option<Arc<dyn Store>>, ConfigError> {
        open(&cache_at(address)).map(|opened| opened.map(|opened| opened.store))
    }

    fn found(variables: &[(&str, &str)], is_root: bool, there: &[&str]) -> Vec<String> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into());
        let is_there = |path: &Path| there.iter().any(|place| Path::new(place) == path);
        places(&variable, is_root, &is_there).iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn a_place_is_looked_for_in_order() {
        let home = ("HOME", "/home/u");
        let all = [("CACHE_DIRECTORY", "/run/c:/run/d"), ("XDG_CACHE_HOME", "/x"), home];
        let [x, h, v] = ["/x/registry-proxy", "/home/u/.cache/registry-proxy", "/var/cache/registry-proxy"];
        assert_eq!(found(&all, false, &[]), ["/run/c", x, h, v]);
        assert_eq!(found(&[home], false, &[]), [h, v]);
        assert_eq!(found(&[], false, &[]), [v]);
        assert_eq!(found(&[home], true, &[]), [v, h]);
        assert_eq!(found(&[home], true, &["/home/u/.cache"]), [h, v]);
        assert_eq!(found(&[("HOME", "relative"), ("XDG_CACHE_HOME", "y")], false, &[]), [v]);
    }

    #[test]
    fn the_first_place_that_can_be_written_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let below_a_file = dir.path().join("file/cache");
        let good = dir.path().join("good");
        assert!(first_writable(std::slice::from_ref(&below_a_file), 0).is_none());
        assert!(first_writable(&[below_a_file, good.clone()], 0).is_some());
        assert!(good.is_dir());
    }

    #[test]
    fn a_hold_is_refused_where_no_directory_can_remember_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let below_a_file = [dir.path().join("file/cache")];
        let good = [dir.path().join("good")];
        let cache = |rules: &str| {
            let text = format!("[cache]\nstore = \"auto\"\n{rules}");
            let read = |_: &str| -> std::io::Result<String> { Err(std::io::ErrorKind::NotFound.into()) };
            Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &read }).unwrap().cache
        };
        let fresh = "[[cache.tags]]\nmatch = \"**\"\nrevalidate = \"1h\"\n";
        let held = format!("{fresh}[[cache.tags]]\nmatch = \"docker.io/**\"\nhold = \"3d\"\n");

        assert!(
            open_automatic(&cache(fresh), &below_a_file).unwrap().is_none(),
            "nothing is cached, nothing is held"
        );
        let refused = open_automatic(&cache(&held), &below_a_file).err().unwrap();
        assert_eq!(refused.place, "cache.tags[1].hold");
        assert!(refused.what.contains("no cache directory is writable"), "{}", refused.what);
        assert!(open_automatic(&cache(&held), &good).unwrap().is_some());
    }

    #[test]
    fn a_directory_that_anybody_may_write_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("cache");
        let cache = cache_at(&format!("file://{}", place.display()));
        assert_eq!(warnings(&cache), None, "nothing is there, and nothing is made");
        assert!(!place.exists());
        std::fs::create_dir_all(place.join("v1")).unwrap();
        let warning = |below: &str, mode: u32| {
            let path = place.join(below);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let warning = warnings(&cache);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            warning
        };
        for mode in [0o777, 0o702, 0o2777] {
            let said = warning("", mode).unwrap();
            assert!(said.starts_with(&format!("{} has mode {mode:04o}: ", place.display())), "{said}");
        }
        assert!(warning("v1", 0o777).unwrap().contains("cache/v1 has mode 0777"));
        for mode in [0o700, 0o755, 0o770, 0o1777] {
            assert_eq!(warning("", mode), None, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_is_named_is_known_even_where_it_cannot_be_opened() {
        let found = Some(Path::new("/found"));
        let named = cache_at("file:///named");
        assert_eq!(directory(&named, None), Some(Path::new("/named")));
        assert_eq!(place(&named, None), "/named");
        assert_eq!(directory(&cache_at("auto"), found), found);
        assert_eq!(directory(&cache_at("auto"), None), None);
        assert_eq!(directory(&cache_at("memory:"), found), None);
        assert_eq!(place(&cache_at("s3://bucket/x"), None), "s3://bucket/x");
    }

    #[tokio::test]
    async fn memory_holds_what_it_is_told_to() {
        let free = |text| async move {
            let sources = Sources { text: Some(text), variables: vec![], read: &|_| Ok(String::new()) };
            let cache = registry_proxy_core::Config::load(&sources).unwrap().cache;
            open(&cache).unwrap().unwrap().store.free().await.unwrap()
        };
        assert_eq!(free("cache.store = 'memory:'").await, Some(512 << 20));
        assert_eq!(free("cache = { store = 'memory:', max_size = '20GiB' }").await, Some(20 << 30));
    }

    #[test]
    fn an_address_that_is_wrong_names_its_key() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let error = open_at(&format!("file://{}/file/x", dir.path().display())).err().unwrap();
        assert_eq!(error.place, "cache.store");
        assert!(error.what.contains("cannot be written"), "{}", error.what);
        assert!(open_at("none").unwrap().is_none());
        assert!(!open_at("memory:").unwrap().unwrap().capabilities().is_shared);
        assert!(open_at(&format!("file://{}", dir.path().display())).unwrap().unwrap().capabilities().is_shared);
    }
}
