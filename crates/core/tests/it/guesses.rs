//! Guesses of passwords: how many there may be, and whom they do not disturb.

use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::testing::{Answer, Fault, Gate, Sent, Server as _};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, ORIGIN, REALM, Seen, SlowUsers, manifest_of};

const USERS: &str = "[clients]\nauth='users'\nusers_file='u'";
const V1: &str = "/v2/a/b/manifests/v1";

/// A fixture with users, and what counts how often a password is looked at.
fn users(limits: &str) -> (Fixture, std::sync::Arc<SlowUsers>) {
    let text = format!("{USERS}\n{limits}");
    let (mut lab, _, _) = Fixture::stocked(&text);
    let users = SlowUsers::new(Duration::from_millis(100));
    lab.platform.passwords = Some(users.clone());
    lab.restart(&text);
    (lab, users)
}

/// One of the ways in which a login comes.
type Way = fn(&Fixture, &str, &str) -> Call;

const WAYS: [Way; 3] = [
    |lab, name, password| lab.get("/token").basic(name, password),
    |lab, name, password| {
        lab.post("/token").body(format!("grant_type=password&username={name}&password={password}"))
    },
    |lab, name, password| lab.get(V1).basic(name, password),
];

fn is_refused(seen: &Seen) -> bool {
    seen.is(429, "TOOMANYREQUESTS") && seen.header("x-registry-proxy") == "refused; why=\"too many logins\""
}

