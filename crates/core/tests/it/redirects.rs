//! Redirects of upstreams: followed where that is safe, with nothing of a login off the registry's own origin.

use registry_proxy_core::platform::{Profile, Reach};
use registry_proxy_core::testing::{Answer, Fault, Gate, Sent};

use crate::fixture::{Call, Fixture, ORIGIN, REALM, STORAGE, Setup, noise, upstream};

const ACCOUNT: &str = "username='robot'\npassword='s3cret'";

/// A fixture with a blob that is read with our account and kept in the storage, and the blob's path.
fn stocked(keys: &str) -> (Fixture, String) {
    let lab = Fixture::new(&upstream(keys)).with_tokens();
    lab.registry.add_user("robot", "s3cret");
    lab.registry.redirect_blobs(STORAGE);
    let blob = lab.registry.put_blob("a/b", noise(3000));
    (lab, format!("/v2/a/b/blobs/{blob}"))
}

/// Lets the registry answer blobs by this redirect.
fn redirect(lab: &Fixture, status: u16, location: &str) {
    lab.net.fault(
        "*",
        &format!("{ORIGIN}/v2/a/b/blobs"),
        99,
        Fault::Say(Answer::new(status).header("location", location)),
    );
}

fn blob(bytes: usize) -> impl Fn(&Sent) -> Answer {
    move |_| Answer::new(200).body(noise(bytes))
}

#[tokio::test(start_paused = true)]
async fn redirects_of_every_kind_are_followed_absolute_and_relative() {
    for status in [301, 302, 303, 307, 308] {
        for location in
            ["https://cdn.up.example.com/x", "//cdn.up.example.com/x", "/elsewhere/x", "../../../../elsewhere/x"]
        {
            let lab = Fixture::new("");
            let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(3000)));
            redirect(&lab, status, location);
            lab.net.serve("https://cdn.up.example.com/x", blob(3000));
            lab.net.serve("https://origin.up.example.com/elsewhere/x", blob(3000));
            let seen = lab.get(&path).await;
            assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)), "{status} {location}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_three_is_followed() {
    let (lab, path) = stocked("");
    redirect(&lab, 307, "https://one.test/1?a=%2F");
    lab.net.serve("https://one.test/1?a=%2F", |_: &Sent| Answer::new(302).header("location", "/2"));
    lab.net.serve("https://one.test/2", |_: &Sent| {
        Answer::new(301).header("location", "https://three.test/3?sig=a%2Fb+'c'%3D")
    });
    lab.net.serve("https://three.test/3?sig=a%2Fb+'c'%3D", blob(3000));
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)), "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn redirects_in_a_circle_have_an_end() {
    let (lab, path) = stocked("");
    redirect(&lab, 307, "https://one.test/");
    lab.net.serve("https://one.test/", |_: &Sent| Answer::new(307).header("location", "https://one.test/"));
    assert!(lab.get(&path).await.is(504, "UNAVAILABLE"));
    assert!(lab.net.sent("*", "one.test").len() <= 10, "{:?}", lab.net.lines());
}

