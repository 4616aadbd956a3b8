//! What is said of an image is what a request for it then meets, and nothing is sent to find out.

use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::explain::{Explanation, PartReport, PartState};
use registry_proxy_core::testing::{Fault, stored_nowhere};

use crate::fixture::{Fixture, HOST_NAME, OCI_INDEX, OCI_MANIFEST, manifest_of, noise, upstream};

const V1: &str = "/v2/a/b/manifests/v1";

fn settings(text: &str) -> String {
    let upstreams = if text.contains("[[upstream]]") { String::new() } else { upstream("") };
    format!("public_url='https://{HOST_NAME}'\n{text}\n{upstreams}")
}

fn caching(text: &str) -> Fixture {
    Fixture::caching(&settings(text))
}

/// What is said of it; nothing may be sent for that.
async fn told(lab: &Fixture, text: &str, image: &str) -> Explanation {
    let text = settings(text);
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    let before = lab.net.lines();
    let explanation = lab.proxy.explain(&config.expect("a configuration"), image).await;
    assert_eq!(lab.net.lines(), before, "somebody was asked");
    explanation
}

/// An image `a/b:v1` of one platform: digests of index, manifest and layer.
fn image(lab: &Fixture) -> [String; 3] {
    let layer = lab.registry.put_blob("a/b", noise(5000));
    let manifest = format!(r#"{{"config":{{"digest":"{layer}","size":5000}},"layers":[]}}"#);
    let manifest = lab.registry.put_manifest("a/b", "amd64", OCI_MANIFEST, manifest);
    let index = format!(
        r#"{{"manifests":[{{"digest":"{manifest}","size":9,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#
    );
    [lab.registry.put_manifest("a/b", "v1", OCI_INDEX, index), manifest, layer]
}

fn states(part: &PartReport, into: &mut Vec<PartState>) {
    into.push(part.state);
    part.manifests.iter().chain(&part.blobs).for_each(|child| states(child, into));
}

fn states_of(explanation: &Explanation) -> Vec<PartState> {
    let mut all = Vec::new();
    explanation.manifest.iter().for_each(|part| states(part, &mut all));
    all
}

#[tokio::test(start_paused = true)]
async fn what_is_said_is_what_a_pull_then_does() {
    let text = "[cache]\ntag_ttl='60s'\nstale_if_error='1h'";
    let lab = caching(text);
    let [index, manifest, layer] = image(&lab);
    for (wait, said, done) in [
        (0, "fill", "filled"),
        (0, "hit", "hit"),
        (59, "hit", "hit"),
        (1, "revalidate", "revalidated"),
        (59, "hit", "hit"),
    ] {
        lab.wait(wait).await;
        assert_eq!(told(&lab, text, "a/b:v1").await.pull.does, said, "after {wait}");
        assert_eq!(lab.get(V1).await.done(), done, "after {wait}");
    }
    let by_digest = format!("a/b@{manifest}");
    assert_eq!(told(&lab, text, &by_digest).await.pull.does, "fill");
    lab.get(&format!("/v2/a/b/manifests/{manifest}")).await;
    assert_eq!(told(&lab, text, &by_digest).await.pull.does, "hit");
    let before = told(&lab, text, "a/b:v1").await;
    assert_eq!(states_of(&before), [PartState::Here, PartState::Here, PartState::Absent]);
    let tag = before.tag.as_ref().expect("a tag");
    assert!(!tag.would_be_stale, "its layer is not here");
    assert_eq!(tag.not_stale, Some(format!("{layer} of its image is not cached")));
    lab.get(&format!("/v2/a/b/blobs/{layer}")).await;
    lab.wait(11).await;
    let after = told(&lab, text, "a/b:v1").await;
    assert_eq!(states_of(&after), [PartState::Here; 3]);
    let part = &after.manifest.as_ref().expect("a manifest").manifests[0];
    assert_eq!((part.platform.as_deref(), part.blobs[0].size_bytes), (Some("linux/amd64"), Some(5000)));
    let tag = after.tag.expect("a tag");
    assert_eq!((tag.digest.as_deref(), tag.rule.as_str()), (Some(index.as_str()), "cache.tag_ttl"));
    assert_eq!((tag.confirmed_seconds_ago, tag.fresh_seconds, tag.stale_seconds), (Some(70), Some(0), Some(3530)));
    assert!(tag.would_be_stale);
    lab.net.fault("*", "", 99, Fault::Refuse);
    assert_eq!(lab.get(V1).await.done(), "stale");
    lab.wait(3600).await;
    let tag = told(&lab, text, "a/b:v1").await.tag.expect("a tag");
    assert_eq!((tag.stale_seconds, tag.would_be_stale), (None, false));
}

#[tokio::test(start_paused = true)]
async fn one_image_has_many_names() {
    let text =
        format!("catalogue=true\n{}hosts=['reg.proxy.example']\n[[upstream]]\nname='docker.io'\n", upstream(""));
    let lab = caching(&text);
    for (image, upstream, repository, by) in [
        ("a/b:v1", "reg.example", "a/b", "default"),
        ("reg.example/a/b:v1", "reg.example", "a/b", "first part"),
        ("reg.proxy.example/a/b:v1", "reg.example", "a/b", "virtual host"),
        ("proxy.example/a/b:v1", "reg.example", "a/b", "default"),
        ("proxy.example/docker.io/alpine", "docker.io", "library/alpine", "first part"),
        ("docker.io/alpine", "docker.io", "library/alpine", "first part"),
        (
            "ghcr.io/o/i@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "ghcr.io",
            "o/i",
            "first part",
        ),
    ] {
        let explanation = told(&lab, &text, image).await;
        let way = explanation.route.expect(image);
        assert_eq!((way.upstream.as_str(), way.repository.as_str()), (upstream, repository), "{image}");
        assert!(way.by.contains(by), "{image}: {}", way.by);
        assert_eq!(explanation.pull.does, "fill", "{image}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_said_with_what_would_help() {
    let deny = upstream("repositories={deny=['a/secret']}");
    let lab = caching(&deny);
    for (image, why, advice) in [
        (
            "other.example/o/i",
            "does not serve that registry (404)",
            "name = \"other.example\"\nurls = [\"https://other.example\"]",
        ),
        ("quay.io/o/i", "does not serve that registry (404)", "set catalogue = true"),
        ("a/secret", "not served by this proxy (403)", ""),
        ("a/B", "invalid repository name", ""),
        ("a/b:-", "invalid tag", ""),
        ("a/b@sha256:12", "digest", ""),
    ] {
        let pull = told(&lab, &deny, image).await.pull;
        assert_eq!(pull.does, "refuse", "{image}");
        assert!(pull.why.contains(why), "{image}: {}", pull.why);
        assert!(pull.advice.unwrap_or_default().contains(advice), "{image}");
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_are_named_and_passwords_are_not() {
    let text = upstream(
        "username='robot'\npassword='hunter-1'\ncredentials=[{prefix='a/',username='one',password='hunter-2'},{prefix='a/',username='two',password='hunter-3'}]",
    );
    let lab = caching(&text);
    for (image, accounts) in
        [("a/b", vec![("one", "credentials[0]"), ("two", "credentials[1]")]), ("c/d", vec![("robot", "username")])]
    {
        let explanation = told(&lab, &text, image).await;
        let asked = explanation.upstream.as_ref().expect("an upstream");
        let shown: Vec<_> = asked
            .accounts
            .iter()
            .map(|account| (account.name.as_deref().unwrap_or(""), account.from.as_str()))
            .collect();
        assert_eq!(shown, accounts);
        assert!(!format!("{explanation:?}").contains("hunter"));
    }
}

#[tokio::test(start_paused = true)]
async fn rules_offline_and_no_store_are_said() {
    let text = "[cache]\ntags=[{match='reg.example/**:v1',revalidate='never'}]";
    let mut lab = caching(text);
    image(&lab);
    lab.get(V1).await;
    let tag = told(&lab, text, "a/b:v1").await.tag.expect("a tag");
    assert_eq!((tag.rule.as_str(), tag.revalidate.as_str()), ("cache.tags: reg.example/**:v1", "never"));
    assert_eq!(tag.fresh_seconds, None);
    lab.wait(1).await;
    let offline = "[cache]\noffline=true";
    lab.restart(&settings(offline));
    let pull = told(&lab, offline, "a/b:v1").await.pull;
    assert_eq!((pull.does, pull.why.as_str()), ("hit", "offline"));
    assert_eq!(told(&lab, offline, "a/b:v2").await.pull.does, "refuse");
    let bare = Fixture::new(&settings(""));
    assert_eq!(told(&bare, "", "a/b:v1").await.pull.does, "relay");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_must_be_let_in_for_is_asked_about() {
    let text = "[clients]\nauth='upstream'";
    let lab = caching(text).with_tokens();
    image(&lab);
    let nobody = lab.anonymous().await;
    assert_eq!(lab.get(V1).bearer(&nobody).await.status, 200);
    lab.wait(61).await;
    let explanation = told(&lab, text, "a/b:v1").await;
    assert_eq!(explanation.pull.does, "revalidate");
    assert!(explanation.pull.why.contains("may see it"), "{}", explanation.pull.why);
    assert_eq!(states_of(&explanation)[0], PartState::HereUnproven);
}

#[tokio::test(start_paused = true)]
async fn what_another_repository_has_is_here_and_not_yet_this_ones() {
    let lab = caching("");
    let manifest = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.get(V1).await;
    let explanation = told(&lab, "", &format!("a/other@{manifest}")).await;
    assert_eq!(explanation.pull.does, "revalidate");
    assert_eq!(states_of(&explanation), [PartState::HereUnproven]);
}

#[tokio::test(start_paused = true)]
async fn with_a_path_secret_an_address_is_explained_as_it_would_be_answered() {
    let text = "[clients]\npath_secret_file='f'";
    // What the fixture's files hold.
    let secret = "what-is-in-f";
    let lab = caching(text);
    image(&lab);
    for (image, path, does, status) in [
        (format!("http://{HOST_NAME}/{secret}/a/b:v1"), format!("/v2/{secret}/a/b/manifests/v1"), "fill", 200),
        (format!("{HOST_NAME}/{secret}/a/b:v1"), format!("/{secret}/v2/a/b/manifests/v1"), "hit", 200),
        (
            format!("http://{HOST_NAME}/{secret}/v2/a/b/manifests/v1"),
            format!("/{secret}/v2/a/b/manifests/v1"),
            "hit",
            200,
        ),
        ("a/b:v1".to_owned(), format!("/v2/{secret}/a/b/manifests/v1"), "hit", 200),
        (format!("http://{HOST_NAME}/a/b:v1"), "/v2/a/b/manifests/v1".to_owned(), "refuse", 404),
        (format!("http://{HOST_NAME}/wrong/a/b:v1"), "/v2/wrong/a/b/manifests/v1".to_owned(), "refuse", 404),
    ] {
        let explanation = told(&lab, text, &image).await;
        assert_eq!(explanation.pull.does, does, "{image}");
        assert!(!format!("{explanation:?}").contains(secret), "{explanation:?}");
        let advice = explanation.pull.advice.unwrap_or_default();
        assert_eq!(advice.contains("host/<secret>/image"), status == 404, "{image}: {advice}");
        assert_eq!(lab.get(&path).await.status, status, "{path}");
    }
}
