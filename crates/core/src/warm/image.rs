//! One image, part by part, and what became of each.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};

use super::context::Warming;
use super::named::NamedImage;
use super::patience::{NextTry, Patience};
use super::platforms::{choose, listed};
use super::repository::{WarmRepository, WarmedManifest, tags_of};
use super::trouble::{Prospect, WarmTrouble, whole_seconds};
use crate::cache::{ChildDescriptor, Described};
use crate::digest::Digest;
use crate::error::Error;
use crate::name::Reference;
use crate::platform::Clock;
use crate::route::image::target_of;
use crate::route::{Endpoint, Target};
use crate::warm_orders::{MissingPart, PartOutcome, WarmEvent, WarmedImage, WarmedPart};

/// Layers of an image that are fetched at once: as many as docker and podman fetch.
const LAYERS_AT_ONCE: usize = 3;
/// Most manifests of one image.
const MAX_MANIFESTS: usize = 1000;

/// The work for one image.
pub(super) struct ImageWork<'a> {
    warming: &'a Warming<'a>,
    place: usize,
    of: usize,
    image: &'a NamedImage,
    /// A registry's limit would last too long: the rest of the image does not wait for it, either.
    gave_up: AtomicBool,
}

/// A manifest that is wanted.
struct WantedManifest {
    reference: Reference,
    platform: Option<String>,
    role: ManifestRole,
}

/// How a manifest belongs to its image.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ManifestRole {
    /// The image itself, or what its tag names.
    Whole,
    /// One of an index.
    Child,
    /// A signature, an attestation or the like. There may be none.
    Referrer,
}

/// What is left to do for an image.
struct WorkList {
    manifests: VecDeque<WantedManifest>,
    seen: HashSet<Digest>,
    /// Blobs that are done with: images of one index share layers.
    blobs: HashSet<Digest>,
}

impl WorkList {
    /// A manifest of an index comes next, unless it has come.
    fn want(&mut self, report: &mut WarmedImage, child: &ChildDescriptor, role: ManifestRole) {
        if self.seen.len() >= MAX_MANIFESTS {
            let why = format!("more than {MAX_MANIFESTS} manifests belong to this image");
            return report.lacks(MissingPart { what: child.digest.to_string(), why, retry_after_seconds: None });
        }
        if self.seen.insert(child.digest.clone()) {
            let reference = Reference::Digest(child.digest.clone());
            self.manifests.push_front(WantedManifest { reference, platform: child.platform.clone(), role });
        }
    }
}

/// A blob, and what became of it.
type FetchedBlob<'b> = (&'b ChildDescriptor, Result<(PartOutcome, u64), WarmTrouble>);

impl<'a> ImageWork<'a> {
    /// The image at this place of so many.
    pub(super) fn new(warming: &'a Warming<'a>, (place, of): (usize, usize), image: &'a NamedImage) -> Self {
        Self { warming, place, of, image, gave_up: AtomicBool::new(false) }
    }

    /// Fetches what is missing of it.
    pub(super) async fn run(self) -> WarmedImage {
        let name = &self.image.name;
        self.tell(WarmEvent::Begin { place: self.place, of: self.of, name: name.clone() });
        let mut report = WarmedImage { place: self.place, name: name.clone(), ..WarmedImage::default() };
        match &self.image.unknown {
            Some(unknown) => report.lacks(unknown.clone()),
            None => {
                if let Err(trouble) = self.fetch(&mut report).await {
                    report.lacks(trouble.told(name.clone(), self.unix_seconds()));
                }
            }
        }
        report.is_complete = report.missing.is_empty();
        report
    }

