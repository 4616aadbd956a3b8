//! Five registries as they are reported to be (docs/reference/registries.md), each behind the proxy: skopeo copies every
//! platform, containerd pulls twice, and registry:2, which asks HEAD of each blob first, is a cache in front.

use http::Method;
use registry_proxy_outer::Outcome;
use registry_proxy_outer::client::{Containerd, Skopeo};
use registry_proxy_outer::failure::equal;
use registry_proxy_outer::proxy::{Setup, Store};
use registry_proxy_outer::registry::{Access, Behaviour, Does, Registry, Reported, Storage};

use crate::stage::{engine_turn, seed, with_every_store};

const BLOBS: &str = "/blobs/sha256:";
const MANIFESTS: &str = "/manifests/";

/// Names as in the core's table.
const REGISTRIES: [(&str, &[Behaviour]); 5] = [
    (
        "public.ecr.aws",
        &[
            (Method::HEAD, BLOBS, Does::Refuse(401)),
            (Method::HEAD, MANIFESTS, Does::LeaveOut("docker-content-digest")),
            (Method::GET, MANIFESTS, Does::LeaveOut("docker-content-digest")),
        ],
    ),
    (
        "Harbor's proxy cache",
        &[(Method::HEAD, BLOBS, Does::RefuseUntilGiven(404)), (Method::GET, BLOBS, Does::IgnoreRangeUntilGiven)],
    ),
    ("Nexus", &[(Method::HEAD, MANIFESTS, Does::Refuse(404)), (Method::GET, BLOBS, Does::LeaveOutTheUnit)]),
    (
        "registry.k8s.io",
        &[
            (Method::GET, BLOBS, Does::Redirect),
            (Method::HEAD, BLOBS, Does::Redirect),
            (Method::GET, MANIFESTS, Does::Redirect),
            (Method::HEAD, MANIFESTS, Does::Redirect),
        ],
    ),
    (
        "a registry whose blobs lie on an S3-compatible store",
        &[(Method::GET, BLOBS, Does::Add("content-encoding", "aws-chunked"))],
    ),
];

fn serve_real_clients(store: Store) -> Outcome {
    let _turn = engine_turn();
    let seed = seed()?;
    let sample = &seed.catalogue().sample;
    for (name, behaviours) in REGISTRIES {
        let registry = Registry::seeded(seed)?;
        let reported = Reported::start(&registry, behaviours)?;
        let upstream = ["default = true", "redirect_hosts = [\"127.0.0.1\"]"];
        let setup = || Setup::new().keeping(store).upstream("reg.test", reported.address(), &upstream);

        let proxy = setup().start()?;
        let cache = Registry::start(&Storage::CacheOf(&proxy.url(""), None), &Access::Open)?;
        let near = format!("{}/library/sample:v1", cache.address());
        equal(
            &format!("{name}, registry:2 in front"),
            &Skopeo::new()?.pull(&near, &[])?.digests()?,
            &sample.digests(),
        )?;

        let proxy = setup().start()?;
        for repository in ["library/sample", "team/app"] {
            let image = format!("{}/{repository}:v1", proxy.address());
            equal(&format!("{name}, skopeo"), &Skopeo::new()?.pull(&image, &[])?.digests()?, &sample.digests())?;
        }

        let proxy = setup().start()?;
        for _ in 0..2 {
            let containerd = Containerd::start()?;
            let image = format!("{}/library/sample:v1", proxy.address());
            containerd.pull(&image, &["--plain-http"])?.success()?;
        }
    }
    Ok(())
}

with_every_store!(serve_real_clients);