#[tokio::test(start_paused = true)]
async fn an_address_guesses_so_often_in_a_minute_and_then_no_password_is_looked_at() {
    for way in WAYS {
        let (lab, users) = users("[limits]\nwrong_logins=6");
        for number in 0..6 {
            assert_eq!(way(&lab, &format!("user{number}"), "guess").await.status, 401);
        }
        for number in 6..40 {
            assert!(is_refused(&way(&lab, &format!("user{number}"), "guess").await), "{number}");
        }
        let seen = way(&lab, "alice", "wonder").await;
        assert!(
            is_refused(&seen) && seen.header("retry-after") == "10",
            "a right one would tell it from a wrong one"
        );
        assert_eq!(users.asked(), 6);
        assert_eq!(way(&lab, "alice", "wonder").from("198.51.100.1").await.status, 200, "from elsewhere");
        lab.wait(10).await;
        assert_eq!(way(&lab, "bob", "builder").await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_with_a_guess_too_many_is_told_how_to_log_in() {
    let (lab, users) = users("[limits]\nwrong_logins=2");
    for number in 0..20 {
        assert_eq!(lab.get("/v2/").basic(&format!("user{number}"), "guess").await.status, 401, "P-17");
    }
    assert_eq!(users.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn guesses_count_for_the_client_behind_a_trusted_proxy_and_for_its_whole_network() {
    let (lab, users) = users("[limits]\nwrong_logins=3\n");
    let network = |host: u16| format!("2001:db8:1:2::{host:x}");
    for host in 0..9 {
        let seen = lab.get("/token").basic(&format!("user{host}"), "guess").from(&network(host)).await;
        assert_eq!(seen.status == 401, host < 3, "{host}");
    }
    assert_eq!(users.asked(), 3);
    assert_eq!(
        lab.get("/token").basic("alice", "wonder").from("2001:db8:1:3::1").await.status,
        200,
        "a neighbour"
    );

    let text = format!("trusted_proxies=['203.0.113.0/24']\n{USERS}\n[limits]\nwrong_logins=3");
    let lab = Fixture::new(&text);
    let behind = |client: &str, name: &str, password: &str| {
        lab.get("/token").basic(name, password).header("x-forwarded-for", client)
    };
    for number in 0..9 {
        let seen = behind("198.51.100.1", &format!("user{number}"), "guess").await;
        assert_eq!(seen.status == 401, number < 3, "{number}");
    }
    assert_eq!(behind("198.51.100.2", "alice", "wonder").await.status, 200, "another client of the same proxy");
}

#[tokio::test(start_paused = true)]
async fn one_name_waits_ever_longer_at_one_address_and_nowhere_else() {
    let (lab, users) = users("[limits]\nwrong_logins=0");
    let mut pauses = Vec::new();
    // A client that repeats one wrong password, as skopeo does five times, has guessed once.
    for _ in 0..5 {
        assert_eq!(lab.get("/token").basic("alice", "guess 0").await.status, 401);
    }
    for number in 0..8 {
        let guess = format!("guess {number}");
        let seen = lab.get("/token").basic("alice", &guess).await;
        if seen.status == 429 {
            let pause: u64 = seen.header("retry-after").parse().unwrap();
            pauses.push(pause);
            lab.wait(pause).await;
            assert_eq!(lab.get("/token").basic("alice", &guess).await.status, 401);
        } else {
            pauses.push(0);
        }
    }
    assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16]);
    assert_eq!(users.asked(), 8, "and the same one again costs no look");
    assert!(is_refused(&lab.get("/token").basic("alice", "wonder").await));
    assert_eq!(lab.get("/token").basic("bob", "builder").await.status, 200, "another name there");
    assert_eq!(
        lab.get("/token").basic("alice", "wonder").from("198.51.100.1").await.status,
        200,
        "alice elsewhere"
    );
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_right_within_the_hour_is_no_guess() {
    let (lab, users) = users("[limits]\nwrong_logins=3");
    assert_eq!(lab.get("/token").basic("alice", "wonder").await.status, 200);
    for number in 0..9 {
        lab.get("/token").basic(&format!("user{number}"), "guess").await;
        lab.get("/token").basic("alice", "old-password").await;
    }
    assert!(is_refused(&lab.get("/token").basic("bob", "builder").await));
    for way in WAYS {
        assert_eq!(way(&lab, "alice", "wonder").await.status, 200);
    }
    assert_eq!(users.asked(), 1 + 3, "and needs no other look");
    lab.wait(3600).await;
    assert_eq!(lab.get("/token").basic("alice", "wonder").await.status, 200);
    assert_eq!(users.asked(), 5, "later it does");
}

#[tokio::test(start_paused = true)]
async fn the_same_login_is_looked_at_once_however_many_bring_it_at_a_time() {
    let (lab, users) = users("[limits]\nlogins=4");
    let all = join_all((0..200).map(|_| async { lab.get("/token").basic("alice", "wonder").await })).await;
    assert!(all.iter().all(|seen| seen.status == 200));
    assert_eq!(users.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_address_leaves_the_others_places_for_their_logins() {
    let (lab, _) = users("[limits]\nlogins=8\nwrong_logins=0");
    let crowd = join_all((0..50).map(|number| {
        let lab = &lab;
        async move { lab.get("/token").basic(&format!("user{number}"), "guess").await.status.as_u16() }
    }));
    let others = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        lab.get("/token").basic("alice", "wonder").from("198.51.100.1").await.status
    };
    let (crowd, alice) = futures_util::future::join(crowd, others).await;
    assert_eq!(alice, 200);
    assert_eq!(crowd.iter().filter(|status| **status == 401).count(), 2, "a quarter of eight");
    assert_eq!(crowd.iter().filter(|status| **status == 429).count(), 48, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_reload_gives_nobody_new_guesses_and_takes_nobodys_login() {
    let (mut lab, users) = users("[limits]\nwrong_logins=3");
    assert_eq!(lab.get("/token").basic("alice", "wonder").await.status, 200);
    for number in 0..4 {
        lab.get("/token").basic(&format!("user{number}"), "guess").await;
    }
    lab.reload(&format!("signing_key_file='k'\n{USERS}\n[limits]\nwrong_logins=3"));
    assert!(is_refused(&lab.get("/token").basic("mallory", "guess").await));
    assert_eq!(users.asked(), 4);
}

/// Each client with its own login: `alice`, and a registry that wants tokens or Basic.
fn upstream_mode(gate: Gate) -> Fixture {
    let lab = Fixture::new("[clients]\nauth='upstream'\n[limits]\nwrong_logins=6");
    lab.registry.guard(gate);
    lab.registry.add_user("alice", "wonder");
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab
}

fn gates() -> [Gate; 2] {
    [Gate::Basic, Gate::Bearer { realm: REALM.to_owned(), service: None }]
}

#[tokio::test(start_paused = true)]
async fn guesses_do_not_go_on_to_the_registry_without_limit() {
    for gate in gates() {
        for way in WAYS {
            let lab = upstream_mode(gate.clone());
            for number in 0..300 {
                let seen = way(&lab, &format!("user{number}"), "guess").await;
                let is_guess = number < 6;
                assert_eq!(is_refused(&seen), !is_guess, "{number} {seen:?}");
                assert!(!is_guess || matches!(seen.status.as_u16(), 401 | 403), "{number} {seen:?}");
            }
            let sent = lab.net.log();
            let carries = sent.iter().filter(|sent| sent.header("authorization").starts_with("Basic ")).count();
            assert!(carries <= 6 * 2, "{carries} {:?}", lab.net.lines());
            assert_eq!(way(&lab, "alice", "wonder").from("198.51.100.1").await.status, 200, "from elsewhere");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_basic_login_at_a_repository_is_checked_once_a_minute() {
    for gate in gates() {
        let lab = upstream_mode(gate.clone());
        for _ in 0..5 {
            assert_eq!(lab.get(V1).basic("alice", "wonder").await.status, 200);
        }
        let checks = lab.net.log().iter().filter(|sent| !sent.url.contains("/manifests/")).count();
        assert!(checks <= 3, "{checks} {:?}", lab.net.lines());
        assert!(lab.get(V1).basic("alice", "wrong").await.is(403, "DENIED"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_cannot_say_makes_no_guess_of_a_login_and_one_that_limits_us_does() {
    for (fault, status, left) in [
        (Fault::Say(Answer::new(500)), 504, 401),
        (Fault::Say(Answer::new(429).header("retry-after", "9")), 429, 429),
    ] {
        let lab = upstream_mode(Gate::Bearer { realm: REALM.to_owned(), service: None });
        lab.net.fault("*", REALM, 9, fault);
        for number in 0..9 {
            let seen = lab.get("/token").basic(&format!("user{number}"), "guess").await;
            assert_eq!(seen.status, status, "{number}");
        }
        lab.net.forget();
        let seen = lab.get("/token").basic("user", "guess").await;
        assert_eq!(seen.status, left);
        assert_eq!(lab.net.sent("*", REALM).is_empty() && lab.net.sent("*", ORIGIN).is_empty(), left == 429);
    }
}

/// A registry with Basic whose `/v2/` is open to everybody: a login without a repository cannot be checked there.
#[tokio::test(start_paused = true)]
async fn what_a_registry_refuses_of_logins_that_nobody_could_check_are_guesses() {
    for has_token in [true, false] {
        let lab = upstream_mode(Gate::Basic);
        let (registry, door) = (lab.registry.clone(), format!("{ORIGIN}/v2/"));
        lab.net.serve(&door.clone(), move |sent: &Sent| {
            if sent.url == door { Answer::new(200).body("{}") } else { registry.answer(sent) }
        });
        let login = |number: usize| (format!("user{number}"), format!("guess{number}"));
        for (name, guess) in (0..40).map(login).filter(|_| has_token) {
            assert_eq!(lab.get("/token").basic(&name, &guess).await.status, 200, "nobody can say");
        }
        for number in 0..40 {
            let (name, guess) = login(number);
            let seen = lab.get(V1).basic(&name, &guess).await;
            assert_eq!(is_refused(&seen), number >= 6, "{has_token} {number} {seen:?}");
            assert!(number >= 6 || seen.is(403, "DENIED"), "{seen:?}");
        }
        assert_eq!(lab.get(V1).basic("alice", "wonder").from("198.51.100.1").await.status, 200, "from elsewhere");
    }
}

/// One machine behind an address goes on sending what was right once.
#[tokio::test(start_paused = true)]
async fn an_old_password_that_is_sent_again_and_again_shuts_nobody_out() {
    let (lab, users) = users("[limits]\nwrong_logins=3");
    for _ in 0..30 {
        assert_eq!(lab.get(V1).basic("alice", "expired").await.status, 401);
    }
    assert_eq!(users.asked(), 1, "nor does it keep the others waiting");
    assert_eq!(lab.get("/token").basic("bob", "builder").await.status, 200);
    for _ in 0..600 {
        lab.wait(1).await;
        assert_eq!(lab.get(V1).basic("alice", "expired").await.status, 401);
    }
    let looks = users.asked() - 2;
    assert!((12..=20).contains(&looks), "{looks} looks in ten minutes, at most one in a minute at last");
}

/// So that a registry does not turn away everybody here for the one machine.
#[tokio::test(start_paused = true)]
async fn a_wrong_login_that_is_sent_again_and_again_is_seldom_sent_on() {
    for gate in gates() {
        let lab = upstream_mode(gate);
        for _ in 0..60 {
            assert!(matches!(lab.get(V1).basic("alice", "expired").await.status.as_u16(), 401 | 403));
            lab.wait(1).await;
        }
        let carries = |sent: &&Sent| sent.header("authorization").starts_with("Basic ");
        let sent = lab.net.log().iter().filter(carries).count();
        assert!(sent <= 7 * 2, "{sent} {:?}", lab.net.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_given_without_seeing_the_login_makes_it_neither_right_nor_wrong() {
    const NEW: &str = "https://auth.new.example.org/token";
    let lab = Fixture::new("[clients]\nauth='upstream'\n[limits]\nwrong_logins=3").with_tokens();
    lab.registry.make_private("a/b", &["alice"]);
    lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest_of(10));
    lab.net.serve(REALM, |_: &Sent| Answer::new(307).header("location", NEW));
    lab.net.serve(NEW, |_: &Sent| Answer::new(200).body(r#"{"token":"for-nobody"}"#));
    for number in 0..9 {
        let seen = lab.get(V1).basic("alice", &format!("guess{number}")).await;
        assert_eq!(seen.status.as_u16(), if number < 3 { 403 } else { 429 }, "{number} {seen:?}");
    }
    assert!(lab.net.sent("*", NEW).iter().all(|sent| sent.header("authorization").is_empty()));
}
