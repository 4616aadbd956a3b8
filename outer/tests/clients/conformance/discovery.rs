//! Content discovery: lists of tags, and of what refers to a manifest. docker-registry 2.8 gives all tags at once and
//! knows no referrers.

use registry_proxy_outer::Outcome;
use registry_proxy_outer::digest::{hex, of_bytes};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::image::layout::INDEX;
use serde_json::json;

use super::api::{Api, Manifest, code};
use super::{Case, case};

pub(super) const CASES: &[Case] = &[
    case("the tags of a repository that is not there are 404", no_repository),
    case("the tags are those that were pushed, each at once", tags),
    case("so many tags are so many", |api| page(api, "count", "?n=2", &["a", "b"])).deviates("tags"),
    case("the tags behind one are those behind it", |api| page(api, "last", "?last=b", &["c", "d"]))
        .deviates("tags"),
    case("so many tags behind one", |api| page(api, "both", "?n=1&last=a", &["b"])).deviates("tags"),
    case("no tags are none", |api| page(api, "none", "?n=0", &[])).deviates("tags"),
    case("more tags than there are: all", |api| page(api, "more", "?n=100", &["a", "b", "c", "d"])),
    case("a list of nothing that refers is empty", no_referrers).deviates("status 404 "),
    case("a list of what refers has it at once", referrers).deviates("status 404 "),
    case("where there is no list of what refers, that is 404 and the tag leads there", fallback_tag),
];

fn no_repository(api: &Api) -> Outcome {
    for _ in 0..2 {
        let answer = api.client().get(api.url("discovery/nothing", "tags/list")).ask()?.expect_status(404)?;
        code(&answer, &["NAME_UNKNOWN"])?;
    }
    Ok(())
}

fn tags(api: &Api) -> Outcome {
    let (image, mut expected) = (Manifest::image("discovery tags"), Vec::new());
    for tag in ["1.0", "1.1", "latest"] {
        api.push("discovery/tags", tag, &image)?;
        expected.push(tag.to_owned());
        for _ in 0..2 {
            equal("tags", &api.tags("discovery/tags", "")?, &expected)?;
        }
    }
    let listed = api.client().get(api.url("discovery/tags", "tags/list")).ask()?;
    equal("name", &listed.json()?["name"], &json!(api.name("discovery/tags")))
}

fn page(api: &Api, name: &str, query: &str, expected: &[&str]) -> Outcome {
    let repository = format!("discovery/page-{name}");
    let image = Manifest::image(&format!("discovery page {name}"));
    for tag in ["b", "d", "a", "c"] {
        api.push(&repository, tag, &image)?;
    }
    for _ in 0..2 {
        equal("tags", &api.tags(&repository, query)?, &expected.iter().map(|tag| (*tag).to_owned()).collect())?;
    }
    Ok(())
}

fn no_referrers(api: &Api) -> Outcome {
    let url = api.url("discovery/referrers", &format!("referrers/{}", of_bytes(b"nothing")));
    let listed = api.client().get(url).ask()?.expect_status(200)?;
    equal("type", &listed.header("content-type"), &INDEX)?;
    equal("manifests", &listed.json()?["manifests"], &json!([]))
}

/// An image, and something that refers to it.
fn pair(api: &Api, repository: &str) -> Outcome<[Manifest; 2]> {
    let image = Manifest::image(&format!("{repository} image"));
    api.push(repository, "v1", &image)?;
    let more = json!({ "artifactType": "application/vnd.example.note", "subject": image.descriptor() });
    let referrer = Manifest::image_with(&format!("{repository} referrer"), &more);
    api.push(repository, &referrer.digest, &referrer)?;
    Ok([image, referrer])
}

fn referrers(api: &Api) -> Outcome {
    let [image, referrer] = pair(api, "discovery/has-referrers")?;
    let url = api.url("discovery/has-referrers", &format!("referrers/{}", image.digest));
    for (query, count) in [("", 1), ("?artifactType=application/vnd.example.note", 1), ("?artifactType=a/b", 0)] {
        let listed = api.client().get(format!("{url}{query}")).ask()?.expect_status(200)?;
        let listed = listed.json()?["manifests"].as_array().cloned().unwrap_or_default();
        equal("referrers", &listed.len(), &count)?;
        ensure(listed.iter().all(|listed| listed["digest"] == referrer.digest), "another referrer")?;
    }
    Ok(())
}

fn fallback_tag(api: &Api) -> Outcome {
    let repository = "discovery/fallback";
    let [image, referrer] = pair(api, repository)?;
    let url = api.url(repository, &format!("referrers/{}", image.digest));
    let tag = format!("sha256-{}", hex(&image.digest));
    for time in 0..2 {
        let listed = api.client().get(&url).ask()?;
        if listed.status == 200 {
            return equal("referrers", &listed.json()?["manifests"][0]["digest"], &json!(referrer.digest));
        }
        listed.expect_status(404)?;
        let index = Manifest::index(&[&referrer]);
        if time == 0 {
            api.lacks_manifest(repository, &tag)?;
            api.push(repository, &tag, &index)?;
        }
        api.has_manifest(repository, &tag, &index)?;
    }
    Ok(())
}
