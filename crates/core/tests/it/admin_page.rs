//! The administration page at `/-/`: who reads it, what a reader is told, and who may purge.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use registry_proxy_core::testing::{Fault, Registry};
use sha2::{Digest as _, Sha256};

use crate::fixture::{Call, Fixture, Lines, OCI_MANIFEST, Seen, manifest_of, upstream};

const USERS: &str = "[clients]\nauth='users'\nusers_file='u'\n[page]\nadmins=['alice']";
const ACCOUNTS: &str = "[clients]\nauth='upstream'\n[page]\nadmins=['reg.example/alice']";

/// A browser of this user, whose password is the usual one.
fn browse(lab: &Fixture, user: &str, path: &str) -> Call {
    let password = if user == "alice" { "wonder" } else { "builder" };
    lab.get(path).basic(user, password)
}

/// The text of a page, with its entities resolved.
fn text(seen: &Seen) -> String {
    let html = String::from_utf8(seen.body.to_vec()).expect("UTF-8");
    [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")]
        .into_iter()
        .fold(html, |html, (entity, letter)| html.replace(entity, letter))
}

/// Content in memory, images `a/b:v1` and `a/c:v1` at the registry.
fn lab(settings: &str) -> Fixture {
    let lab = Fixture::caching(&format!("{settings}\n{}", upstream("")));
    for (repository, size) in [("a/b", 10), ("a/c", 5000)] {
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(size));
    }
    lab
}

/// As a client of this user.
async fn pull(lab: &Fixture, user: &str, image: &str) -> Seen {
    browse(lab, user, &format!("/v2/{image}/manifests/v1")).await
}

async fn settle(lab: &Fixture) {
    assert!(lab.proxy.flush(std::time::Duration::from_secs(5)).await, "all is written");
}

