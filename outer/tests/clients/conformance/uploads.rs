//! Pushing: uploads of blobs, in one piece and in many.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::digest::of_bytes;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::http::Answer;

use super::api::{Api, code, content};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("a blob that was asked for in vain is there once it is uploaded", asked_before),
    case("a blob comes in one PUT", monolithic),
    case("a blob comes in one POST, or in a PUT behind it", single_post),
    case("a blob comes in one PATCH and an empty PUT", streamed),
    case("a blob comes in chunks, the last in the PUT", in_chunks),
    case("an upload tells how far it has come", status),
    case("a chunk that leaves a gap is 416", gap).deviates("status 202 "),
    case("a chunk that comes twice is 416", twice).deviates("status 202 "),
    case("a blob by another digest than its own is 400, and not there", wrong_digest),
    case("an upload by a digest that is none is 400", no_digest),
    case("an upload that was given up goes on nowhere", given_up),
    case("an upload that nobody began goes on nowhere", unknown),
    case("a blob that is there may be uploaded again", again),
];

const OCTETS: &str = "application/octet-stream";

fn asked_before(api: &Api) -> Outcome {
    let bytes = content("upload asked before", 5000);
    api.lacks_blob("upload/asked-before", &of_bytes(&bytes))?;
    api.push_blob("upload/asked-before", &bytes)?;
    api.has_blob("upload/asked-before", &bytes)
}

fn monolithic(api: &Api) -> Outcome {
    let bytes = content("upload monolithic", 200_000);
    api.push_blob("upload/monolithic", &bytes)?;
    api.has_blob("upload/monolithic", &bytes)
}

fn single_post(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload single post", 5000), "upload/single-post");
    let digest = of_bytes(&bytes);
    api.lacks_blob(repository, &digest)?;
    let question = api.client().post(api.url(repository, &format!("blobs/uploads/?digest={digest}")));
    let answer = question.header("content-type", OCTETS).body(bytes.clone()).ask()?;
    if answer.status == 202 {
        // It has not taken the body, and says so.
        api.lacks_blob(repository, &digest)?;
        api.close(&api.follow(&answer)?, &digest, &bytes)?.expect_status(201)?;
    } else {
        answer.expect_status(201)?;
    }
    api.has_blob(repository, &bytes)
}

fn streamed(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload streamed", 5000), "upload/streamed");
    let session = api.begin(repository)?;
    let question = api.client().patch(session).header("content-type", OCTETS);
    let answer = question.body(bytes.clone()).ask()?.expect_status(202)?;
    equal("range", &answer.header("range"), &"0-4999")?;
    api.close(&api.follow(&answer)?, &of_bytes(&bytes), b"")?.expect_status(201)?;
    api.has_blob(repository, &bytes)
}

/// The first chunks of an upload; tells where it goes on.
fn chunks(api: &Api, repository: &str, bytes: &[u8], size: usize) -> Outcome<Answer> {
    let question = api.client().post(api.url(repository, "blobs/uploads/"));
    let mut answer = question.ask()?.expect_status(202)?;
    for (number, chunk) in bytes.chunks(size).enumerate() {
        let first = number * size;
        answer = api.chunk(&api.follow(&answer)?, first, chunk)?.expect_status(202)?;
        let come = format!("0-{}", first + chunk.len() - 1);
        equal("range", &answer.header("range"), &come.as_str())?;
    }
    Ok(answer)
}

fn in_chunks(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload in chunks", 5000), "upload/in-chunks");
    let answer = chunks(api, repository, &bytes[..4000], 1000)?;
    api.lacks_blob(repository, &of_bytes(&bytes))?;
    let done = api.close(&api.follow(&answer)?, &of_bytes(&bytes), &bytes[4000..])?.expect_status(201)?;
    api.created(&done)?;
    api.has_blob(repository, &bytes)
}

fn status(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload status", 3000), "upload/status");
    let answer = chunks(api, repository, &bytes[..2000], 2000)?;
    let told = api.client().get(api.follow(&answer)?).ask()?.expect_status(204)?;
    equal("range", &told.header("range"), &"0-1999")?;
    let done = api.close(&api.follow(&told)?, &of_bytes(&bytes), &bytes[2000..])?.expect_status(201)?;
    api.created(&done)?;
    api.has_blob(repository, &bytes)
}

fn gap(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload gap", 3000), "upload/gap");
    let answer = chunks(api, repository, &bytes[..1000], 1000)?;
    let session = api.follow(&answer)?;
    api.chunk(&session, 2000, &bytes[2000..])?.expect_status(416)?;
    // It goes on where it was.
    let answer = api.chunk(&session, 1000, &bytes[1000..])?.expect_status(202)?;
    api.close(&api.follow(&answer)?, &of_bytes(&bytes), b"")?.expect_status(201)?;
    api.has_blob(repository, &bytes)
}

fn twice(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload twice", 2000), "upload/twice");
    let answer = chunks(api, repository, &bytes[..1000], 1000)?;
    api.chunk(&api.follow(&answer)?, 0, &bytes[..1000])?.expect_status(416)?;
    Ok(())
}

fn wrong_digest(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload wrong digest", 3000), "upload/wrong-digest");
    let other = of_bytes(b"another");
    let refused = api.close(&api.begin(repository)?, &other, &bytes)?.expect_status(400)?;
    code(&refused, &["DIGEST_INVALID", "BLOB_UPLOAD_INVALID"])?;
    api.lacks_blob(repository, &other)?;
    api.lacks_blob(repository, &of_bytes(&bytes))
}

fn no_digest(api: &Api) -> Outcome {
    let refused = api.close(&api.begin("upload/no-digest")?, "sha256:totallywrong", b"abc")?.expect_status(400)?;
    code(&refused, &["DIGEST_INVALID", "BLOB_UPLOAD_INVALID"])
}

fn given_up(api: &Api) -> Outcome {
    let (bytes, repository) = (content("upload given up", 2000), "upload/given-up");
    let session = api.follow(&chunks(api, repository, &bytes[..1000], 1000)?)?;
    api.client().delete(&session).ask()?.expect_status(204)?;
    for answer in [
        api.chunk(&session, 1000, &bytes[1000..])?,
        api.close(&session, &of_bytes(&bytes), &bytes[1000..])?,
        api.client().get(&session).ask()?,
        api.client().delete(&session).ask()?,
    ] {
        code(&answer.expect_status(404)?, &["BLOB_UPLOAD_UNKNOWN"])?;
    }
    api.lacks_blob(repository, &of_bytes(&bytes))
}

fn unknown(api: &Api) -> Outcome {
    let url = api.url("upload/unknown", "blobs/uploads/4e56c8c3-7c4a-4f1c-a5a3-0c9b0d6f0f5e");
    for answer in [api.client().get(&url).ask()?, api.close(&url, &of_bytes(b"abc"), b"abc")?] {
        ensure(matches!(answer.status.as_u16(), 400 | 404), format_args!("status {}", answer.status))?;
        code(&answer, &["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"])?;
    }
    Ok(())
}

fn again(api: &Api) -> Outcome {
    let bytes = content("upload again", 5000);
    for _ in 0..2 {
        api.push_blob("upload/again", &bytes)?;
        api.has_blob("upload/again", &bytes)?;
    }
    Ok(())
}
