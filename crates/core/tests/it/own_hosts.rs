//! By which names the administration page answers where nobody logs in.

use crate::fixture::{Fixture, upstream};

fn lab(settings: &str) -> Fixture {
    Fixture::caching(&format!("{settings}\n{}", upstream("")))
}

/// Whoever lets `evil.example` resolve to 127.0.0.1 has the origin of a page there, in the eyes of a browser.
#[tokio::test(start_paused = true)]
async fn without_logins_the_page_answers_by_names_that_no_stranger_can_give_it() {
    let ask = async |lab: &Fixture, host: &str| {
        let mut request = http::Request::new(registry_proxy_core::Body::Empty);
        *request.uri_mut() = "/-/images".parse().unwrap();
        request.headers_mut().insert("host", host.parse().unwrap());
        let cx = registry_proxy_core::Cx { peer: None, introduced: None, is_tls: false, id: 1 };
        let (head, body) = lab.proxy.handle_page(&cx, request).await.into_parts();
        (head.status.as_u16(), body.collect(1 << 20).await.unwrap())
    };
    let open = lab("public_url='https://p.example'\n[page]\nlisten='0.0.0.0:1'");
    for (host, expected) in [
        ("127.0.0.1:1", 200),
        ("192.0.2.7:1", 200),
        ("localhost:1", 200),
        ("p.example", 200),
        ("evil.example:1", 403),
        ("127.0.0.1.evil.example", 403),
    ] {
        assert_eq!(ask(&open, host).await.0, expected, "{host}");
    }
    let (_, told) = ask(&open, "evil.example").await;
    assert!(String::from_utf8(told.to_vec()).unwrap().contains("page.auth = \"users\""));
    // A browser sends no login that its user has given to another name.
    let users = lab("[clients]\nauth='users'\nusers_file='u'\n[page]\nlisten='0.0.0.0:1'");
    assert_eq!(ask(&users, "pages.internal").await.0, 401);
}
