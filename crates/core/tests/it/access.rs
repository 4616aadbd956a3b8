//! Rules that say who (`[[access]]`), in each way in which content of a repository leaves.

mod separation;

use std::sync::Arc;

use registry_proxy_core::testing::{Answer, Gate, Sent, Users, sha256};

use crate::fixture::{Fixture, OCI_MANIFEST, image, manifest_of, noise, upstream};

/// With a key of its own a proxy reads the tokens of the one before it.
const KEYED: &str = "signing_key_file='k'\n[clients]\nauth='users'\nusers_file='u'\n";
const USERS: &str = "[clients]\nauth='users'\nusers_file='u'\n";
const BY_LOGIN: &str = "[clients]\nauth='upstream'\n";

/// A rule for alice.
fn alice(keys: &str) -> String {
    format!("[[access]]\nwho='alice'\n{keys}\n")
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_rule_and_nothing_of_the_others() {
    let rules = "[[access]]\nwho='bob'\nallow=['reg.example/bobs/**']\n[[access]]\nwho='alice'\nallow=['reg.example/a/**']\ndeny=['reg.example/a/secret']\n";
    let lab = Fixture::caching(&format!("{USERS}{rules}{}", upstream("push=true")));
    image(&lab, "a/b", "1");
    image(&lab, "a/secret", "2");
    for (method, path, expected) in [
        ("GET", "a/secret/manifests/v1", "[[access]] rule 2 denies this client this repository"),
        ("GET", "bobs/app/manifests/v1", "no rule of [[access]] allows this client this repository"),
        (
            "PUT",
            "a/b/manifests/v2",
            "[[access]] rule 2 allows this client to pull from this repository, and neither to push nor to delete",
        ),
        (
            "DELETE",
            "a/b/manifests/v1",
            "[[access]] rule 2 allows this client to pull from this repository, and neither to push nor to delete",
        ),
    ] {
        let method = method.parse().expect("a method");
        let seen = lab.call(method, &format!("/v2/{path}")).basic("alice", "wonder").await;
        assert!(seen.is(403, "DENIED"), "{path}: {seen:?}");
        assert_eq!(seen.json()["errors"][0]["message"], expected, "{path}");
        assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"denied by access rule\"", "{path}");
    }
    assert_eq!(lab.get("/v2/a/b/manifests/v1").basic("alice", "wonder").await.status, 200);
}

