//! Pushing: manifests, and blobs that another repository has.

use registry_proxy_outer::digest::of_bytes;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::layout::{INDEX, MANIFEST};
use registry_proxy_outer::{Context, Outcome};
use serde_json::json;

use super::api::{Api, Manifest, code, content, descriptor};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("a manifest that was asked for in vain is there once it is pushed", asked_before),
    case("a manifest may be pushed by its digest", by_digest),
    case("a manifest by another digest than its own is 400", wrong_digest),
    case("what is no manifest is 400", no_manifest),
    case("a manifest without its blobs is refused with the reason", without_blobs),
    case("an image without layers may be pushed", without_layers),
    case("an artifact may be pushed", artifact),
    case("a manifest of nearly four MiB may be pushed", large),
    case("an index of nothing may be pushed", empty_index),
    case("a tag that is pushed again leads to the new manifest", moved_tag),
    case("two tags of one manifest both lead there", two_tags),
    case("one push sets several tags", tags_of_one_push).deviates("status 404 "),
    case("a manifest with a subject is answered with it", subject).deviates("subject"),
    case("a blob of another repository is mounted", mount),
    case("a blob that was asked for in vain is there once it is mounted", mount_asked_before),
    case("a mount that does not say from where may be an upload", mount_from_anywhere),
    case("a mount of what is not there is an upload", mount_of_nothing),
];

fn asked_before(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push asked before"), "push/asked-before");
    api.lacks_manifest(repository, "v1")?;
    api.lacks_manifest(repository, &image.digest)?;
    api.push(repository, "v1", &image)?;
    api.has_manifest(repository, "v1", &image)?;
    api.has_manifest(repository, &image.digest, &image)
}

fn by_digest(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push by digest"), "push/by-digest");
    api.push(repository, &image.digest, &image)?;
    api.has_manifest(repository, &image.digest, &image)?;
    api.lacks_manifest(repository, "v1")
}

fn wrong_digest(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push wrong digest"), "push/wrong-digest");
    image.blobs.iter().try_for_each(|blob| api.push_blob(repository, blob).map(drop))?;
    let other = of_bytes(b"another");
    code(&api.put_manifest(repository, &other, &image)?.expect_status(400)?, &["DIGEST_INVALID"])?;
    api.lacks_manifest(repository, &other)?;
    api.lacks_manifest(repository, &image.digest)
}

fn no_manifest(api: &Api) -> Outcome {
    let broken = Manifest { bytes: b"{\"schemaVersion\":2,".to_vec(), ..Manifest::image("push no manifest") };
    code(&api.put_manifest("push/none", "v1", &broken)?.expect_status(400)?, &["MANIFEST_INVALID"])?;
    api.lacks_manifest("push/none", "v1")
}

fn without_blobs(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push without blobs"), "push/without-blobs");
    let refused = api.put_manifest(repository, "v1", &image)?;
    ensure(matches!(refused.status.as_u16(), 400 | 404), format_args!("status {}", refused.status))?;
    code(&refused, &["MANIFEST_BLOB_UNKNOWN"])?;
    // Which ones is what a client wants to know.
    let said = String::from_utf8_lossy(&refused.body);
    for blob in &image.blobs {
        ensure(said.contains(&of_bytes(blob)), format_args!("not every blob is named: {said}"))?;
    }
    api.lacks_manifest(repository, "v1")
}

fn without_layers(api: &Api) -> Outcome {
    let image = Manifest::image_with("push without layers", &json!({ "layers": [] }));
    api.push("push/without-layers", "v1", &image)?;
    api.has_manifest("push/without-layers", "v1", &image)
}

fn artifact(api: &Api) -> Outcome {
    let (nothing, text) = (b"{}".to_vec(), content("push artifact", 200));
    let document = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.text",
        "config": descriptor("application/vnd.oci.empty.v1+json", &nothing),
        "layers": [descriptor("text/plain", &text)],
    });
    let artifact = Manifest { blobs: vec![nothing, text], ..Manifest::of(MANIFEST, &document) };
    api.push("push/artifact", "v1", &artifact)?;
    api.has_manifest("push/artifact", "v1", &artifact)?;
    artifact.blobs.iter().try_for_each(|blob| api.has_blob("push/artifact", blob))
}

fn large(api: &Api) -> Outcome {
    let padding = "x".repeat((4 << 20) - 2000);
    let image = Manifest::image_with("push large", &json!({ "annotations": { "padding": padding } }));
    api.push("push/large", "v1", &image)?;
    api.has_manifest("push/large", "v1", &image)
}

