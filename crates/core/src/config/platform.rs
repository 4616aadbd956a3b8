//! Defaults that depend on the platform: where to listen, and how much the cache may take.

use super::cache::{USUAL_RESERVE, USUAL_SIZE};
use super::{Bytes, Config, ConfigError, StoreAddress};
use crate::platform::Profile;

/// Where a function's cache lies: no other directory is writable.
const EPHEMERAL: &str = "/tmp/registry-proxy";
/// Size of a cache in memory.
const MEMORY_CACHE: Bytes = Bytes(512 << 20);
/// Size of a cache on a small disk that is gone with the instance.
const SMALL_CACHE: Bytes = Bytes(256 << 20);
/// Free space on such a disk: a function's `/tmp` has half a gigabyte.
const SMALL_RESERVE: Bytes = Bytes(64 << 20);

/// Recognises the platform.
pub(super) fn detect(variables: &[(String, String)]) -> Result<Profile, ConfigError> {
    let find = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    Profile::detect(find).map_err(|error| ConfigError::new("REGISTRY_PROXY_PLATFORM", error.to_string()))
}

impl Config {
    /// Fills in what follows from the platform. A platform uses its own port, whatever a file or an image says; `PORT` and
    /// `--listen` come later and win.
    pub(super) fn suit_platform(&mut self, variables: &[(String, String)]) {
        if let Some(port) = self.platform.port() {
            let names = self.platform.port_variables();
            let told = variables.iter().find(|(key, _)| names.contains(&key.as_str()));
            let told = told.and_then(|(_, value)| value.trim().parse::<u16>().ok()).filter(|port| *port != 0);
            self.listen = format!("0.0.0.0:{}", told.unwrap_or(port));
        }
        if self.platform.is_ephemeral() {
            if self.cache.store == StoreAddress::Auto {
                self.cache.store = match self.platform {
                    // Its disk is the instance's memory.
                    Profile::CloudRun => StoreAddress::None,
                    // Its bucket is bound, and not configured.
                    Profile::CloudflareWorkers => StoreAddress::Auto,
                    _ => StoreAddress::File(EPHEMERAL.into()),
                };
            }
            self.cache.scratch = Some(EPHEMERAL.into());
        }
    }

    /// Fills in the size of the cache where it is not configured.
    pub(super) fn measure_room(&mut self) {
        let (size, reserve) = (self.usual_size(), self.usual_reserve());
        self.cache.max_size.get_or_insert(size);
        self.cache.min_free.get_or_insert(reserve);
    }

    fn usual_size(&self) -> Bytes {
        // A bucket is as large as its owner lets it be; that of a Worker is bound, and not configured.
        let is_bucket =
            matches!(self.cache.store, StoreAddress::Objects(_)) || self.platform == Profile::CloudflareWorkers;
        if self.platform.is_ephemeral() && !is_bucket {
            SMALL_CACHE
        } else if self.cache.store == StoreAddress::Memory {
            MEMORY_CACHE
        } else {
            USUAL_SIZE
        }
    }

    fn usual_reserve(&self) -> Bytes {
        if self.platform.is_ephemeral() { SMALL_RESERVE } else { USUAL_RESERVE }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Sources;
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Config::load(&Sources { text: Some(text), variables, read: &|_| Ok(String::new()) })
    }

    #[test]
    fn a_platform_asks_at_its_own_port() {
        let listen = |variables: &[_]| load("listen = \"127.0.0.1:1\"", variables).unwrap().listen;
        assert_eq!(listen(&[]), "127.0.0.1:1");
        assert_eq!(listen(&[("TENCENTCLOUD_RUNENV", "SCF")]), "0.0.0.0:9000");
        assert_eq!(listen(&[("FC_FUNCTION_NAME", "x")]), "0.0.0.0:9000");
        assert_eq!(listen(&[("FC_SERVER_PORT", "3000")]), "0.0.0.0:3000");
        assert_eq!(listen(&[("CONTAINER_APP_NAME", "x")]), "0.0.0.0:8080");
        assert_eq!(listen(&[("CONTAINER_APP_NAME", "x"), ("CONTAINER_APP_PORT", "3000")]), "0.0.0.0:3000");
        // An app without ingress has no port.
        assert_eq!(listen(&[("CONTAINER_APP_NAME", "x"), ("CONTAINER_APP_PORT", "0")]), "0.0.0.0:8080");
        // What another platform says is not for this one.
        assert_eq!(listen(&[("CONTAINER_APP_NAME", "x"), ("FC_CUSTOM_LISTEN_PORT", "3000")]), "0.0.0.0:8080");
        assert_eq!(listen(&[("K_SERVICE", "x"), ("PORT", "8088")]), "0.0.0.0:8088");
        assert_eq!(listen(&[("AWS_LAMBDA_RUNTIME_API", "x")]), "127.0.0.1:1");
    }

