//! What all of them start from.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;

use registry_proxy_outer::failure::equal;
use registry_proxy_outer::function::Function;
use registry_proxy_outer::gateway::rules::{Rules, SECRET};
use registry_proxy_outer::image::Tiers;
use registry_proxy_outer::objects::Objects;
use registry_proxy_outer::proxy::{Setup, Store};
use registry_proxy_outer::registry::{Registry, StorageFront};
use registry_proxy_outer::{Failure, Outcome};
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
    /// In an object store that checks signatures.
    Objects,
}

/// A registry with a storage of its own, a function before it, and the function's store. Fields are dropped in this
/// order.
pub(crate) struct Scene {
    pub(crate) function: Function,
    pub(crate) front: StorageFront,
    objects: Option<Objects>,
    _registry: Registry,
    _folder: TempDir,
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
        let folder = tempfile::tempdir()?;
        let registry = tiers()?.registry()?;
        let front = match bytes_per_second {
            Some(rate) => StorageFront::slow(&registry, rate)?,
            None => StorageFront::start(&registry)?,
        };
        let objects = matches!(kept, Kept::Objects).then(Objects::start).transpose()?;
        let function = Function::start(rules, || {
            let setup = Setup::new().variable("CACHE_DIRECTORY", folder.path().display().to_string());
            let setup = match (kept, &objects) {
                (Kept::Objects, Some(objects)) => setup.store(&objects.url()),
                (Kept::Disk, _) => setup.cache(&folder.path().join("kept"), &[]),
                (Kept::Nowhere | Kept::Objects, _) => setup.keeping(Store::None),
            };
            more(setup.upstream("reg.test", front.address(), &["default = true"]))
        })?;
        Ok(Self { function, front, objects, _registry: registry, _folder: folder })
    }

    /// Where the function's object store listens.
    pub(crate) fn store(&self) -> Option<SocketAddr> {
        self.objects.as_ref().map(Objects::address)
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
