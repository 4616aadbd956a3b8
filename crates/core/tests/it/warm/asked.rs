//! `/-/warm`: programs ask for images to be fetched, and how far that has come.

use std::sync::Arc;
use std::time::Duration;

use registry_proxy_core::config::{Config, Sources};
use registry_proxy_core::platform::Timetable;
use registry_proxy_core::testing::stored_nowhere;

use super::{fetched, single};
use crate::fixture::{Call, Fixture, Lines, Seen, upstream};

const USERS: &str = "[clients]\nauth='users'\nusers_file='u'\n[page]\nadmins=['alice']";

fn lab() -> Fixture {
    let lab = Fixture::caching(&format!("{USERS}\n{}", upstream("")));
    for repository in ["a/one", "a/two"] {
        single(&lab, repository, "v1", &[5000]);
    }
    lab
}

fn post(lab: &Fixture, body: &str) -> Call {
    lab.post("/-/warm")
        .basic("alice", "wonder")
        .header("content-type", "application/json")
        .body(body.as_bytes().to_vec())
}

async fn state(lab: &Fixture) -> serde_json::Value {
    let seen: Seen = lab.get("/-/warm").basic("alice", "wonder").await;
    assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, "application/json"));
    seen.json()
}

/// What the server does, once.
async fn carry_out_one(lab: &Fixture) {
    let text = format!("{USERS}\n{}", upstream(""));
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    let due = lab.proxy.warming_due();
    tokio::time::timeout(Duration::from_secs(1), due).await.expect("one waits");
    Box::pin(lab.proxy.warm_next(&config.expect("a configuration"), "linux/amd64")).await;
}