    /// The container image sets this address, and runs on every platform.
    #[test]
    fn the_address_of_an_image_counts_where_no_platform_says_another() {
        let image = ("REGISTRY_PROXY_LISTEN", "0.0.0.0:3000");
        let listen = |variable: (&'static str, &'static str)| load("", &[image, variable]).unwrap().listen;
        assert_eq!(listen(("HOME", "/")), "0.0.0.0:3000");
        assert_eq!(listen(("PORT", "8088")), "0.0.0.0:8088");
        assert_eq!(listen(("TENCENTCLOUD_RUNENV", "SCF")), "0.0.0.0:9000");
        assert_eq!(listen(("FC_FUNCTION_NAME", "x")), "0.0.0.0:9000");
        assert_eq!(listen(("CONTAINER_APP_NAME", "x")), "0.0.0.0:8080");
    }

    #[test]
    fn it_is_recognised_or_said() {
        let platform = |text: &str, variables: &[_]| load(text, variables).map(|config| config.platform);
        assert_eq!(platform("", &[]), Ok(Profile::Server));
        assert_eq!(platform("", &[("K_SERVICE", "x")]), Ok(Profile::CloudRun));
        assert_eq!(platform("platform = \"server\"", &[("K_SERVICE", "x")]), Ok(Profile::Server));
        let said = [("K_SERVICE", "x"), ("REGISTRY_PROXY_PLATFORM", "tencent-scf")];
        assert_eq!(platform("", &said), Ok(Profile::TencentScf));
        assert_eq!(platform("", &[("REGISTRY_PROXY_PLATFORM", "")]), Ok(Profile::Server));
        let error = platform("", &[("REGISTRY_PROXY_PLATFORM", "lambda")]).unwrap_err();
        assert!(error.to_string().starts_with("REGISTRY_PROXY_PLATFORM=lambda: "), "{error}");
        assert!(error.what.contains("aws-lambda"), "{error}");
    }

    #[test]
    fn a_small_disk_has_a_small_cache_unless_it_is_said() {
        let scf = [("TENCENTCLOUD_RUNENV", "SCF")];
        let cache = load("", &scf).unwrap().cache;
        assert_eq!((cache.max_size(), cache.min_free()), (SMALL_CACHE, SMALL_RESERVE));
        assert_eq!(cache.store, StoreAddress::File(EPHEMERAL.into()));
        assert_eq!(load("", &[("K_SERVICE", "x")]).unwrap().cache.store, StoreAddress::None);
        let cache = load("[cache]\nmax_size = \"400MiB\"", &scf).unwrap().cache;
        assert_eq!(cache.max_size(), Bytes(400 << 20));
        let usual = load("", &[]).unwrap().cache.max_size();
        assert_eq!(usual, Bytes(20 << 30));
        let cache = load("cache.store = \"s3://bucket/\"", &scf).unwrap().cache;
        assert_eq!((cache.max_size(), cache.scratch.as_deref()), (usual, Some(EPHEMERAL)));
        let worker = [("REGISTRY_PROXY_PLATFORM", "cloudflare-workers")];
        assert_eq!(load("", &worker).unwrap().cache.max_size(), usual);
    }

    #[test]
    fn memory_has_a_small_cache_unless_it_is_said() {
        let size = |text: &str, variables: &[_]| load(text, variables).unwrap().cache.max_size();
        assert_eq!(size("cache.store = \"memory:\"", &[]), MEMORY_CACHE);
        assert_eq!(size("cache.store = \"memory:\"", &[("K_SERVICE", "x")]), SMALL_CACHE);
        assert_eq!(size("[cache]\nstore = \"memory:\"\nmax_size = \"20GiB\"", &[]), Bytes(20 << 30));
    }

    #[test]
    fn what_is_said_counts_even_where_it_is_what_others_have_by_default() {
        let text = "[cache]\nmax_size = \"20GiB\"\nmin_free = \"1GiB\"";
        let cache = load(text, &[("TENCENTCLOUD_RUNENV", "SCF")]).unwrap().cache;
        assert_eq!((cache.max_size(), cache.min_free()), (Bytes(20 << 30), Bytes(1 << 30)));
    }
}
