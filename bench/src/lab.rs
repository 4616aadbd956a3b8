//! The place where it all happens: a directory of its own, gone afterwards, and
//! the systems that are started in it.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::options::{Options, Subject};
use crate::service::nginx::AccessLog;
use crate::service::upstream::{Content, Upstream};
use crate::service::{Service, bare, nginx, node, product, registry};
use crate::tls::Certificate;
use crate::{Error, Result};

/// A system, and where it speaks another protocol than at its first address: HTTP/2 with those who know that it does, or
/// TLS.
pub(crate) struct OtherPort {
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
}

/// Whose cache begins empty.
#[derive(Clone, Copy)]
pub(crate) enum CacheOf {
    /// That of what is measured.
    Subject,
    /// That of what it is compared with.
    Nginx,
}

impl CacheOf {
    /// In the order of the columns.
    pub(crate) const BOTH: [Self; 2] = [Self::Subject, Self::Nginx];
}

pub(crate) struct Lab {
    pub(crate) options: Options,
    directory: TempDir,
    /// How many directories were handed out.
    rooms: Cell<u32>,
}

impl Lab {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("registry-proxy-bench-").tempdir()?;
        Ok(Self { options, directory, rooms: Cell::new(0) })
    }

    /// Whether what stands beside the product stands in for it.
    pub(crate) fn control(&self) -> bool {
        self.options.subject() == Subject::Control
    }

    /// What an upstream serves: a blob of so many mebibytes, and what is added.
    pub(crate) fn content(&self, mebibytes: u32) -> Result<Content> {
        Content::new(self.room("upstream")?, mebibytes)
    }

    /// The upstream, with a blob of so many mebibytes.
    pub(crate) fn upstream(&self, mebibytes: u32) -> Result<Upstream> {
        Upstream::start(self.content(mebibytes)?)
    }

    /// What is to be measured.
    pub(crate) fn ours(&self, upstream: SocketAddr, ready: &str) -> Result<Service> {
        product::start(&self.product()?, &self.room("ours")?, upstream, ready)
    }

    /// The same with a cache in a directory.
    pub(crate) fn ours_caching(&self, cache: &Path, upstream: SocketAddr, ready: &str) -> Result<Service> {
        product::start_caching(&product::cache_in(cache), &self.product()?, &self.room("ours")?, upstream, ready)
    }

    /// The same with these further keys of its cache.
    pub(crate) fn ours_within(&self, cache: &Path, upstream: SocketAddr, keys: &str) -> Result<Service> {
        let cache = format!("{}\n{keys}", product::cache_in(cache));
        product::start_caching(&cache, &self.product()?, &self.room("ours")?, upstream, product::READY)
    }

    /// The same, or in a control run what stands in for it.
    pub(crate) fn subject(&self, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
        match self.options.subject() {
            Subject::Product => self.ours(upstream, product::READY),
            Subject::Control => nginx::relay(&self.room("control")?, upstream, log),
        }
    }

    /// The same with a cache, or in a control run nginx with one.
    pub(crate) fn subject_caching(&self, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
        match self.options.subject() {
            Subject::Product => self.ours_caching(&self.room("cache")?, upstream, product::READY),
            Subject::Control => nginx::cache(&self.room("control")?, upstream, log),
        }
    }

    /// The same for clients that speak HTTP/2.
    pub(crate) fn subject_http2(&self, upstream: SocketAddr) -> Result<OtherPort> {
        match self.options.subject() {
            Subject::Product => {
                let service = self.ours_caching(&self.room("cache")?, upstream, product::READY)?;
                Ok(OtherPort { address: service.address, service })
            }
            Subject::Control => self.nginx_http2(upstream),
        }
    }

    /// The same for clients that speak TLS.
    pub(crate) fn subject_tls(
        &self,
        upstream: SocketAddr,
        log: AccessLog,
        certificate: &Certificate,
    ) -> Result<OtherPort> {
        match self.options.subject() {
            Subject::Product => {
                let (cache, room) = (product::cache_in(&self.room("cache")?), self.room("ours")?);
                let service = product::start_tls(&cache, certificate, &self.product()?, &room, upstream)?;
                Ok(OtherPort { address: service.address, service })
            }
            Subject::Control => self.nginx_tls(upstream, log, certificate),
        }
    }

    /// nginx with a cache, for clients that speak TLS.
    pub(crate) fn nginx_tls(
        &self,
        upstream: SocketAddr,
        log: AccessLog,
        certificate: &Certificate,
    ) -> Result<OtherPort> {
        let (service, address) = nginx::cache_tls(&self.room("nginx")?, upstream, log, certificate)?;
        Ok(OtherPort { service, address })
    }

    /// nginx with a cache, for clients that speak HTTP/2.
    pub(crate) fn nginx_http2(&self, upstream: SocketAddr) -> Result<OtherPort> {
        let (service, address) = nginx::cache_http2(&self.room("nginx")?, upstream)?;
        Ok(OtherPort { service, address })
    }

    /// The ratio of two figures of a control run; of another nothing, where they are not measured in turn.
    pub(crate) fn control_ratio(&self, ours: f64, theirs: f64) -> String {
        if self.control() { format!("{:.2}", ours / theirs) } else { String::new() }
    }

    /// What it is compared with.
    pub(crate) fn nginx(&self, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
        nginx::relay(&self.room("nginx")?, upstream, log)
    }

    /// nginx with a cache.
    pub(crate) fn nginx_caching(&self, upstream: SocketAddr, log: AccessLog) -> Result<Service> {
        nginx::cache(&self.room("nginx")?, upstream, log)
    }

    /// What is done with a new process of one of the two that has an empty cache, which goes when it is done.
    pub(crate) fn in_new_cache<T>(
        &self,
        cache: CacheOf,
        upstream: SocketAddr,
        work: impl FnOnce(&Service) -> Result<T>,
    ) -> Result<T> {
        let room = self.room("cache")?;
        let service = match (cache, self.options.subject()) {
            (CacheOf::Subject, Subject::Product) => self.ours_caching(&room, upstream, product::READY)?,
            (CacheOf::Subject, Subject::Control) | (CacheOf::Nginx, Subject::Product | Subject::Control) => {
                nginx::cache(&room, upstream, AccessLog::Off)?
            }
        };
        let result = work(&service);
        drop(service);
        fs::remove_dir_all(room)?;
        result
    }

    /// The bare relay, if it was built.
    pub(crate) fn bare_relay(&self, upstream: SocketAddr) -> Result<Option<Service>> {
        bare::start(&self.room("bare-relay")?, upstream)
    }

    /// docker-registry with a cache.
    pub(crate) fn registry_caching(&self, upstream: SocketAddr) -> Result<Service> {
        registry::cache(&self.room("registry")?, upstream)
    }

    /// The Node.js way, when it was asked for.
    pub(crate) fn node(&self, upstream: SocketAddr) -> Result<Option<Service>> {
        if !self.options.node {
            return Ok(None);
        }
        node::start(&self.room("node")?, upstream).map(Some)
    }

    /// The binary: as given, as the environment says, or beside this one.
    pub(crate) fn product(&self) -> Result<PathBuf> {
        let path = match (&self.options.binary, std::env::var_os("PROXY_UNDER_TEST")) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.into(),
            (None, None) => std::env::current_exe()?.with_file_name("registry-proxy"),
        };
        if path.is_file() {
            Ok(path)
        } else {
            Err(Error::from(format!(
                "no binary at {}: build it with `cargo build --profile dist`, or name one with --binary",
                path.display()
            )))
        }
    }

    /// A new directory.
    pub(crate) fn room(&self, name: &str) -> Result<PathBuf> {
        let number = self.rooms.get();
        self.rooms.set(number + 1);
        let path = Path::new(self.directory.path()).join(format!("{number}-{name}"));
        fs::create_dir(&path)?;
        Ok(path)
    }
}
