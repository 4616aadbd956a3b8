//! What the operator blocks leaves no Worker either, with a bucket that had it before.

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::layout::MANIFEST;
use registry_proxy_outer::registry::MovingTag;
use registry_proxy_outer::worker::{Setup, Worker};
use registry_proxy_outer::{Outcome, http};

use crate::stage::turn;

fn status(worker: &Worker, path: &str) -> Outcome<(u16, String)> {
    let url = worker.url(&format!("/v2/reg.test/team/app/{path}"));
    let answer = http::Client::new()?.get(url).header("accept", MANIFEST).ask()?;
    Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

#[test]
fn a_blocked_image_and_its_layers_leave_no_worker() -> Outcome {
    let _turn = turn();
    let moving = MovingTag::start("team/app", "v1")?;
    let (old, new) = (&moving.old, &moving.new);
    let rule = format!("[{{ digest = \"{}\", reason = \"it mines coins\" }}]", old.manifest);
    let setup = || Setup::new().upstream("reg.test", moving.registry.address());
    let refused = |worker: &Worker| -> Outcome {
        for path in [
            "manifests/v1",
            &format!("manifests/{}", old.manifest),
            &format!("blobs/{}", old.config),
            &format!("blobs/{}", old.layers[0]),
        ] {
            let (status, text) = status(worker, path)?;
            equal(path, &status, &403)?;
            ensure(text.contains("is blocked by this proxy: it mines coins"), text)?;
        }
        Ok(())
    };

    // Nobody has asked this bucket for the image: the Worker asks the registry whose layer it is.
    let fresh = tempfile::tempdir()?;
    let worker = setup().bucket(fresh.path()).variable("REGISTRY_PROXY_BLOCK", &rule).start()?;
    let (layer, _) = status(&worker, &format!("blobs/{}", old.layers[0]))?;
    equal("a layer before its manifest", &layer, &403)?;
    refused(&worker)?;
    drop(worker);

    // The image was pulled before the rule.
    let bucket = tempfile::tempdir()?;
    let worker = setup().bucket(bucket.path()).start()?;
    let pull = |worker: &Worker| Skopeo::new()?.pull(&format!("{}/reg.test/team/app:v1", worker.address()), &[]);
    equal("without the rule", &pull(&worker)?.digests()?, &old.digests())?;
    drop(worker);
    let worker = setup().bucket(bucket.path()).variable("REGISTRY_PROXY_BLOCK", &rule).start()?;
    refused(&worker)?;

    moving.move_on()?;
    let worker = setup().bucket(fresh.path()).variable("REGISTRY_PROXY_BLOCK", rule).start()?;
    equal("another image under the tag", &pull(&worker)?.digests()?, &new.digests())
}
