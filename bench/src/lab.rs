//! The place where it all happens: a directory of its own, gone afterwards, and
//! the systems that are started in it.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::options::{Options, Subject};
use crate::service::nginx::AccessLog;
use crate::service::upstream::{self, Upstream};
use crate::service::{Service, nginx, node, product, registry};
use crate::{Error, Result};

/// A system, and where it speaks HTTP/2 with those who know that it does.
pub(crate) struct OverHttp2 {
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
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

    /// The upstream, with a blob of so many mebibytes.
    pub(crate) fn upstream(&self, mebibytes: u32) -> Result<Upstream> {
        upstream::start(&self.room("upstream")?, mebibytes)
    }

    /// What is to be measured.
    pub(crate) fn ours(&self, upstream: SocketAddr, ready: &str) -> Result<Service> {
        product::start(&self.product()?, &self.room("ours")?, upstream, ready)
    }

    /// The same with a cache in a directory.
    pub(crate) fn ours_caching(&self, cache: &Path, upstream: SocketAddr, ready: &str) -> Result<Service> {
        product::start_caching(cache, &self.product()?, &self.room("ours")?, upstream, ready)
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
    pub(crate) fn subject_http2(&self, upstream: SocketAddr) -> Result<OverHttp2> {
        match self.options.subject() {
            Subject::Product => {
                let service = self.ours_caching(&self.room("cache")?, upstream, product::READY)?;
                Ok(OverHttp2 { address: service.address, service })
            }
            Subject::Control => self.nginx_http2(upstream),
        }
    }

    /// nginx with a cache, for clients that speak HTTP/2.
    pub(crate) fn nginx_http2(&self, upstream: SocketAddr) -> Result<OverHttp2> {
        let (service, address) = nginx::cache_http2(&self.room("nginx")?, upstream)?;
        Ok(OverHttp2 { service, address })
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
