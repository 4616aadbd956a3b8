//! What all of them start from.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use registry_proxy_outer::failure::equal;
use registry_proxy_outer::function::Function;
use registry_proxy_outer::gateway::rules::{Rules, SECRET};
use registry_proxy_outer::image::Tiers;
use registry_proxy_outer::objects::{Objects, OtherStore};
use registry_proxy_outer::proxy::{Setup, Store};
use registry_proxy_outer::registry::{Registry, StorageFront};
use registry_proxy_outer::{Context as _, Failure, Outcome};
use tempfile::TempDir;

/// The image, made by whichever test comes first.
pub(crate) fn tiers() -> Outcome<&'static Tiers> {
    static TIERS: OnceLock<Result<Tiers, String>> = OnceLock::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let tiers = TIERS.get_or_init(|| Tiers::prepare(folder).map_err(|failure| format!("{failure:?}")));
    tiers.as_ref().map_err(|message| Failure::new(message.clone()))
}

/// Where a function keeps content.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    Nowhere,
    /// On the instance's own disk.
    Disk,
    /// In an object store of these tests, which checks signatures.
    Objects,
    /// In one that others make, by its name.
    OtherStore(&'static str),
}

/// A registry with a storage of its own, a function before it, and the function's store. Fields are dropped in this
/// order.
pub(crate) struct Scene {
    pub(crate) function: Function,
    pub(crate) front: StorageFront,
    store: Option<SocketAddr>,
    _objects: Option<Objects>,
    _registry: Registry,
    _folder: TempDir,
}

/// What a function's setup is made of.
struct Parts<'scene> {
    folder: &'scene Path,
    upstream: SocketAddr,
    /// The address of a bucket.
    store: Option<String>,
}

impl Scene {
    /// `bytes_per_second` is the rate of the upstream's storage, if it is a slow one.
    pub(crate) fn start(rules: &Rules, kept: Kept, bytes_per_second: Option<u64>) -> Outcome<Self> {
        Self::with(rules, kept, bytes_per_second, |setup| setup)
    }

    /// More of the function's setup.
    pub(crate) fn with(
        rules: &Rules,
        kept: Kept,
        bytes_per_second: Option<u64>,
        more: impl Fn(Setup) -> Setup,
    ) -> Outcome<Self> {
        Self::build(rules, kept, bytes_per_second, |parts| {
            let folder = parts.folder;
            let setup = Setup::new().variable("CACHE_DIRECTORY", folder.display().to_string());
            let setup = match (kept, &parts.store) {
                (_, Some(url)) => setup.store(url),
                (Kept::Disk, None) => setup.cache(&folder.join("kept"), &[]),
                (Kept::Nowhere | Kept::Objects | Kept::OtherStore(_), None) => setup.keeping(Store::None),
            };
            more(setup.upstream("reg.test", parts.upstream, &["default = true"]))
        })
    }

    /// A function of the packaged image, which knows the upstream, and a store in a bucket, by variables; everything else
    /// it finds out. [`Kept::Disk`] and [`Kept::Nowhere`] say nothing of a store.
    pub(crate) fn of_image(rules: &Rules, kept: Kept, setup: impl Fn() -> Setup) -> Outcome<Self> {
        Self::build(rules, kept, None, |parts| {
            let upstream = format!(
                "[{{ name = \"reg.test\", urls = [\"http://{}\"], insecure = true, default = true }}]",
                parts.upstream
            );
            let setup = setup().variable("REGISTRY_PROXY_UPSTREAM", upstream);
            parts.store.iter().fold(setup, |setup, url| setup.variable("REGISTRY_PROXY_CACHE__STORE", url))
        })
    }

    fn build(
        rules: &Rules,
        kept: Kept,
        bytes_per_second: Option<u64>,
        setup: impl Fn(&Parts<'_>) -> Setup,
    ) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let registry = tiers()?.registry()?;
        let front = match bytes_per_second {
            Some(rate) => StorageFront::slow(&registry, rate)?,
            None => StorageFront::start(&registry)?,
        };
        let objects = matches!(kept, Kept::Objects).then(Objects::start).transpose()?;
        let (store, url) = match (kept, &objects) {
            (Kept::OtherStore(name), _) => {
                let other = OtherStore::all()?.into_iter().find(|store| store.name == name);
                let other = other.context("`cargo xtask test` starts no such object store")?;
                (Some(other.address), Some(other.url(&own_prefix())))
            }
            (Kept::Objects, Some(objects)) => (Some(objects.address()), Some(objects.url())),
            (Kept::Nowhere | Kept::Disk | Kept::Objects, _) => (None, None),
        };
        let parts = Parts { folder: folder.path(), upstream: front.address(), store: url };
        let function = Function::start(rules, || setup(&parts))?;
        Ok(Self { function, front, store, _objects: objects, _registry: registry, _folder: folder })
    }

    /// Where the function's object store listens.
    pub(crate) fn store(&self) -> Option<SocketAddr> {
        self.store
    }

    /// No rule of the platform was broken, and none of its secrets got out.
    pub(crate) fn expect_peace(&self) -> Outcome {
        self.function.ledger().expect_no_breach()?;
        for text in [SECRET, "x-scf-", "x-fc-", "x-goog-iap"] {
            equal("a header that the upstream saw", &self.front.saw(text), &None)?;
        }
        Ok(())
    }
}

/// The port 9000, on which two platforms want their answer: one test has it at a time.
pub(crate) fn port_9000() -> MutexGuard<'static, ()> {
    static TAKEN: Mutex<()> = Mutex::new(());
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a bucket that tests share each takes a part.
fn own_prefix() -> String {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    format!("platforms-{}-{}", std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed))
}