    async fn fetch(&self, report: &mut WarmedImage) -> Result<(), WarmTrouble> {
        let proxy = self.warming.proxy;
        let target: Arc<Target> = target_of(proxy.routes, proxy.config, &self.image.name)?;
        let Endpoint::Manifest(reference) = target.endpoint.clone() else {
            return Err(Error::NoSuchEndpoint.into());
        };
        let repository = WarmRepository::new(self.warming, target, self.place)?;
        let mut left = WorkList { manifests: VecDeque::new(), seen: HashSet::new(), blobs: HashSet::new() };
        let first = WantedManifest { reference, platform: None, role: ManifestRole::Whole };
        left.manifests.push_back(first);
        while let Some(wanted) = left.manifests.pop_front() {
            let found = self.patiently(|| Box::pin(repository.manifest(&wanted.reference))).await;
            let is_here = match found {
                Ok(found) => {
                    self.found(report, &wanted, &found);
                    if wanted.role == ManifestRole::Whole {
                        report.digest = Some(found.digest.to_string());
                        report.is_stale = found.is_stale;
                    }
                    self.parts(&repository, report, &mut left, &wanted, &found).await;
                    repository.wait_for_tag(&wanted.reference).await
                }
                Err(trouble) if wanted.role == ManifestRole::Referrer && trouble.is_absence() => Ok(()),
                Err(trouble) => Err(trouble),
            };
            if let Err(trouble) = is_here {
                let what = match wanted.role {
                    ManifestRole::Whole => self.image.name.as_str(),
                    ManifestRole::Child | ManifestRole::Referrer => wanted.reference.as_str(),
                };
                self.lacks(report, what, wanted.platform.as_deref(), &trouble);
            }
        }
        Ok(())
    }

    /// What a manifest names: its blobs are fetched at once, its manifests come next.
    async fn parts(
        &self,
        repository: &WarmRepository<'_>,
        report: &mut WarmedImage,
        left: &mut WorkList,
        wanted: &WantedManifest,
        found: &WarmedManifest,
    ) {
        left.seen.insert(found.digest.clone());
        let described = Described::of(&found.bytes);
        let platforms = match wanted.role {
            ManifestRole::Whole | ManifestRole::Child => self.warming.platforms.as_slice(),
            ManifestRole::Referrer => &[],
        };
        let choice = choose(platforms, &described.manifests);
        if wanted.role == ManifestRole::Whole && !choice.absent.is_empty() {
            let why = format!("the image has no such platform; it has {}", listed(&described.manifests));
            for what in choice.absent {
                report.lacks(MissingPart { what, why: why.clone(), retry_after_seconds: None });
            }
        }
        let role = match wanted.role {
            ManifestRole::Whole => ManifestRole::Child,
            ManifestRole::Child | ManifestRole::Referrer => wanted.role,
        };
        let children = choice.taken.iter().filter_map(|at| described.manifests.get(*at));
        let children: Vec<&ChildDescriptor> = children.collect();
        // In front, so that an image comes whole before the next one of its index; the last first.
        for child in children.into_iter().rev() {
            left.want(report, child, role);
        }
        self.blobs(repository, report, left, described.blobs).await;
        if self.warming.request.referrers && wanted.role != ManifestRole::Referrer {
            self.want_referrers(repository, report, left, &found.digest).await;
        }
    }

    async fn want_referrers(
        &self,
        repository: &WarmRepository<'_>,
        report: &mut WarmedImage,
        left: &mut WorkList,
        digest: &Digest,
    ) {
        let listed = match self.patiently(|| Box::pin(repository.referrers(digest))).await {
            Ok(listed) => listed,
            Err(trouble) => return self.lacks(report, &format!("referrers of {digest}"), None, &trouble),
        };
        for reference in listed.into_iter().chain(tags_of(digest)) {
            let is_new = match &reference {
                Reference::Digest(digest) => left.seen.len() < MAX_MANIFESTS && left.seen.insert(digest.clone()),
                Reference::Tag(_) => true,
            };
            if is_new {
                let role = ManifestRole::Referrer;
                left.manifests.push_back(WantedManifest { reference, platform: None, role });
            }
        }
    }

