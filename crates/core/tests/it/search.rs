//! `docker search` through the proxy: `/v1/search`.

use std::time::Duration;

use registry_proxy_core::platform::Reach;
use registry_proxy_core::testing::{Answer, Fault, Sent};

use crate::fixture::Fixture;

const ON: &str = "[page]\nsearch=true";
/// As Docker Hub answers.
const FOUND: &str = r#"{"num_pages":40,"num_results":999,"page_size":2,"page":1,"query":"nginx","results":[
    {"is_automated":false,"name":"nginx","is_trusted":false,"is_official":true,"star_count":20000,"description":"Official build of Nginx."},
    {"is_automated":true,"name":"bitnami/nginx","is_trusted":true,"is_official":false,"star_count":200,"description":null}]}"#;

/// Docker Hub, and where it is searched.
fn lab(settings: &str, more: &str) -> Fixture {
    let lab = Fixture::new(&format!("{settings}\n[[upstream]]\nname='docker.io'\ndefault=true\n{more}"));
    lab.net.serve("https://index.docker.io", |_: &Sent| {
        Answer::new(200).header("content-type", "application/json").header("set-cookie", "a=b").body(FOUND)
    });
    lab
}

#[tokio::test(start_paused = true)]
async fn a_search_is_what_docker_hub_finds() {
    let lab = lab(ON, "");
    let seen = lab.get("/v1/search?q=nginx&n=2&evil=1").header("authorization", "Basic eDp5").await;
    assert_eq!((seen.status.as_u16(), seen.header("content-type")), (200, "application/json"));
    assert_eq!(seen.header("x-registry-proxy"), "relayed; why=\"never kept\"");
    let found = seen.json();
    assert_eq!((&found["num_results"], &found["query"]), (&999.into(), &"nginx".into()));
    let results = found["results"].as_array().unwrap();
    let names: Vec<_> = results.iter().map(|found| found["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["nginx", "bitnami/nginx"]);
    assert_eq!((&results[0]["star_count"], &results[0]["is_official"]), (&20000.into(), &true.into()));
    assert_eq!(results[0]["description"], "Official build of Nginx.");

    let sent = lab.net.sent("GET", "index.docker.io");
    let [sent] = sent.as_slice() else { panic!("one request: {sent:?}") };
    assert_eq!(sent.url, "https://index.docker.io/v1/search?q=nginx&n=2");
    assert_eq!(sent.reach, Reach::Public);
    assert_eq!(sent.header("authorization"), "", "nobody's login");
    assert!(!sent.header("via").is_empty());
    assert_eq!(lab.net.log().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_setting_there_is_no_search() {
    let lab = lab("", "");
    assert!(lab.get("/v1/search?q=nginx").await.is(404, "UNSUPPORTED"));
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn searches_only_read() {
    let lab = lab(ON, "");
    assert_eq!(lab.post("/v1/search?q=nginx").await.status, 405);
    let head = lab.head("/v1/search?q=nginx").await;
    assert!(head.status == 200 && head.header("content-length") != "0");
    assert_eq!(lab.get("/v1/_ping").await.status, 404);
    assert_eq!(lab.get("/v1/repositories/nginx/images").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn who_must_log_in_to_pull_must_log_in_to_search() {
    let lab = lab(&format!("{ON}\n[clients]\nauth='users'\nusers_file='u'"), "");
    let ask = || lab.get("/v1/search?q=nginx");
    assert_eq!(ask().await.status, 401);
    assert_eq!(ask().basic("alice", "builder").await.status, 401);
    assert!(lab.net.log().is_empty());
    assert_eq!(ask().basic("alice", "wonder").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_pulled_is_not_found() {
    let lab = lab(ON, "repositories={deny=['bitnami/**']}");
    let found = lab.get("/v1/search?q=nginx").await.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    assert_eq!(found["results"][0]["name"], "nginx");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_find_is_not_asked_for() {
    let lab = lab(ON, "");
    for path in ["/v1/search", "/v1/search?q=", "/v1/search?n=5"] {
        let seen = lab.get(path).await;
        assert_eq!((seen.status.as_u16(), seen.json()["results"].as_array().unwrap().len()), (200, 0), "{path}");
    }
    assert!(lab.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_docker_hub_that_is_none_is_not_passed_on() {
    let lab = lab(ON, "");
    let html = Answer::new(200).body("<html>an error page of 198.51.100.7</html>");
    let large = Answer::new(200).body(vec![b' '; (1 << 20) + 1]);
    let unnamed = Answer::new(200).body(r#"{"results":[{"description":"x"}]}"#);
    let empty = Answer::new(200).body("{}");
    for (fault, status) in [
        (Fault::Say(html), 504),
        (Fault::Say(large), 504),
        (Fault::Say(unnamed), 504),
        (Fault::Say(empty), 504),
        (Fault::Say(Answer::new(500)), 504),
        (Fault::Say(Answer::new(404)), 404),
        (Fault::Say(Answer::new(429).header("retry-after", "30")), 429),
        (Fault::StallAfter(20, Duration::from_hours(1)), 504),
        (Fault::Say(Answer::new(302).header("location", "http://127.0.0.1/v1/search")), 504),
    ] {
        lab.net.fault("GET", "index.docker.io", 1, fault);
        let seen = lab.get("/v1/search?q=nginx").await;
        assert_eq!(seen.status, status, "{:?}", String::from_utf8_lossy(&seen.body));
        lab.net.heal();
    }
    assert_eq!(lab.get("/v1/search?q=nginx").await.status, 200);
    assert!(lab.net.sent("*", "127.0.0.1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn names_that_no_repository_can_have_are_left_out() {
    let lab = lab(ON, "");
    let odd = r#"{"results":[{"name":"../x"},{"name":"A b"},{"name":"<b>"},{"name":"fine/one","star_count":3}]}"#;
    lab.net.fault("GET", "index.docker.io", 1, Fault::Say(Answer::new(200).body(odd)));
    let found = lab.get("/v1/search?q=x").await.json();
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    assert_eq!(found["results"][0]["name"], "fine/one");
}
