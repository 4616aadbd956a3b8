//! What the page keeps to itself: from whom, and what may run in it.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_typed_and_is_no_name_is_not_repeated() {
    let lab = three("");
    for typed in [
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "ghcr.io/o/i:t%22%20autofocus%20onfocus=%22alert(1)",
        "alert(1)",
        "ghcr.io/alert(1)/x",
        "x%00alert(1)",
        "%FF%FEalert(1)",
    ] {
        for key in ["image", "client", "lang"] {
            let seen = page(&lab, &format!("/?{key}={typed}")).await;
            assert!(is_page(&seen), "{typed}");
            assert!(!text(&seen).contains("alert(1)") && !text(&seen).contains("onfocus"), "{key}={typed}");
        }
    }
    let seen = page(&lab, "/?image=%3Cb%3E").await;
    assert!(text(&seen).contains("That is not the name of an image."));
}

#[tokio::test(start_paused = true)]
async fn without_the_path_secret_there_is_no_page_and_no_word_of_it() {
    let (guarded, off) = (three(GUARDED), three("[page]\npublic=false"));
    for path in ["/", "/?image=alpine", "/what-is-in-secret0/"] {
        let (seen, plain) = (page(&guarded, path).await, page(&off, path).await);
        assert!(!is_page(&seen), "{path}");
        assert_eq!((seen.status, &seen.body), (plain.status, &plain.body), "{path}");
        let names = |seen: &Seen| seen.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(names(&seen), names(&plain), "{path}");
    }
    for path in [format!("{SECRET}/"), SECRET.to_owned()] {
        let seen = page(&guarded, &path).await;
        assert!(is_page(&seen), "{path}");
        assert_eq!(seen.header("referrer-policy"), "no-referrer");
        assert!(lines(&seen, "docker pull ")[0].starts_with("proxy.example/what-is-in-secret/docker.io/"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_has_not_logged_in_learns_no_registry() {
    let rest = "[[upstream]]\nname='internal.corp.test'\nurls=['https://i.test']\nhosts=['i.example']\ndefault=true\n\
                [[upstream]]\nname='secluded'\nurls=['https://h.test']";
    for auth in [USERS, "[clients]\nauth='upstream'"] {
        let lab = Fixture::new(&format!("{auth}\n{rest}"));
        for (host, query) in [
            ("proxy.example", ""),
            ("proxy.example", "?image=quay.io/o/i:1"),
            ("i.example", ""),
            ("i.example", "?image=quay.io/o/i:1"),
        ] {
            let seen = page(&lab, &format!("/{query}")).header("host", host).await;
            let html = text(&seen);
            assert!(
                is_page(&seen) && !html.contains("corp") && !html.contains("secluded"),
                "{host} {query}: {html}"
            );
            assert!(lines(&seen, "docker login ").contains(&host.to_owned()), "{host}");
            assert!(!html.contains("registry-mirrors"), "Docker would send the mirror another login");
        }
        // The same whether the registry is served or not.
        for registry in ["internal.corp.test", "other.test"] {
            let seen = page(&lab, &format!("/?image={registry}/o/i:1")).await;
            assert_eq!(lines(&seen, "docker pull ")[0], format!("proxy.example/{registry}/o/i:1"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn before_a_backend_only_the_root_is_the_page_and_only_for_browsers() {
    let variables = [("REGISTRY_BACKEND", ORIGIN), ("DEFAULT_BACKEND_HOST", "https://cdn.up.example.com")];
    let with = |text| {
        let lab = Fixture::set_up(&Setup { text, variables: &variables, ..Setup::default() });
        lab.net.serve("https://cdn.up.example.com", Registry::default());
        lab
    };
    let lab = with("");
    let blob = lab.registry.put_blob("a/b", manifest_of(10));
    lab.registry.redirect_blobs(STORAGE);
    let seen = page(&lab, "/?image=a/b:v1").await;
    assert!(is_page(&seen) && lab.net.log().is_empty(), "{:?}", lab.net.lines());
    assert_eq!(lines(&seen, "docker pull ")[0], "proxy.example/a/b:v1");
    assert!(!text(&seen).contains("up.example.com"), "the backend's address: {}", text(&seen));
    let seen = page(&lab, "/?image=other.test/a/b:v1").await;
    assert!(text(&seen).contains("without a registry: <code>a/b:v1</code>"), "{}", text(&seen));
    for (call, path) in [
        (lab.get("/"), "/"),
        (lab.get("/").header("accept", "*/*"), "/"),
        (page(&lab, "/index.html"), "/index.html"),
        (page(&lab, "//"), "//"),
    ] {
        lab.net.forget();
        call.await;
        assert_eq!(lab.net.lines(), [format!("GET https://cdn.up.example.com{path}")], "{path}");
    }
    let location = lab.get(&format!("/v2/a/b/blobs/{blob}")).await.header("location").to_owned();
    let stored = page(&lab, location.strip_prefix("https://proxy.example").unwrap()).await;
    assert_eq!(stored.body, manifest_of(10), "a link of a registry that a browser follows");

    let off = with("[page]\npublic=false");
    page(&off, "/").await;
    assert_eq!(off.net.lines(), ["GET https://cdn.up.example.com/"]);
    assert!(is_page(&page(&with(USERS), "/").await));
    let guarded = with(GUARDED);
    assert!(!is_page(&page(&guarded, "/").await) && is_page(&page(&guarded, &format!("{SECRET}/")).await));
    assert!(guarded.net.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_pages_own_style_and_script_may_run_or_load() {
    let lab = three("");
    let seen = page(&lab, "/?image=alpine").await;
    let html = String::from_utf8(seen.body.to_vec()).unwrap();
    let policy = seen.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for element in ["style", "script"] {
        let (open, close) = (format!("<{element}>"), format!("</{element}>"));
        let text = html.split(&open).nth(1).unwrap().split(&close).next().unwrap();
        let hash = BASE64_STANDARD.encode(Sha256::digest(text));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{element}: {policy}");
        assert_eq!(html.matches(&format!("<{element}")).count(), 1);
    }
    assert!(!policy.contains("unsafe") && policy.contains("form-action 'self'"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'"), "{policy}");
    assert!(!html.contains("src=") && !html.contains("url("), "something is loaded");
    assert!(!html.contains("href=\"http") && !html.contains(" style="), "a link to elsewhere");
    assert_eq!(seen.header("x-content-type-options"), "nosniff");
    assert_eq!(seen.header("cache-control"), "no-store, no-transform");
    assert_eq!(seen.header("vary"), "Accept, Accept-Language");
}

#[tokio::test(start_paused = true)]
async fn the_page_is_small() {
    let lab = Fixture::new("catalogue=true");
    for lang in ["en", "zh"] {
        let seen = page(&lab, &format!("/?lang={lang}&image=alpine")).await;
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&seen.body).unwrap();
        let length = packed.finish().unwrap().len();
        assert!(length < 60 * 1024, "{lang}: {length} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn the_page_counts_against_the_limits_of_a_client() {
    let lab = Fixture::new(&format!("[quota.client]\nrequests_per_hour=1\n{}", upstream("")));
    assert!(is_page(&page(&lab, "/").await));
    assert_eq!(page(&lab, "/").await.status, 429);
    assert_eq!(lab.get("/").await.status, 200, "a line of text costs nothing");
}