#[tokio::test(start_paused = true)]
async fn where_nobody_logs_in_there_is_no_page_and_a_word_why() {
    for (settings, word) in [
        ("", "page.listen"),
        ("[page]\nlisten='127.0.0.1:1'", "page.listen"),
        ("platform='cloudflare-workers'", "there is no administration page on this platform"),
    ] {
        let seen = lab(settings).get("/-/").header("accept", "text/html").await;
        assert_eq!(seen.status, 404, "{settings}");
        assert!(text(&seen).contains(word), "{settings}: {}", text(&seen));
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_opens_for_a_right_login_only() {
    for settings in [USERS, "[clients]\nusers_file='u'\n[page]\nauth='users'"] {
        let lab = lab(settings);
        for path in ["/-/", "/-/images", "/-/explain?image=a/b", "/-/tags", "/reg.example/-/"] {
            let seen = lab.get(path).await;
            assert_eq!(seen.status, 401, "{path}");
            assert_eq!(seen.header("www-authenticate"), "Basic realm=\"registry-proxy\", charset=\"UTF-8\"");
            assert_eq!(lab.get(path).basic("alice", "builder").await.status, 401, "{path}");
            assert_eq!(browse(&lab, "alice", path).await.status, 200, "{path}");
            assert_eq!(browse(&lab, "bob", path).await.status, 200, "{path}");
        }
        assert_eq!(browse(&lab, "alice", "/-/other").await.status, 404);
        assert_eq!(lab.post("/-/").basic("alice", "wonder").await.status, 405);
        assert_eq!(browse(&lab, "alice", "/-/orders").await.status, 405);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_path_secret_the_page_is_behind_it_too() {
    let lab = lab("[clients]\nauth='users'\nusers_file='u'\npath_secret_file='secret'");
    assert_eq!(browse(&lab, "alice", "/-/").await.status, 404);
    let seen = browse(&lab, "alice", "/what-is-in-secret/-/").await;
    assert_eq!(seen.status, 200);
    assert!(text(&seen).contains("href=\"/what-is-in-secret/-/images?lang=en\""));
}

#[tokio::test(start_paused = true)]
async fn its_policy_lets_nothing_in_and_names_its_styles() {
    let lab = lab(USERS);
    let seen = browse(&lab, "alice", "/-/").await;
    let html = String::from_utf8(seen.body.to_vec()).unwrap();
    let styles = html.split("<style>").skip(1).map(|rest| rest.split("</style>").next().unwrap());
    let hashes = styles.map(|style| format!(" 'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(style))));
    let hashes = hashes.collect::<Vec<_>>().concat();
    assert_eq!(
        seen.header("content-security-policy"),
        format!(
            "default-src 'none'; style-src{hashes}; script-src 'none'; img-src data:; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        )
    );
    assert!(!html.contains("<script") && !html.contains("style=") && !html.contains("http"), "{html}");
    assert_eq!(seen.header("referrer-policy"), "same-origin");
    assert_eq!(seen.header("cache-control"), "no-store, no-transform");
    assert_eq!(seen.header("vary"), "Authorization, Accept-Language");
}

#[tokio::test(start_paused = true)]
async fn a_full_page_is_small_on_the_wire() {
    let lab = lab(USERS);
    for minute in 0..60 {
        pull(&lab, "alice", "a/b").await;
        lab.wait(if minute < 59 { 60 } else { 0 }).await;
    }
    for path in ["/-/", "/-/images", "/-/explain?image=a/b:v1", "/-/tags?image=a/b"] {
        let seen = browse(&lab, "alice", path).await;
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(&seen.body).unwrap();
        let bytes = packer.finish().unwrap().len();
        assert!(bytes < 60 << 10, "{path}: {bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_speaks_the_readers_language_and_keeps_what_was_asked() {
    let lab = lab(USERS);
    for (path, accepted, language, word) in [
        ("/-/", "en", "en", "The cache"),
        ("/-/", "zh-CN,zh;q=0.9", "zh-CN", "命中率"),
        ("/-/?lang=zh", "en", "zh-CN", "命中率"),
        ("/-/images?lang=en", "zh", "en", "Longest unused"),
        ("/-/explain?lang=zh", "en", "zh-CN", "拉取该镜像会发生什么"),
        ("/-/tags?lang=zh", "en", "zh-CN", "查询哪个镜像的标签"),
    ] {
        let seen = browse(&lab, "alice", path).header("accept-language", accepted).await;
        assert_eq!(seen.header("content-language"), language, "{path}");
        assert!(text(&seen).contains(word), "{path}: {}", text(&seen));
    }
    let seen = browse(&lab, "alice", "/-/explain?image=a/b%3Av1").await;
    assert!(text(&seen).contains("href=\"/-/explain?lang=zh&image=a%2Fb%3Av1\""), "{}", text(&seen));
}

#[tokio::test(start_paused = true)]
async fn the_plots_count_what_clients_got() {
    let lab = lab(USERS);
    for _ in 0..4 {
        assert_eq!(pull(&lab, "alice", "a/b").await.status, 200);
    }
    for period in ["hour", "day", "week"] {
        let html = text(&browse(&lab, "bob", &format!("/-/?period={period}")).await);
        assert!(html.contains(": 75 %"), "three of four: {html}");
        assert_eq!(html.matches("<svg").count(), 3, "{period}");
        assert_eq!(html.matches("<details>").count(), 3, "a table beside each");
    }
    let before = text(&browse(&lab, "bob", "/-/?period=week").await);
    lab.wait(3600).await;
    assert!(text(&browse(&lab, "bob", "/-/").await).contains("Last hour: –"), "an hour later");
    assert!(
        before.contains("Last week: 75 %")
            && text(&browse(&lab, "bob", "/-/?period=day").await).contains(": 75 %")
    );
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_counted() {
    let text_of = |settings: &str| format!("{settings}\n{}", upstream(""));
    let mut lab = lab(USERS);
    pull(&lab, "alice", "a/b").await;
    pull(&lab, "alice", "a/b").await;
    lab.reload(&text_of(USERS));
    assert!(text(&browse(&lab, "bob", "/-/").await).contains("Last hour: 50 %"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_is_shown_as_that() {
    let lab = lab(USERS);
    assert!(text(&browse(&lab, "bob", "/-/").await).contains("<td>well</td>"));
    lab.net.fault("GET", "/v2/", 9, Fault::Refuse);
    assert_ne!(pull(&lab, "alice", "a/b").await.status, 200);
    let html = text(&browse(&lab, "bob", "/-/").await);
    assert!(html.contains("the connection was refused; not asked for"), "{html}");
    assert!(!html.contains("origin.up"), "no address of an upstream");
}

/// Who sees which image, by hand: the registry lets alice and nobody else read `a/secret`, and everybody `a/public`.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_an_image_that_a_pull_would_not_tell_of() {
    let lab = Fixture::caching(&format!("{ACCOUNTS}\n{}", upstream(""))).with_tokens();
    lab.registry.add_user("alice", "wonder");
    lab.registry.add_user("bob", "builder");
    lab.registry.make_private("a/secret", &["alice"]);
    for repository in ["a/secret", "a/public"] {
        lab.registry.put_manifest(repository, "v1", OCI_MANIFEST, manifest_of(10));
    }
    let tells = async |user: &str, image: &str| {
        let images = text(&browse(&lab, user, "/-/images").await).contains(&format!("reg.example/{image}:v1"));
        let explained = text(&browse(&lab, user, &format!("/-/explain?image={image}:v1")).await);
        assert_eq!(explained.contains("A pull would"), images, "explain says as much: {user} {image} {explained}");
        images
    };
    // Who has pulled what within the last minute, and what alice and bob are told of `a/secret` and `a/public`.
    for (pulls, expected) in [
        (&[][..], [false, false, false, false]),
        (&[("alice", "a/secret")], [true, false, false, false]),
        (&[("bob", "a/secret")], [false, false, false, false]),
        (&[("alice", "a/public")], [false, true, false, false]),
        (&[("bob", "a/public")], [false, false, false, true]),
        (&[("alice", "a/secret"), ("alice", "a/public"), ("bob", "a/public")], [true, true, false, true]),
    ] {
        lab.wait(120).await;
        for (user, image) in pulls {
            pull(&lab, user, image).await;
        }
        settle(&lab).await;
        let mut told = Vec::new();
        for (user, image) in
            [("alice", "a/secret"), ("alice", "a/public"), ("bob", "a/secret"), ("bob", "a/public")]
        {
            told.push(tells(user, image).await);
        }
        assert_eq!(told, expected, "{pulls:?}");
    }
    let tags = async |user: &str| text(&browse(&lab, user, "/-/tags?image=a/secret").await);
    assert!(tags("alice").await.contains(">v1</a>"), "{}", tags("alice").await);
    assert!(!tags("bob").await.contains(">v1</a>"));
}

#[tokio::test(start_paused = true)]
async fn a_repository_that_rules_deny_is_not_shown() {
    let mut lab = lab(USERS);
    pull(&lab, "alice", "a/b").await;
    pull(&lab, "alice", "a/c").await;
    settle(&lab).await;
    let html = text(&browse(&lab, "bob", "/-/images").await);
    assert!(html.contains("reg.example/a/b:v1") && html.contains("reg.example/a/c:v1"), "{html}");
    lab.reload(&format!("{USERS}\n{}", upstream("repositories={deny=['a/c']}")));
    let html = text(&browse(&lab, "bob", "/-/images").await);
    assert!(html.contains("reg.example/a/b:v1") && !html.contains("a/c"), "{html}");
}

#[tokio::test(start_paused = true)]
async fn with_accounts_of_registries_a_password_file_opens_nothing() {
    let lab = Fixture::caching(&format!("{ACCOUNTS}\n{}", upstream(""))).with_tokens();
    lab.registry.add_user("alice", "another");
    assert_eq!(lab.get("/-/").basic("alice", "another").await.status, 200);
    assert_eq!(lab.get("/-/").basic("alice", "wonder").await.status, 401);
    // Where the registry asks nobody for a login, any would do, so none counts.
    let open = Fixture::caching(&format!("{ACCOUNTS}\n{}", upstream("")));
    assert_eq!(open.get("/-/").basic("alice", "wonder").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn addresses_and_accounts_are_for_admins() {
    let lab = lab(USERS);
    let seen = async |user: &str| text(&browse(&lab, user, "/-/explain?image=a/b:v1").await);
    assert!(seen("alice").await.contains("https://origin.up.example.com"));
    let bobs = seen("bob").await;
    assert!(bobs.contains("A pull would") && !bobs.contains("origin.up"), "{bobs}");
}

/// The token of the form that purges.
fn token(seen: &Seen) -> Option<String> {
    let html = text(seen);
    html.split_once("name=\"token\" value=\"").map(|(_, rest)| rest.split('"').next().expect("a value").to_owned())
}

fn order(lab: &Fixture, user: &str, token: &str) -> Call {
    let password = if user == "alice" { "wonder" } else { "builder" };
    lab.post("/-/orders").basic(user, password).body(format!("token={token}&lang=en"))
}

const OURS: &str = "https://proxy.example";

#[tokio::test(start_paused = true)]
async fn an_admin_sees_what_goes_and_purges_it_and_the_log_says_so() {
    let lab = lab(USERS);
    pull(&lab, "alice", "a/b").await;
    pull(&lab, "alice", "a/c").await;
    settle(&lab).await;
    let preview = browse(&lab, "alice", "/-/images?purge=reg.example/a/b:*").await;
    let html = text(&preview);
    assert!(html.contains("1 tags, 1 manifests, 0 blobs") && html.contains("reg.example/a/b:v1"), "{html}");
    assert!(!html.contains("a/c"), "{html}");
    assert!(text(&browse(&lab, "bob", "/-/images").await).contains("a/b:v1"), "a preview changes nothing");
    let log = Lines::of_audit();
    let done = order(&lab, "alice", &token(&preview).unwrap()).header("origin", OURS).await;
    assert_eq!(done.status, 200);
    assert!(text(&done).contains("purged. 1 tags, 1 manifests, 0 blobs"), "{}", text(&done));
    let lines = log.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line["actor"], "\"alice\", by the administration page");
        assert_eq!((line["action"].as_str(), line["detail"].as_str()), ("purge", "\"reg.example/a/b:*\""));
    }
    let html = text(&browse(&lab, "bob", "/-/images").await);
    assert!(!html.contains("a/b:v1") && html.contains("a/c:v1"), "{html}");
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_refused_to_all_others_and_from_elsewhere() {
    let lab = lab(USERS);
    pull(&lab, "alice", "a/b").await;
    settle(&lab).await;
    let bobs = browse(&lab, "bob", "/-/images?purge=*").await;
    assert_eq!((bobs.status.as_u16(), token(&bobs)), (403, None));
    assert!(!text(&browse(&lab, "bob", "/-/images").await).contains("Show what would go"));
    let good = token(&browse(&lab, "alice", "/-/images?purge=reg.example/a/*").await).unwrap();
    for (user, token, origin, expected) in [
        ("bob", good.as_str(), OURS, 403),
        ("alice", &good, "https://evil.example", 403),
        ("alice", &good, "null", 403),
        ("alice", &good, "", 403),
        ("alice", "forged", OURS, 409),
        ("alice", "", OURS, 409),
    ] {
        let seen = order(&lab, user, token).header("origin", origin).await;
        assert_eq!(seen.status, expected, "{user} {origin}");
    }
    assert_eq!(lab.post("/-/orders").header("origin", OURS).body(format!("token={good}")).await.status, 401);
    lab.wait(3600).await;
    assert_eq!(order(&lab, "alice", &good).header("origin", OURS).await.status, 409, "an hour later");
    assert!(text(&browse(&lab, "alice", "/-/images").await).contains("reg.example/a/b:v1"), "it is all there");
}

/// With `a/b:v1` held after a move: the digests of before and now.
async fn held_lab(lab: &Fixture) -> (String, String) {
    let old = pull(lab, "alice", "a/b").await.header("docker-content-digest").to_owned();
    lab.wait(100).await;
    let new = lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(77));
    assert_eq!(pull(lab, "bob", "a/b").await.header("docker-content-digest"), old);
    settle(lab).await;
    (old, new)
}

const HOLD: &str = "[cache]\ntags=[{match='reg.example/**',hold='3d'}]\n[[block]]\nmatch='evil.example/**'\nreason='not <b>here</b>'";

#[tokio::test(start_paused = true)]
async fn held_tags_are_listed_and_an_admin_releases_them() {
    let mut lab = lab(&format!("{USERS}\n{HOLD}"));
    assert!(text(&browse(&lab, "alice", "/-/holds").await).contains("as its registry has it"));
    let (old, new) = held_lab(&lab).await;
    lab.wait(3600).await;
    let bobs = browse(&lab, "bob", "/-/holds").await;
    let html = text(&bobs);
    for part in ["reg.example/a/b:v1", "held", &old, &new, "1h", "2d"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(token(&bobs).is_none() && !html.contains("evil.example"), "{html}");
    lab.reload(&format!("{USERS}\n{HOLD}\n{}", upstream("repositories={deny=['a/b']}")));
    assert!(!text(&browse(&lab, "bob", "/-/holds").await).contains("a/b:v1"), "what rules deny is not shown");
    lab.reload(&format!("{USERS}\n{HOLD}\n{}", upstream("")));
    let alices = browse(&lab, "alice", "/-/holds").await;
    let html = String::from_utf8(alices.body.to_vec()).unwrap();
    assert!(html.contains("evil.example/**") && html.contains("not &#60;b&#62;here"), "{html}");
    let release = token(&alices).unwrap();
    assert_eq!(order(&lab, "bob", &release).header("origin", OURS).await.status, 403);
    assert_eq!(order(&lab, "alice", &release).header("origin", "https://evil.example").await.status, 403);
    assert_eq!(pull(&lab, "bob", "a/b").await.header("docker-content-digest"), old);
    let log = Lines::of_audit();
    let done = order(&lab, "alice", &release).header("origin", OURS).await;
    assert_eq!(done.status, 200);
    assert!(text(&done).contains("reg.example/a/b:v1: released."), "{}", text(&done));
    let actions = log.take().into_iter().map(|line| line["action"].as_str().to_owned());
    assert_eq!(actions.collect::<Vec<_>>(), ["release", "release"]);
    assert_eq!(pull(&lab, "bob", "a/b").await.header("docker-content-digest"), new);
    let again = order(&lab, "alice", &release).header("origin", OURS).await;
    assert!(text(&again).contains("nothing is held any more"), "{}", text(&again));
}

#[tokio::test(start_paused = true)]
async fn hostile_names_appear_as_text() {
    let lab = lab(USERS);
    let hostile = "%3Cscript%3Ealert(1)%3C/script%3E%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E";
    for path in ["explain?image=", "tags?image=", "tags?image=a/b&find=", "images?purge=", "?period=", "?lang="] {
        let seen = browse(&lab, "alice", &format!("/-/{path}{hostile}")).await;
        let html = String::from_utf8(seen.body.to_vec()).unwrap();
        assert!(!html.contains("<script") && !html.contains("<img"), "{path}: {html}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_pages_own_address_has_the_page_and_nothing_else() {
    let lab = lab("[page]\nlisten='127.0.0.1:1'");
    let ask = async |path: &str| {
        let mut request = http::Request::new(registry_proxy_core::Body::Empty);
        *request.uri_mut() = path.parse().unwrap();
        let cx = registry_proxy_core::Cx { peer: None, introduced: None, is_tls: false, id: 1 };
        lab.proxy.handle_page(&cx, request).await
    };
    for (path, expected) in [
        ("/", 302),
        ("/-/", 200),
        ("/-/images", 200),
        ("/-/images?purge=*", 403),
        ("/v2/", 404),
        ("/v2/a/b/manifests/v1", 404),
        ("/token", 404),
    ] {
        assert_eq!(ask(path).await.status(), expected, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_backend_the_path_is_the_storages() {
    let settings = "[clients]\nusers_file='u'\n[page]\nauth='users'";
    let variables = [("REGISTRY_BACKEND", "https://b.test"), ("DEFAULT_BACKEND_HOST", "https://b.test")];
    let lab =
        Fixture::set_up(&crate::fixture::Setup { text: settings, variables: &variables, ..Default::default() });
    lab.net.serve("https://b.test", Registry::default());
    assert_ne!(lab.get("/-/").await.status, 401, "no login is asked for");
}

/// What the server does with a list, once.
async fn warm_one(lab: &Fixture) {
    let text = format!("{USERS}\n{}", upstream(""));
    let sources = registry_proxy_core::config::Sources {
        text: Some(&text),
        variables: vec![],
        read: &registry_proxy_core::testing::stored_nowhere,
    };
    let config = registry_proxy_core::Config::load(&sources).expect("a configuration");
    Box::pin(lab.proxy.warm_next(&config, "linux/amd64")).await;
}

fn warm_form(lab: &Fixture, user: &str, token: &str, images: &str) -> Call {
    let password = if user == "alice" { "wonder" } else { "builder" };
    let body = format!("token={token}&lang=en&images={images}");
    lab.post("/-/orders").basic(user, password).body(body).header("origin", OURS)
}

#[tokio::test(start_paused = true)]
async fn an_admin_lists_images_to_warm_and_sees_them_come() {
    let lab = lab(USERS);
    let lines = Lines::of_audit();
    let layer = lab.registry.put_blob("a/one", vec![7; 1 << 20]);
    let named = format!(r#"{{"layers":[{{"digest":"{layer}","size":1048576}}]}}"#);
    lab.registry.put_manifest("a/one", "v1", OCI_MANIFEST, named);
    let page = browse(&lab, "alice", "/-/warming?lang=en").await;
    assert!(text(&page).contains("Nothing is being warmed now."), "{}", text(&page));
    let good = token(&page).unwrap();
    let taken = warm_form(&lab, "alice", &good, "a%2Fone:v1%0D%0A%23+comment%0D%0Aa/none:v1").await;
    assert_eq!(taken.status, 200);
    assert!(text(&taken).contains("Images that are warmed: 2 (number 1)"), "{}", text(&taken));
    let waiting = text(&browse(&lab, "alice", "/-/warming?lang=zh").await);
    assert!(waiting.contains("等待中的列表： 1"), "{waiting}");
    lab.net.fault("GET", &layer, 1, Fault::StallAfter(400_000, std::time::Duration::from_secs(5)));
    let warming = warm_one(&lab);
    let looking = async {
        lab.wait(2).await;
        text(&browse(&lab, "alice", "/-/warming?lang=en").await)
    };
    let ((), running) = tokio::join!(warming, looking);
    for part in [
        "Being warmed: 1 (alice): a/one:v1",
        "<progress max=\"2\" value=\"0\" aria-label=\"Images: 0 / 2\">",
        "<progress max=\"1048576\"",
        &layer[..19],
        "1.0 MiB",
    ] {
        assert!(running.contains(part), "{part}: {running}");
    }
    let ended = text(&browse(&lab, "alice", "/-/warming?lang=en").await);
    for part in ["Nothing is being warmed now.", "Last results", "<td>1 / 2</td>", "What is missing", "a/none:v1"]
    {
        assert!(ended.contains(part), "{part}: {ended}");
    }
    assert_eq!(lines.take().len(), 2, "it is in the audit log, from its beginning to its end");
}

#[tokio::test(start_paused = true)]
async fn a_list_to_warm_is_refused_to_all_others_from_elsewhere_and_if_it_is_none() {
    let lab = lab(USERS);
    let bobs = browse(&lab, "bob", "/-/warming?lang=en").await;
    assert_eq!((bobs.status.as_u16(), token(&bobs)), (200, None));
    assert!(text(&bobs).contains("Only page.admins") && !text(&bobs).contains("<textarea"), "{}", text(&bobs));
    assert_eq!(lab.get("/-/warming").await.status, 401);
    let good = token(&browse(&lab, "alice", "/-/warming").await).unwrap();
    for (user, token, images, expected) in [
        ("bob", good.as_str(), "a/b:v1", 403),
        ("alice", "forged", "a/b:v1", 409),
        ("alice", "", "a/b:v1", 409),
        ("alice", &good, "", 400),
        ("alice", &good, "%23+a%2Fb:v1", 400),
        ("alice", &good, "%3Cscript%3E", 400),
    ] {
        let seen = warm_form(&lab, user, token, images).await;
        assert_eq!(seen.status, expected, "{user} {images}");
        assert!(!String::from_utf8_lossy(&seen.body).contains("<script>"));
    }
    let elsewhere = lab.post("/-/orders").basic("alice", "wonder").header("origin", "https://evil.example");
    assert_eq!(elsewhere.body(format!("token={good}&images=a/b:v1")).await.status, 403);
    for _ in 0..16 {
        assert_eq!(warm_form(&lab, "alice", &good, "a/b:v1").await.status, 200);
    }
    assert_eq!(warm_form(&lab, "alice", &good, "a/b:v1").await.status, 429);
}
