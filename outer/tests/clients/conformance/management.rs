//! Content management: what is deleted is gone at once, and nothing else is.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::failure::{ensure, equal};

use super::api::{Api, Manifest, code, content};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("a manifest that is deleted by its digest is gone, and so are its tags", by_digest),
    case("a manifest that was never pulled is gone as well", never_pulled),
    case("one that is deleted leaves the others", others_stay),
    case("a manifest that is deleted in one repository stays in another", other_repository),
    case("a manifest that is deleted and pushed again is there", manifest_again),
    case("a tag that is deleted is gone, or stays where tags are not deleted", by_tag),
    case("what is not there cannot be deleted", nothing),
    case("a blob that is deleted is gone", blob),
    case("a blob that is deleted in one repository stays in another", blob_elsewhere),
    case("a blob that is deleted and pushed again is there", blob_again),
    case("a repository whose last manifest is deleted has no tags", last_tag),
];

fn delete_manifest(api: &Api, repository: &str, manifest: &Manifest) -> Outcome {
    api.delete(repository, &format!("manifests/{}", manifest.digest))?.expect_status(202)?;
    Ok(())
}

fn by_digest(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management by digest"), "management/by-digest");
    for tag in ["v1", "v2"] {
        api.push(repository, tag, &image)?;
        api.has_manifest(repository, tag, &image)?;
    }
    api.has_manifest(repository, &image.digest, &image)?;
    delete_manifest(api, repository, &image)?;
    ["v1", "v2", &image.digest].into_iter().try_for_each(|reference| api.lacks_manifest(repository, reference))
}

fn never_pulled(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management never pulled"), "management/never-pulled");
    api.push(repository, "v1", &image)?;
    delete_manifest(api, repository, &image)?;
    api.lacks_manifest(repository, &image.digest)?;
    api.lacks_manifest(repository, "v1")
}

fn others_stay(api: &Api) -> Outcome {
    let repository = "management/others";
    let [gone, stays] = ["gone", "stays"].map(|word| Manifest::image(&format!("management others {word}")));
    api.push(repository, "gone", &gone)?;
    api.push(repository, "stays", &stays)?;
    api.has_manifest(repository, "gone", &gone)?;
    delete_manifest(api, repository, &gone)?;
    api.lacks_manifest(repository, "gone")?;
    api.has_manifest(repository, "stays", &stays)?;
    equal("tags", &api.tags(repository, "")?, &vec!["stays".to_owned()])
}

fn other_repository(api: &Api) -> Outcome {
    let (image, repositories) = (Manifest::image("management two"), ["management/one", "management/two"]);
    for repository in repositories {
        api.push(repository, "v1", &image)?;
        api.has_manifest(repository, "v1", &image)?;
    }
    delete_manifest(api, repositories[0], &image)?;
    api.lacks_manifest(repositories[0], "v1")?;
    api.lacks_manifest(repositories[0], &image.digest)?;
    api.has_manifest(repositories[1], "v1", &image)?;
    api.has_manifest(repositories[1], &image.digest, &image)
}

fn manifest_again(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management again"), "management/again");
    for _ in 0..2 {
        api.push(repository, "v1", &image)?;
        api.has_manifest(repository, "v1", &image)?;
        delete_manifest(api, repository, &image)?;
        api.lacks_manifest(repository, "v1")?;
        api.lacks_manifest(repository, &image.digest)?;
    }
    api.push(repository, &image.digest, &image)?;
    api.has_manifest(repository, &image.digest, &image)?;
    api.lacks_manifest(repository, "v1")
}

fn by_tag(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management by tag"), "management/by-tag");
    api.push(repository, "v1", &image)?;
    api.has_manifest(repository, "v1", &image)?;
    let answer = api.delete(repository, "manifests/v1")?;
    match answer.status.as_u16() {
        202 => api.lacks_manifest(repository, "v1")?,
        // The specification leaves it to the registry.
        400 | 405 => {
            code(&answer, &["UNSUPPORTED", "DIGEST_INVALID"])?;
            api.has_manifest(repository, "v1", &image)?;
        }
        status => ensure(false, format_args!("status {status}"))?,
    }
    api.has_manifest(repository, &image.digest, &image)
}

fn nothing(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management nothing"), "management/nothing");
    api.push(repository, "v1", &image)?;
    delete_manifest(api, repository, &image)?;
    for _ in 0..2 {
        let answer = api.delete(repository, &format!("manifests/{}", image.digest))?.expect_status(404)?;
        code(&answer, &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"])?;
        let digest = registry_proxy_outer::digest::of_bytes(b"not there");
        let answer = api.delete(repository, &format!("blobs/{digest}"))?.expect_status(404)?;
        code(&answer, &["BLOB_UNKNOWN", "NAME_UNKNOWN"])?;
    }
    Ok(())
}

fn blob(api: &Api) -> Outcome {
    let (bytes, repository) = (content("management blob", 5000), "management/blob");
    let digest = api.push_blob(repository, &bytes)?;
    api.has_blob(repository, &bytes)?;
    let path = format!("blobs/{digest}");
    api.delete(repository, &path)?.expect_status(202)?;
    api.lacks_blob(repository, &digest)?;
    api.delete(repository, &path)?.expect_status(404)?;
    let part = api.client().get(api.url(repository, &path)).header("range", "bytes=0-9").ask()?;
    part.expect_status(404)?;
    Ok(())
}

fn blob_elsewhere(api: &Api) -> Outcome {
    let (bytes, repositories) = (content("management elsewhere", 5000), ["management/three", "management/four"]);
    for repository in repositories {
        api.push_blob(repository, &bytes)?;
        api.has_blob(repository, &bytes)?;
    }
    let digest = registry_proxy_outer::digest::of_bytes(&bytes);
    api.delete(repositories[0], &format!("blobs/{digest}"))?.expect_status(202)?;
    api.lacks_blob(repositories[0], &digest)?;
    api.has_blob(repositories[1], &bytes)
}

fn blob_again(api: &Api) -> Outcome {
    let (bytes, repository) = (content("management blob again", 5000), "management/blob-again");
    for _ in 0..2 {
        let digest = api.push_blob(repository, &bytes)?;
        api.has_blob(repository, &bytes)?;
        api.delete(repository, &format!("blobs/{digest}"))?.expect_status(202)?;
        api.lacks_blob(repository, &digest)?;
    }
    api.push_blob(repository, &bytes)?;
    api.has_blob(repository, &bytes)
}

fn last_tag(api: &Api) -> Outcome {
    let (image, repository) = (Manifest::image("management last tag"), "management/last-tag");
    api.push(repository, "v1", &image)?;
    equal("tags", &api.tags(repository, "")?, &vec!["v1".to_owned()])?;
    delete_manifest(api, repository, &image)?;
    for _ in 0..2 {
        let answer = api.client().get(api.url(repository, "tags/list")).ask()?;
        match answer.status.as_u16() {
            200 => equal("tags", &api.tags(repository, "")?, &Vec::new())?,
            404 => code(&answer, &["NAME_UNKNOWN"])?,
            status => ensure(false, format_args!("status {status}"))?,
        }
    }
    Ok(())
}