/// A rule means the registry and the repository, whatever a client calls them.
#[tokio::test(start_paused = true)]
async fn a_repository_is_the_same_by_each_of_its_names() {
    const HUB: &str = "https://registry-1.docker.io";
    let hub = format!("[[upstream]]\nname='docker.io'\nurls=['{HUB}']\ndefault=true\nhosts=['hub.example']\n");
    for (rule, status) in [
        ("allow=['docker.io/library/alpine']", 200),
        ("allow=['docker.io/**']\ndeny=['docker.io/library/*']", 403),
        // These are no names of the repository.
        ("allow=['docker.io/alpine','registry-1.docker.io/**','hub.example/**','alpine','library/**']", 403),
    ] {
        let lab = Fixture::new(&format!("[[access]]\nwho='anonymous'\n{rule}\n{hub}"));
        lab.net.serve(HUB, lab.registry.clone());
        lab.registry.put_manifest("library/alpine", "v1", OCI_MANIFEST, manifest_of(100));
        for path in [
            "/v2/alpine/manifests/v1",
            "/v2/library/alpine/manifests/v1",
            "/v2/docker.io/alpine/manifests/v1",
            "/v2/docker.io/library/alpine/manifests/v1",
            "/docker.io/v2/alpine/manifests/v1",
            "/docker.io/library/alpine/manifests/v1",
            "/v2/alpine/manifests/v1?ns=docker.io",
            "/v2/library/alpine/manifests/v1?ns=registry-1.docker.io",
            "/v2/library/alpine/manifests/v1?ns=index.docker.io",
        ] {
            assert_eq!(lab.get(path).await.status, status, "{rule}: {path}");
        }
        let seen = lab.get("/v2/alpine/manifests/v1").header("host", "hub.example").await;
        assert_eq!(seen.status, status, "{rule}: by its virtual host");
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_is_mounted_only_from_where_the_client_may_pull() {
    let rule = alice("allow=['reg.example/a/**','reg.example/open/**']\npush=true");
    let lab = Fixture::caching(&format!("{USERS}{rule}{}", upstream("push=true")));
    let digest = lab.registry.put_blob("open/app", noise(3000));
    lab.registry.put_blob("secret/app", noise(3000));
    for (query, status) in [
        (format!("mount={digest}&from=open/app"), 201),
        (format!("mount={digest}&from=secret/app"), 202),
        (format!("mount={digest}&from=reg.example/secret/app"), 202),
        // The registry would look for it in all repositories.
        (format!("mount={digest}"), 202),
    ] {
        lab.net.forget();
        let seen = lab.post(&format!("/v2/a/b/blobs/uploads/?{query}")).basic("alice", "wonder").await;
        assert_eq!(seen.status, status, "{query}: {seen:?}");
        let mounts = lab.net.sent("POST", "/blobs/uploads/").iter().any(|sent| sent.parameter("mount").is_some());
        assert_eq!(mounts, status == 201, "{query}");
    }
    // Without rules the registry may look for it.
    let lab = Fixture::caching(&format!("{USERS}{}", upstream("push=true")));
    let seen = lab.post(&format!("/v2/a/b/blobs/uploads/?mount={digest}")).basic("alice", "wonder").await;
    assert!(seen.status.is_success() && lab.net.sent("POST", "/blobs/uploads/")[0].parameter("mount").is_some());
}

/// A registry may accept a manifest that names layers it does not have. What the proxy cached of another repository must not come
/// to light by such a manifest.
#[tokio::test(start_paused = true)]
async fn a_manifest_that_names_a_blob_of_another_repository_opens_nothing() {
    let rules =
        "[[access]]\nwho='alice'\nallow=['**']\n[[access]]\nwho='bob'\nallow=['reg.example/bobs/**']\npush=true\n";
    let lab = Fixture::caching(&format!("{USERS}{rules}{}", upstream("push=true")));
    let (_, layer) = image(&lab, "a/secret", "1");
    for path in ["/v2/a/secret/manifests/v1", &format!("/v2/a/secret/blobs/{layer}")] {
        assert_eq!(lab.get(path).basic("alice", "wonder").await.status, 200, "{path}");
    }
    lab.wait(5).await;
    let naming = format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#);
    lab.registry.put_manifest("bobs/app", "v1", OCI_MANIFEST, naming);
    assert_eq!(lab.get("/v2/bobs/app/manifests/v1").basic("bob", "builder").await.status, 200);
    let path = format!("/v2/bobs/app/blobs/{layer}");
    for call in [lab.get(&path), lab.head(&path), lab.get(&path).header("range", "bytes=0-9")] {
        let seen = call.basic("bob", "builder").await;
        assert_eq!(seen.status, 404, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_gives_what_the_rules_allow_when_it_is_used() {
    let allowed = format!("{KEYED}{}", alice("allow=['reg.example/a/b']"));
    let mut lab = Fixture::caching(&allowed);
    image(&lab, "a/b", "1");
    image(&lab, "c/d", "2");
    let (ours, others) = ("/v2/a/b/manifests/v1", "/v2/c/d/manifests/v1");
    let both = "repository:a/b:pull&scope=repository:c/d:pull";
    let token = lab.login_for("alice", "wonder", both).await;
    assert_eq!(lab.get(ours).bearer(&token).await.status, 200);
    assert!(lab.get(others).bearer(&token).await.is(403, "DENIED"));
    // Another client's rule is no concern of this token, and neither is the order of rules.
    lab.reload(&format!("{KEYED}[[access]]\nwho='bob'\nallow=['**']\n{}", alice("allow=['reg.example/a/b']")));
    assert_eq!(lab.get(ours).bearer(&token).await.status, 200);
    for changed in [
        format!("{KEYED}[[access]]\nwho='bob'\nallow=['**']\n"),
        format!("{KEYED}{}", alice("allow=['reg.example/a/b','reg.example/c/d']")),
        format!("{KEYED}{}", alice("allow=['reg.example/a/b']\ndeny=['reg.example/x']")),
        KEYED.to_owned(),
    ] {
        lab.reload(&changed);
        let seen = lab.get(ours).bearer(&token).await;
        let challenge = seen.header("www-authenticate");
        assert!(seen.status == 401 && challenge.contains("error=\"invalid_token\""), "{changed}: {seen:?}");
        lab.reload(&allowed);
        assert_eq!(lab.get(ours).bearer(&token).await.status, 200, "the rule is back");
    }
    // A token of the time without rules ends with the first rule, and one of a group with the membership.
    lab.reload(KEYED);
    let token = lab.login_for("alice", "wonder", both).await;
    lab.reload(&allowed);
    assert_eq!(lab.get(ours).bearer(&token).await.status, 401);
    let of_group = |members: &str| {
        format!("{KEYED}groups_file=\"all: nobody\\nops: {members}\"\n[[access]]\nwho='group:ops'\nallow=['**']\n")
    };
    lab.reload(&of_group("alice"));
    let token = lab.login_for("alice", "wonder", both).await;
    assert_eq!(lab.get(others).bearer(&token).await.status, 200);
    lab.reload(&of_group("bob"));
    assert_eq!(lab.get(others).bearer(&token).await.status, 401);
    assert!(lab.get(others).basic("alice", "wonder").await.is(403, "DENIED"));
}

/// Anybody can send a user name. It counts once the registry has accepted the login.
#[tokio::test(start_paused = true)]
async fn a_name_that_no_registry_has_confirmed_opens_no_rule() {
    let rules = "[[access]]\nwho='reg.example/alice'\nallow=['**']\n[[access]]\nwho='anonymous'\nallow=['reg.example/open/**']\n";
    let lab = Fixture::caching(&format!("{BY_LOGIN}{rules}"));
    for repository in ["a/b", "open/app"] {
        image(&lab, repository, "1");
    }
    // The registry asks nobody for a login, so it accepts any.
    for call in [
        lab.get("/v2/a/b/manifests/v1").basic("alice", "anything"),
        lab.get("/v2/a/b/manifests/v1").bearer(&lab.login_for("alice", "anything", "repository:a/b:pull").await),
    ] {
        let seen = call.await;
        assert!(seen.is(403, "DENIED"), "{seen:?}");
        assert_eq!(
            seen.json()["errors"][0]["message"],
            "no rule of [[access]] allows this client this repository; the registry could not confirm this login, so it counts as anonymous"
        );
    }
    let seen = lab.get("/v2/open/app/manifests/v1").basic("alice", "anything").await;
    assert_eq!(seen.status, 200, "what is anybody's is this client's, too");
    // A registry that asks for one says who it is.
    let lab = Fixture::caching(&format!("{BY_LOGIN}{rules}")).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    image(&lab, "a/b", "1");
    let token = lab.login("alice", "wonder").await;
    assert_eq!(lab.get("/v2/a/b/manifests/v1").bearer(&token).await.status, 200);
    for _ in 0..2 {
        assert_eq!(lab.get("/v2/a/b/manifests/v1").basic("alice", "wonder").await.status, 200);
        assert!(lab.get("/v2/a/b/manifests/v1").basic("alice", "guess").await.status.is_client_error());
        assert!(lab.get("/v2/a/b/manifests/v1").basic("bob", "builder").await.is(403, "DENIED"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_login_is_told_to_log_in_where_that_may_help() {
    let rules = "[[access]]\nwho='reg.example/alice'\nallow=['reg.example/a/**']\n[[access]]\nwho='anonymous'\nallow=['reg.example/open/**']\n";
    let lab = Fixture::caching(&format!("{BY_LOGIN}{rules}")).with_tokens();
    lab.registry.guard(Gate::Open);
    for repository in ["a/b", "open/app", "c/d"] {
        image(&lab, repository, "1");
    }
    let nobody = lab.anonymous().await;
    let ask = |repository: &str| lab.get(&format!("/v2/{repository}/manifests/v1")).bearer(&nobody);
    assert_eq!(ask("open/app").await.status, 200);
    let seen = ask("a/b").await;
    assert!(seen.status == 401 && seen.header("www-authenticate").contains("repository:a/b:pull"), "{seen:?}");
    assert!(ask("c/d").await.is(403, "DENIED"));
    assert!(lab.net.sent("GET", "/c/d/").is_empty() && lab.net.sent("HEAD", "/c/d/").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_search_finds_what_the_client_may_pull() {
    const INDEX: &str = "https://index.docker.io";
    let found = |_: &Sent| {
        Answer::new(200).body(r#"{"results":[{"name":"alpine"},{"name":"team/app"},{"name":"other/app"}]}"#)
    };
    let hub = "[[upstream]]\nname='docker.io'\nurls=['https://registry-1.docker.io']\ndefault=true\n[page]\nsearch=true\n";
    let rules = "[[access]]\nwho='alice'\nallow=['docker.io/team/**']\n[[access]]\nwho='*'\nallow=['docker.io/library/**']\n";
    let names = |seen: &crate::fixture::Seen| {
        let results = seen.json()["results"].as_array().cloned().unwrap_or_default();
        results.iter().map(|one| one["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let lab = Fixture::new(&format!("{USERS}{rules}{hub}"));
    lab.net.serve(INDEX, found);
    let path = "/v1/search?q=app";
    let token = lab.login("alice", "wonder").await;
    assert_eq!(names(&lab.get(path).bearer(&token).await), ["alpine", "team/app"]);
    assert_eq!(names(&lab.get(path).basic("alice", "wonder").await), ["alpine", "team/app"]);
    assert_eq!(names(&lab.get(path).basic("bob", "builder").await), ["alpine"]);
    let lab = Fixture::new(&format!("{rules}{hub}"));
    lab.net.serve(INDEX, found);
    assert_eq!(names(&lab.get(path).basic("alice", "wonder").await), ["alpine"], "an open proxy knows nobody");
}

#[tokio::test(start_paused = true)]
async fn the_administration_page_tells_a_reader_of_what_that_reader_may_pull() {
    let rules = "[[access]]\nwho='alice'\nallow=['**']\n[[access]]\nwho='bob'\nallow=['reg.example/open/**']\n";
    let lab = Fixture::caching(&format!("{USERS}{rules}[page]\nadmins=['bob']\n"));
    for repository in ["a/secret", "open/app"] {
        let (_, layer) = image(&lab, repository, repository);
        for path in [format!("/v2/{repository}/manifests/v1"), format!("/v2/{repository}/blobs/{layer}")] {
            assert_eq!(lab.get(&path).basic("alice", "wonder").await.status, 200, "{path}");
        }
    }
    lab.wait(5).await;
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    for (user, password, is_told) in [("alice", "wonder", true), ("bob", "builder", false)] {
        let page = |path: &str| lab.get(&format!("/-/{path}")).basic(user, password);
        let images = text(&page("images").await.body);
        assert!(images.contains("open/app"), "{user}: {images}");
        assert_eq!(images.contains("a/secret"), is_told, "{user}: {images}");
        let tags = text(&page("tags?image=reg.example/a/secret").await.body);
        assert_eq!(tags.contains("secret%3Av1"), is_told, "{user}: {tags}");
        assert_eq!(tags.contains("no rule of [[access]]"), !is_told, "{user}: {tags}");
        let explained = text(&page("explain?image=reg.example/a/secret:v1").await.body);
        assert_eq!(explained.contains("sha256:"), is_told, "{user}: {explained}");
        assert_eq!(explained.contains("no rule of [[access]]"), !is_told, "{user}: {explained}");
    }
}

/// What lies in the storage has no repository.
#[tokio::test(start_paused = true)]
async fn the_storage_is_relayed_to_everybody_only_without_rules() {
    use crate::fixture::{ORIGIN, Setup};

    const STORE: &str = "https://cdn.up.example.com";
    let variables = [("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", STORE)];
    for (text, is_relayed) in [("", true), ("[[access]]\nwho='*'\nallow=['**']\n", false)] {
        let lab = Fixture::set_up(&Setup { text, variables: &variables, ..Setup::default() });
        lab.net.serve(STORE, |_: &Sent| Answer::new(200).body("bytes"));
        let seen = lab.get("/data/blob?signature=x").await;
        assert_eq!(seen.status == 200, is_relayed, "{text}: {seen:?}");
    }
}

/// Users besides alice and bob.
fn people(lab: &mut Fixture) {
    let users = ["alice", "bob", "carol", "dave", "root"];
    lab.platform.passwords = Some(Arc::new(Users(users.map(|user| (user, "pass")).to_vec())));
}

/// What the tests of this module pull.
fn put_image(registry: &registry_proxy_core::testing::Registry, repository: &str, text: &str) -> (String, String) {
    let layer = registry.put_blob(repository, noise(5000));
    let manifest = format!(r#"{{"layers":[{{"digest":"{layer}"}}],"annotations":{{"a":"{text}"}}}}"#);
    assert_eq!(layer, sha256(&noise(5000)));
    (registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest), layer)
}