fn empty_index(api: &Api) -> Outcome {
    let index = Manifest::of(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
    api.push("push/empty-index", "v1", &index)?;
    api.has_manifest("push/empty-index", "v1", &index)
}

fn moved_tag(api: &Api) -> Outcome {
    let [old, new] = ["old", "new"].map(|word| Manifest::image(&format!("push moved tag {word}")));
    for image in [&old, &new, &old] {
        api.push("push/moved-tag", "v1", image)?;
        api.has_manifest("push/moved-tag", "v1", image)?;
    }
    api.has_manifest("push/moved-tag", &new.digest, &new)
}

fn two_tags(api: &Api) -> Outcome {
    let image = Manifest::image("push two tags");
    for tag in ["v1", "latest"] {
        api.push("push/two-tags", tag, &image)?;
        api.has_manifest("push/two-tags", tag, &image)?;
    }
    equal("tags", &api.tags("push/two-tags", "")?, &vec!["latest".to_owned(), "v1".to_owned()])
}

fn tags_of_one_push(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push several tags"), "push/several-tags");
    image.blobs.iter().try_for_each(|blob| api.push_blob(repository, blob).map(drop))?;
    let reference = format!("{}?tag=a&tag=b", image.digest);
    let pushed = api.put_manifest(repository, &reference, &image)?.expect_status(201)?;
    for tag in ["a", "b"] {
        api.has_manifest(repository, tag, &image)?;
        let said = pushed.headers.get_all("oci-tag").iter().any(|said| said == tag);
        ensure(said, format_args!("no OCI-Tag of {tag}"))?;
    }
    Ok(())
}

fn subject(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("push subject"), "push/subject");
    api.push(repository, "v1", &image)?;
    let referrer = Manifest::image_with("push subject's referrer", &json!({ "subject": image.descriptor() }));
    image.blobs.iter().chain(&referrer.blobs).try_for_each(|blob| api.push_blob(repository, blob).map(drop))?;
    let pushed = api.put_manifest(repository, &referrer.digest, &referrer)?.expect_status(201)?;
    api.has_manifest(repository, &referrer.digest, &referrer)?;
    equal("subject", &pushed.header("oci-subject"), &image.digest.as_str())
}

/// A mount, answered with 201 or with an upload.
fn mounted(api: &Api, repository: &str, query: &str) -> Outcome<registry_proxy_outer::http::Answer> {
    let answer = api.client().post(api.url(repository, &format!("blobs/uploads/?{query}"))).ask()?;
    ensure(matches!(answer.status.as_u16(), 201 | 202), format_args!("status {}", answer.status))?;
    Ok(answer)
}

fn mount(api: &Api) -> Outcome {
    let bytes = content("push mount", 5000);
    let digest = api.push_blob("push/mount-from", &bytes)?;
    let query = format!("mount={digest}&from={}", api.name("push/mount-from"));
    let answer = mounted(api, "push/mount-to", &query)?.expect_status(201)?;
    api.created(&answer)?;
    api.has_blob("push/mount-to", &bytes)?;
    api.has_blob("push/mount-from", &bytes)
}

fn mount_asked_before(api: &Api) -> Outcome {
    let bytes = content("push mount asked before", 5000);
    let digest = api.push_blob("push/mount-from", &bytes)?;
    api.has_blob("push/mount-from", &bytes)?;
    api.lacks_blob("push/mount-asked-before", &digest)?;
    let query = format!("mount={digest}&from={}", api.name("push/mount-from"));
    mounted(api, "push/mount-asked-before", &query)?.expect_status(201)?;
    api.has_blob("push/mount-asked-before", &bytes)
}

fn mount_from_anywhere(api: &Api) -> Outcome {
    let bytes = content("push mount from anywhere", 5000);
    let digest = api.push_blob("push/mount-from", &bytes)?;
    let answer = mounted(api, "push/mount-anywhere", &format!("mount={digest}"))?;
    if answer.status == 202 {
        api.lacks_blob("push/mount-anywhere", &digest)?;
        api.close(&api.follow(&answer)?, &digest, &bytes)?.expect_status(201)?;
    }
    api.has_blob("push/mount-anywhere", &bytes)
}

fn mount_of_nothing(api: &Api) -> Outcome {
    let bytes = content("push mount of nothing", 5000);
    let digest = of_bytes(&bytes);
    api.push_blob("push/mount-from", b"something else").context("another blob")?;
    let query = format!("mount={digest}&from={}", api.name("push/mount-from"));
    let answer = mounted(api, "push/mount-nothing", &query)?.expect_status(202)?;
    api.lacks_blob("push/mount-nothing", &digest)?;
    api.close(&api.follow(&answer)?, &digest, &bytes)?.expect_status(201)?;
    api.has_blob("push/mount-nothing", &bytes)?;
    api.lacks_blob("push/mount-from", &digest)
}