#[tokio::test(start_paused = true)]
async fn redirects_to_where_nobody_should_go_are_refused_unasked() {
    for location in [
        "http://cdn.up.example.com/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://10.1.2.3/x",
        "ftp://cdn.up.example.com/x",
        "https://",
    ] {
        let lab = Fixture::new("");
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(10)));
        redirect(&lab, 307, location);
        assert!(lab.get(&path).await.is(504, "UNAVAILABLE"), "{location}");
        assert_eq!(lab.net.log().len(), 1, "{location}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_resolves_to_a_private_address_is_reached_only_where_it_is_trusted() {
    for (keys, expected) in [("", 504), ("redirect_hosts=['cdn.up.example.com']", 200)] {
        let (lab, path) = stocked(keys);
        lab.net.make_private("https://cdn.up.example.com");
        assert_eq!(lab.get(&path).await.status, expected, "{keys}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_without_location_is_a_failure() {
    let (lab, path) = stocked("");
    lab.net.fault("*", "/blobs/", 9, Fault::Say(Answer::new(307)));
    assert!(lab.get(&path).await.is(504, "UNAVAILABLE"));
}

#[tokio::test(start_paused = true)]
async fn a_login_never_crosses_origins() {
    for location in [STORAGE, "https://origin.up.example.com:8443/x", "https://www.up.example.com/x"] {
        let (lab, path) = stocked(ACCOUNT);
        assert_eq!(lab.get(&path).await.status, 200);
        lab.net.forget();
        lab.net.serve(location, blob(3000));
        redirect(&lab, 307, location);
        assert_eq!(lab.get(&path).header("range", "bytes=0-").await.body, noise(3000));
        let elsewhere: Vec<Sent> = lab.net.log().into_iter().filter(|sent| sent.origin() != ORIGIN).collect();
        assert_eq!(elsewhere.len(), 1, "{location}");
        assert_eq!(elsewhere[0].header("authorization"), "", "{location}");
        assert_eq!(elsewhere[0].header("range"), "bytes=0-", "{location}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_goes_along_within_the_origin() {
    let (lab, path) = stocked(ACCOUNT);
    assert_eq!(lab.get(&path).await.status, 200);
    redirect(&lab, 307, "/moved/x");
    lab.net.serve("https://origin.up.example.com/moved/x", blob(3000));
    assert_eq!(lab.get(&path).await.status, 200);
    assert!(lab.net.sent("GET", "/moved/x")[0].header("authorization").starts_with("Bearer token-"));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_wants_an_anonymous_token_of_its_own_gets_one() {
    let (lab, path) = stocked(ACCOUNT);
    redirect(&lab, 302, "https://pkg.example/v2/mirror/a/blobs/x");
    lab.net.serve("https://pkg.example/v2/", |sent: &Sent| {
        if sent.header("authorization") == "Bearer of-a-stranger" {
            Answer::new(200).body(noise(3000))
        } else {
            Answer::new(401).header("www-authenticate", "Bearer realm=\"https://pkg.example/v2/token\"")
        }
    });
    lab.net.serve("https://pkg.example/v2/token", |sent: &Sent| {
        assert_eq!(sent.header("authorization"), "", "our password goes to no stranger");
        Answer::new(200).body("{\"token\":\"of-a-stranger\"}")
    });
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)), "{:?}", lab.net.lines());
    let token = &lab.net.sent("GET", "pkg.example/v2/token")[0];
    assert_eq!(token.parameter("scope").as_deref(), Some("repository:mirror/a:pull"), "by the name it has there");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_wants_a_login_we_do_not_have_ends_soon() {
    for challenge in ["Bearer realm=\"https://pkg.example/token\"", "Basic realm=\"x\"", "Negotiate"] {
        let (lab, path) = stocked(ACCOUNT);
        redirect(&lab, 302, "https://pkg.example/x");
        let unauthorized = Answer::new(401).header("www-authenticate", challenge);
        lab.net.serve("https://pkg.example/x", move |_: &Sent| unauthorized.clone());
        lab.net.serve("https://pkg.example/token", |_: &Sent| Answer::new(200).body("{\"token\":\"t\"}"));
        let seen = lab.get(&path).await;
        assert!(matches!(seen.status.as_u16(), 403 | 504), "{}", seen.status);
        assert!(lab.net.sent("*", "pkg.example/x").len() <= 2, "{:?}", lab.net.lines());
        assert!(
            lab.net.sent("*", "pkg.example").iter().all(|sent| !sent.header("authorization").starts_with("Basic"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_never_answered_with_a_redirect() {
    for redirects in ["follow", "pass", "rewrite"] {
        let (lab, path) = stocked(&format!("redirects='{redirects}'"));
        let seen = lab.head(&path).await;
        assert_eq!((seen.status.as_u16(), seen.header("content-length")), (200, "3000"), "{redirects}");
    }
}

#[tokio::test(start_paused = true)]
async fn redirects_pass_to_the_byte_where_the_configuration_says_so() {
    let (lab, path) = stocked("redirects='pass'");
    let seen = lab.get(&path).await;
    let digest = path.rsplit('/').next().unwrap();
    assert_eq!(seen.status, 307);
    assert_eq!(seen.header("location"), format!("{STORAGE}/a/b/{digest}?sig=a%2Fb+'c'%3D"));
}

#[tokio::test(start_paused = true)]
async fn rewritten_redirects_lead_to_us_and_we_fetch_the_target() {
    let (lab, path) = stocked("redirects='rewrite'");
    let seen = lab.get(&path).await;
    let location = seen.header("location").strip_prefix("https://proxy.example").expect("our host").to_owned();
    assert!(seen.status == 307 && location.starts_with(&format!("{path}?_t=")), "{location}");
    let seen = lab.get(&location).header("range", "bytes=100-199").await;
    assert_eq!((seen.status.as_u16(), &seen.body), (206, &noise(3000).slice(100..200)));
    let tampered = format!("{}A", location.strip_suffix(|_: char| true).unwrap());
    let other = if tampered == location { location.replace("_t=", "_t=A") } else { tampered };
    // As a storage answers: stargz and nydus then ask the registry for a new address.
    assert!(lab.get(&other).await.is(403, "DENIED"));
    lab.wait(899).await;
    assert_eq!(lab.get(&location).await.status, 200);
    lab.wait(1).await;
    assert!(lab.get(&location).await.is(403, "DENIED"), "delivery.link_life");
    assert!(lab.head(&location).await.status == 403);
}

#[tokio::test(start_paused = true)]
async fn how_long_a_rewritten_redirect_can_be_followed_is_configured() {
    let lab = Fixture::new(&format!("[delivery]\nlink_life='2m'\n{}", upstream("redirects='rewrite'")));
    lab.registry.redirect_blobs(STORAGE);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(30)));
    let location = lab.get(&path).await.header("location").replace("https://proxy.example", "");
    for (wait, status) in [(119, 200), (1, 403)] {
        lab.wait(wait).await;
        assert_eq!(lab.get(&location).await.status, status, "{wait}");
    }
}

/// An address that leads to one blob, in the hands of others and at other blobs.
#[tokio::test(start_paused = true)]
async fn a_rewritten_redirect_is_for_one_blob_in_one_repository_and_for_one_login() {
    for mode in ["[clients]\nauth='users'\nusers_file='u'", "[clients]\nauth='upstream'"] {
        let lab = Fixture::new(&format!("{mode}\n{}", upstream("redirects='rewrite'"))).with_tokens();
        lab.registry.add_user("alice", "wonder");
        lab.registry.add_user("bob", "builder");
        lab.registry.redirect_blobs(STORAGE);
        let secret = lab.registry.put_blob("a/secret", noise(3000));
        let public = lab.registry.put_blob("a/public", noise(50));
        lab.registry.put_blob("a/public", noise(3000));
        let scope = "repository:a/secret:pull%20repository:a/public:pull";
        let alice = lab.login_for("alice", "wonder", scope).await;
        let bob = lab.login_for("bob", "builder", scope).await;
        let path = format!("/v2/a/secret/blobs/{secret}");
        let location = lab.get(&path).bearer(&alice).await.header("location").replace("https://proxy.example", "");
        assert_eq!(lab.get(&location).bearer(&alice).await.body, noise(3000));
        lab.net.forget();
        for (what, target, token) in [
            ("another login", location.clone(), &bob),
            ("another repository", location.replace("/a/secret/", "/a/public/"), &alice),
            ("another blob", location.replace(&secret, &public), &alice),
        ] {
            let seen = lab.get(&target).bearer(token).await;
            assert!(seen.is(403, "DENIED"), "{what}: {seen:?}");
            assert_eq!(seen.header("x-registry-proxy"), "refused; why=\"unknown link\"", "{what}");
        }
        assert_eq!(lab.get(&location).await.status, 401, "nobody");
        assert!(lab.net.log().is_empty(), "nothing is asked for: {:?}", lab.net.lines());
        // A new token of the same login follows it all the same.
        lab.wait(301).await;
        let alice = lab.login_for("alice", "wonder", scope).await;
        assert_eq!(lab.get(&location).bearer(&alice).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rewritten_redirect_keeps_the_ns_that_chose_the_registry() {
    let other = "[[upstream]]\nname='other.example'\nurls=['https://origin.other.test']\ndefault=true\n";
    let lab = Fixture::new(&format!("{other}{}", upstream("redirects='rewrite'").replace("default=true", "")));
    lab.registry.redirect_blobs(STORAGE);
    let path = format!("/v2/a/b/blobs/{}?ns=reg.example", lab.registry.put_blob("a/b", noise(3000)));
    let seen = lab.get(&path).await;
    assert_eq!((seen.status.as_u16(), seen.header("oci-namespace")), (307, "reg.example"));
    let location = seen.header("location").replace("https://proxy.example", "");
    let seen = lab.get(&location).await;
    assert_eq!((seen.status.as_u16(), &seen.body), (200, &noise(3000)), "{location}");
    assert!(lab.get(&location.replace("&ns=reg.example", "")).await.is(403, "DENIED"), "of another registry");
}

#[tokio::test(start_paused = true)]
async fn what_lies_behind_a_sealed_redirect_needs_the_same_login_as_the_blob() {
    let lab =
        Fixture::new(&format!("[clients]\nauth='users'\nusers_file='u'\n{}", upstream("redirects='rewrite'")));
    lab.registry.redirect_blobs(STORAGE);
    let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(10)));
    let token = lab.login("alice", "wonder").await;
    let location = lab.get(&path).bearer(&token).await.header("location").replace("https://proxy.example", "");
    assert_eq!(lab.get(&location).await.status, 401);
    assert_eq!(lab.get(&location).bearer(&token).await.body, noise(10));
}

#[tokio::test(start_paused = true)]
async fn the_token_server_of_a_stranger_is_not_looked_for_at_private_addresses() {
    for realm in ["https://auth.stranger.com/token", "https://www.stranger.com/token"] {
        for is_private in [false, true] {
            let (lab, path) = stocked("");
            redirect(&lab, 307, "https://www.stranger.com/x");
            lab.net.serve("https://www.stranger.com/x", move |sent: &Sent| {
                if sent.header("authorization") == "Bearer t" {
                    return Answer::new(200).body(noise(3000));
                }
                Answer::new(401).header("www-authenticate", &format!("Bearer realm=\"{realm}\""))
            });
            lab.net.serve(realm, |_: &Sent| Answer::new(200).body("{\"token\":\"t\"}"));
            if is_private && realm.contains("auth.") {
                lab.net.make_private("https://auth.stranger.com");
                assert_eq!(lab.get(&path).await.status, 504);
                assert!(lab.net.sent("*", realm).is_empty(), "P-66: {:?}", lab.net.lines());
            } else {
                assert_eq!(lab.get(&path).await.status, 200);
                // A name can lead elsewhere the next time: on the stranger's own host too the transport must look.
                assert_eq!(lab.net.sent("*", realm)[0].reach, Reach::Public);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_back_to_this_proxy_is_seen_as_a_loop() {
    let lab = Fixture::new("");
    let blob = lab.registry.put_blob("a/b", noise(10));
    let path = format!("/v2/a/b/blobs/{blob}");
    assert_eq!(lab.get(&path).await.status, 200);
    let via = lab.net.log()[0].header("via").to_owned();
    redirect(&lab, 307, "https://proxy.example/again");
    lab.net.serve("https://proxy.example/again", |_: &Sent| Answer::new(504));
    assert_eq!(lab.get(&path).await.status, 504);
    assert_eq!(lab.net.sent("GET", "/again")[0].header("via"), via, "without Via a loop is never seen");
}

#[tokio::test(start_paused = true)]
async fn the_gate_of_the_fake_storage_is_real() {
    // Were it not, the tests above could not fail.
    let (lab, path) = stocked(ACCOUNT);
    lab.registry.guard(Gate::Bearer { realm: REALM.to_owned(), service: None });
    assert_eq!(lab.get(&path).await.status, 200);
    lab.net.fault("*", STORAGE, 1, Fault::change(|answer| *answer = Answer::new(400)));
    assert_eq!(Call::new(&lab.proxy, http::Method::GET, &path).await.status, 400);
}

/// Function Compute refuses longer paths.
#[tokio::test(start_paused = true)]
async fn a_rewritten_redirect_is_never_longer_than_the_platform_takes() {
    for (length, leads_to_us) in [(1000, true), (3500, false)] {
        let text = upstream("redirects='rewrite'");
        let lab = Fixture::set_up(&Setup { text: &text, profile: Profile::AliyunFc, ..Setup::default() });
        let path = format!("/v2/a/b/blobs/{}", lab.registry.put_blob("a/b", noise(1000)));
        let target = format!("{STORAGE}/x?sig={}", "a".repeat(length));
        lab.net.fault("*", "/blobs/", 9, Fault::Say(Answer::new(307).header("location", &target)));
        let seen = lab.get(&path).await;
        assert_eq!(seen.status, 307, "{seen:?}");
        let location = seen.header("location");
        assert_eq!(location.starts_with("https://proxy.example/"), leads_to_us, "{location}");
        assert_eq!(location == target, !leads_to_us, "{location}");
    }
}
