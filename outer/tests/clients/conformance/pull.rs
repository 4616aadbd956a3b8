//! Pulling: `GET` and `HEAD` of manifests and blobs, and parts of blobs.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::digest::of_bytes;
use registry_proxy_outer::failure::{ensure, equal};

use super::api::{Api, Manifest, code, content};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("a blob that is not there is 404", missing_blob),
    case("a blob that was pushed is there", blob),
    case("an empty blob is there", empty_blob),
    case("a manifest that is not there is 404", missing_manifest),
    case("an image is there by tag and by digest, with its blobs", image),
    case("an index is there with its images", index),
    case("the bytes of a manifest are those that were pushed, whatever is in them", strange_manifest),
    case("a blob by a digest that is none is 400", no_digest_of_a_blob),
    case("a manifest by a digest that is none is 400", no_digest_of_a_manifest).mended("status 500 "),
    case("a repository by a name that is none is 400 or 404", no_name),
    case("a part of a blob: from here to there", |api| part(api, "500-1499", 500..1500)),
    case("a part of a blob: from here on", |api| part(api, "500-", 500..2000)),
    case("a part of a blob: all of it", |api| part(api, "0-", 0..2000)),
    case("a part of a blob: the last of it", |api| part(api, "-500", 1500..2000)),
    case("a part of a blob: from here to behind its end", |api| part(api, "1500-5000", 1500..2000)),
    case("a part of a blob: the first byte", |api| part(api, "0-0", 0..1)),
    case("a part of a blob that ends before it begins is 416", |api| no_part(api, "500-0")).mended(SHORT),
    case("a part of a blob that begins behind its end is 416", |api| no_part(api, "5000-10000")).mended(SHORT),
];

/// Its 416 says the length of the blob and has a shorter body.
const SHORT: &str = "end of file before message length reached";

fn missing_blob(api: &Api) -> Outcome {
    api.lacks_blob("pull/missing-blob", &of_bytes(b"not there"))
}

fn blob(api: &Api) -> Outcome {
    let bytes = content("pull blob", 70_000);
    api.push_blob("pull/blob", &bytes)?;
    api.has_blob("pull/blob", &bytes)
}

fn empty_blob(api: &Api) -> Outcome {
    api.push_blob("pull/empty", b"")?;
    api.has_blob("pull/empty", b"")
}

fn missing_manifest(api: &Api) -> Outcome {
    api.lacks_manifest("pull/missing", "v1")?;
    api.lacks_manifest("pull/missing", &of_bytes(b"not there"))
}

fn image(api: &Api) -> Outcome {
    let image = Manifest::image("pull image");
    api.push("pull/image", "v1", &image)?;
    for reference in ["v1", &image.digest] {
        api.has_manifest("pull/image", reference, &image)?;
    }
    image.blobs.iter().try_for_each(|blob| api.has_blob("pull/image", blob))
}

fn index(api: &Api) -> Outcome {
    let images = ["one", "two"].map(|word| Manifest::image(&format!("pull index {word}")));
    for image in &images {
        api.push("pull/index", &image.digest, image)?;
    }
    let index = Manifest::index(&[&images[0], &images[1]]);
    api.push("pull/index", "v1", &index)?;
    api.has_manifest("pull/index", "v1", &index)?;
    api.has_manifest("pull/index", &index.digest, &index)?;
    images.iter().try_for_each(|image| api.has_manifest("pull/index", &image.digest, image))
}

fn strange_manifest(api: &Api) -> Outcome {
    let more = serde_json::json!({ "annotations": { "a": "\u{e9}<&>\n" }, "unknown": [1, 2.50, null] });
    let plain = Manifest::image_with("pull strange", &more);
    let spaced = [b"\n  ", &plain.bytes[..], b"\n\t"].concat();
    let strange = Manifest { digest: of_bytes(&spaced), bytes: spaced, ..plain };
    api.push("pull/strange", "v1", &strange)?;
    api.has_manifest("pull/strange", "v1", &strange)
}

fn no_digest_of_a_blob(api: &Api) -> Outcome {
    let url = api.url("pull/no-digest", "blobs/sha256:totallywrong");
    code(&api.client().get(url).ask()?.expect_status(400)?, &["DIGEST_INVALID", "BLOB_UNKNOWN"])
}

fn no_digest_of_a_manifest(api: &Api) -> Outcome {
    let answer = api.manifest("pull/no-digest", "sha256:totallywrong").ask()?.expect_status(400)?;
    code(&answer, &["DIGEST_INVALID", "MANIFEST_INVALID", "MANIFEST_UNKNOWN"])
}

fn no_name(api: &Api) -> Outcome {
    let answer = api.manifest("pull/No-Name", "v1").ask()?;
    ensure(matches!(answer.status.as_u16(), 400 | 404), format_args!("status {}", answer.status))
}

/// The part comes first, before anybody has asked for the whole, and then behind it.
fn part(api: &Api, asked: &str, expected: std::ops::Range<usize>) -> Outcome {
    let bytes = content(&format!("pull part {asked}"), 2000);
    let digest = api.push_blob("pull/part", &bytes)?;
    let url = api.url("pull/part", &format!("blobs/{digest}"));
    for _ in 0..2 {
        let question = api.client().get(&url).header("range", format!("bytes={asked}"));
        let part = question.ask()?.expect_status(206)?;
        let range = format!("bytes {}-{}/2000", expected.start, expected.end - 1);
        equal("range", &part.header("content-range"), &range.as_str())?;
        ensure(part.body == bytes[expected.clone()], "other bytes")?;
        api.has_blob("pull/part", &bytes)?;
    }
    Ok(())
}

fn no_part(api: &Api, asked: &str) -> Outcome {
    let bytes = content(&format!("pull no part {asked}"), 2000);
    let digest = api.push_blob("pull/part", &bytes)?;
    let url = api.url("pull/part", &format!("blobs/{digest}"));
    for _ in 0..2 {
        api.client().get(&url).header("range", format!("bytes={asked}")).ask()?.expect_status(416)?;
        api.has_blob("pull/part", &bytes)?;
    }
    Ok(())
}