#[tokio::test(start_paused = true)]
async fn an_admin_asks_for_images_and_reads_what_became_of_them() {
    let lab = lab();
    let lines = Lines::of_audit();
    let taken = post(&lab, r#"["a/one:v1","a/none:v1"]"#).await;
    assert_eq!((taken.status.as_u16(), taken.json()["id"].as_u64()), (202, Some(1)));
    let taken = post(&lab, r#"{"images":["a/two:v1"],"platforms":["all"]}"#).await;
    assert_eq!(taken.json()["id"].as_u64(), Some(2));
    assert_eq!(
        (state(&lab).await["waiting"].as_array().map(Vec::len), fetched(&lab, "/manifests/")),
        (Some(2), 0)
    );
    carry_out_one(&lab).await;
    let state = state(&lab).await;
    assert_eq!(state["waiting"][0]["id"], 2);
    let ended = &state["ended"][0];
    assert_eq!(
        (&ended["id"], &ended["by"], &ended["totals"]["complete"]),
        (&1.into(), &"alice".into(), &1.into())
    );
    assert_eq!(ended["incomplete"][0]["name"], "a/none:v1");
    carry_out_one(&lab).await;
    assert_eq!(lab.get("/v2/a/two/manifests/v1").basic("bob", "builder").await.done(), "hit");
    let said: Vec<String> = lines.take().iter().map(|line| format!("{line:?}")).collect();
    assert!(
        said.len() == 4 && said.iter().all(|line| line.contains("warm") && line.contains("alice")),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn all_others_and_browsers_are_refused() {
    let lab = lab();
    for path in ["/-/warm"] {
        assert_eq!(lab.get(path).await.status, 401);
        assert_eq!(lab.get(path).basic("bob", "builder").await.status, 403);
        assert_eq!(lab.post(path).basic("bob", "builder").body("[]").await.status, 403);
        assert_eq!(lab.delete(path).basic("alice", "wonder").await.status, 405);
    }
    for (name, value) in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")] {
        assert_eq!(post(&lab, r#"["a/one:v1"]"#).header(name, value).await.status, 403);
    }
    let form = lab.post("/-/warm").basic("alice", "wonder").header("content-type", "text/plain");
    assert_eq!(form.body(r#"["a/one:v1"]"#).await.status, 415);
    assert_eq!(state(&lab).await["waiting"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(start_paused = true)]
async fn lists_that_are_none_or_too_many_are_refused() {
    let lab = lab();
    for body in ["", "{}", "[]", "[1]", r#"["a b"]"#, r#"{"images":["a/one:v1"],"platforms":["linux"]}"#] {
        assert_eq!(post(&lab, body).await.status, 400, "{body}");
    }
    assert_eq!(post(&lab, &format!("[\"{}\"]", "x".repeat(1 << 20))).await.status, 413);
    for _ in 0..16 {
        assert_eq!(post(&lab, r#"["a/one:v1"]"#).await.status, 202);
    }
    let refused = post(&lab, r#"["a/one:v1"]"#).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "60"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_waits_and_the_next_proxy_carries_it_out() {
    let mut lab = lab();
    let due = lab.proxy.warming_due();
    post(&lab, r#"["a/one:v1"]"#).await;
    lab.reload(&format!("{USERS}\n{}", upstream("")));
    tokio::time::timeout(Duration::from_secs(1), due).await.expect("it is known to whoever waits");
    carry_out_one(&lab).await;
    assert_eq!(state(&lab).await["ended"][0]["totals"]["complete"], 1);
}

#[tokio::test(start_paused = true)]
async fn rules_of_the_configuration_are_carried_out_at_the_start_and_again_and_again() {
    let text = format!("{}\n[[warm]]\nimages=['a/one:v*','a/none:v1']\nevery='6h'", upstream(""));
    let lab = Fixture::caching(&text);
    single(&lab, "a/one", "v1", &[5000]);
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    let config = config.expect("a configuration");
    let longest = Duration::from_mins(1);
    let log = Lines::of_warnings();
    assert_eq!(lab.proxy.next_warming(&config, &[], longest), Duration::ZERO);
    Box::pin(lab.proxy.warm_scheduled(&config, &[], "linux/amd64")).await;
    assert_eq!(fetched(&lab, "/a/one/manifests/v1"), 1);
    let warned = log.take();
    assert!(
        warned.iter().any(|line| line.get("image").is_some_and(|image| image.contains("a/none:v1"))),
        "{warned:?}"
    );
    assert_eq!(lab.proxy.next_warming(&config, &[], longest), longest);
    Box::pin(lab.proxy.warm_scheduled(&config, &[], "linux/amd64")).await;
    assert_eq!(lab.net.sent("*", "/a/one/manifests/").len(), 1, "it is not due");
    single(&lab, "a/one", "v2", &[6000]);
    lab.wait(6 * 3600).await;
    Box::pin(lab.proxy.warm_scheduled(&config, &[], "linux/amd64")).await;
    assert_eq!(fetched(&lab, "/a/one/manifests/v2"), 1);
}

/// Due each hour of the virtual clock.
struct Hourly;

impl Timetable for Hourly {
    fn next_after(&self, unix_seconds: u64) -> Option<u64> {
        Some((unix_seconds / 3600 + 1) * 3600)
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_the_calendar_is_carried_out_at_its_times_and_not_at_the_start() {
    let text = format!("{}\n[[warm]]\nimages=['a/one:v1']\nat='0 * * * *'", upstream(""));
    let lab = Fixture::caching(&text);
    single(&lab, "a/one", "v1", &[5000]);
    let config = Config::load(&Sources { text: Some(&text), variables: vec![], read: &stored_nowhere });
    let config = config.expect("a configuration");
    let timetables: [Option<Arc<dyn Timetable>>; 1] = [Some(Arc::new(Hourly))];
    Box::pin(lab.proxy.warm_scheduled(&config, &timetables, "linux/amd64")).await;
    assert_eq!(fetched(&lab, "/a/one/manifests/v1"), 0, "at the start");
    let left = lab.proxy.next_warming(&config, &timetables, Duration::from_hours(2));
    assert!(left > Duration::ZERO && left <= Duration::from_hours(1), "{left:?}");
    lab.wait(left.as_secs()).await;
    Box::pin(lab.proxy.warm_scheduled(&config, &timetables, "linux/amd64")).await;
    assert_eq!(fetched(&lab, "/a/one/manifests/v1"), 1);
    assert_eq!(lab.proxy.next_warming(&config, &timetables, Duration::from_hours(2)), Duration::from_hours(1));
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_keeps_is_not_evicted_although_nobody_uses_it() {
    for keep in [false, true] {
        let text = format!(
            "[cache]\nmax_unused='30d'\n{}\n[[warm]]\nimages=['a/one:v*']\nevery='6h'\nnewest=1\nkeep={keep}",
            upstream("")
        );
        let lab = Fixture::caching(&text);
        for tag in ["v1", "v2"] {
            single(&lab, "a/one", tag, &[5000]);
        }
        for tag in ["v1", "v2"] {
            super::warm(&lab, &text, &super::wanted(&[&format!("a/one:{tag}")])).await;
        }
        let janitor = lab.proxy.janitor().expect("a cache");
        lab.wait(40 * 86_400).await;
        janitor.once(false).await;
        lab.net.forget();
        super::warm(&lab, &text, &super::wanted(&["a/one:v2"])).await;
        assert_eq!(fetched(&lab, "/manifests/"), usize::from(!keep), "keep: {keep}");
        super::warm(&lab, &text, &super::wanted(&["a/one:v1"])).await;
        assert_eq!(fetched(&lab, "/a/one/manifests/v1"), 1, "not the newest");
    }
}