    /// Fetches blobs, a few at once; what became of them is told in the manifest's order.
    async fn blobs(
        &self,
        repository: &WarmRepository<'_>,
        report: &mut WarmedImage,
        left: &mut WorkList,
        mut blobs: Vec<ChildDescriptor>,
    ) {
        blobs.retain(|blob| left.blobs.insert(blob.digest.clone()));
        let fetched: Vec<BoxFuture<'_, FetchedBlob<'_>>> =
            blobs.iter().map(|blob| self.fetch_blob(repository, blob)).collect();
        let mut fetched = stream::iter(fetched).buffered(LAYERS_AT_ONCE);
        while let Some((blob, fetched)) = fetched.next().await {
            match fetched {
                Ok((outcome, bytes)) => {
                    self.part(
                        report,
                        WarmedPart {
                            place: self.place,
                            what: blob.digest.to_string(),
                            platform: None,
                            is_manifest: false,
                            bytes: Some(bytes),
                            outcome,
                        },
                    );
                }
                Err(trouble) => {
                    self.tell(WarmEvent::Part(WarmedPart {
                        place: self.place,
                        what: blob.digest.to_string(),
                        platform: None,
                        is_manifest: false,
                        bytes: blob.size,
                        outcome: PartOutcome::Missing,
                    }));
                    report.lacks(trouble.told(blob.digest.to_string(), self.unix_seconds()));
                }
            }
        }
    }

    // `inline` for the reason that `Proxy::warm` names.
    #[inline]
    fn fetch_blob<'f>(
        &'f self,
        repository: &'f WarmRepository<'_>,
        blob: &'f ChildDescriptor,
    ) -> BoxFuture<'f, FetchedBlob<'f>> {
        Box::pin(async move { (blob, self.patiently(|| Box::pin(repository.blob(&blob.digest))).await) })
    }

    fn found(&self, report: &mut WarmedImage, wanted: &WantedManifest, found: &WarmedManifest) {
        self.part(
            report,
            WarmedPart {
                place: self.place,
                what: found.digest.to_string(),
                platform: wanted.platform.clone(),
                is_manifest: true,
                bytes: Some(found.bytes.len() as u64),
                outcome: found.outcome,
            },
        );
    }

    fn part(&self, report: &mut WarmedImage, part: WarmedPart) {
        report.add(&part);
        self.tell(WarmEvent::Part(part));
    }

    /// A manifest or a list is not here.
    fn lacks(&self, report: &mut WarmedImage, what: &str, platform: Option<&str>, trouble: &WarmTrouble) {
        self.tell(WarmEvent::Part(WarmedPart {
            place: self.place,
            what: what.to_owned(),
            platform: platform.map(ToOwned::to_owned),
            is_manifest: true,
            bytes: None,
            outcome: PartOutcome::Missing,
        }));
        report.lacks(trouble.told(what.to_owned(), self.unix_seconds()));
    }

    /// Asks again while there is a prospect.
    async fn patiently<'f, T>(
        &self,
        ask: impl Fn() -> BoxFuture<'f, Result<T, WarmTrouble>> + Send + Sync,
    ) -> Result<T, WarmTrouble> {
        let seconds = if self.gave_up.load(Ordering::Relaxed) { 0 } else { self.warming.request.wait_seconds };
        let mut patience = Patience::new(Duration::from_secs(seconds));
        loop {
            let trouble = match ask().await {
                Ok(found) => return Ok(found),
                Err(trouble) => trouble,
            };
            let prospect = trouble.prospect();
            let pause = match patience.after(prospect, self.clock().now()) {
                NextTry::AfterLimit(pause) => {
                    let seconds = whole_seconds(pause);
                    self.tell(WarmEvent::Waiting { place: self.place, seconds, why: trouble.to_string() });
                    pause
                }
                NextTry::AfterPause(pause) => pause,
                NextTry::Never => {
                    if matches!(prospect, Prospect::After(_)) {
                        self.gave_up.store(true, Ordering::Relaxed);
                    }
                    return Err(trouble);
                }
            };
            self.clock().sleep(pause).await;
        }
    }

    fn clock(&self) -> &dyn Clock {
        &*self.warming.proxy.env.platform.clock
    }

    fn unix_seconds(&self) -> u64 {
        self.clock().unix_seconds()
    }

    fn tell(&self, event: WarmEvent) {
        (self.warming.tell)(event);
    }
}
