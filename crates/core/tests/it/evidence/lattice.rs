//! What was heard before × what is asked × store × how clients log in: status, and what the registry is asked for it.
//! Every expectation is written by hand.

use registry_proxy_core::testing::{Gate, sha256};

use crate::fixture::{Call, Fixture, OCI_MANIFEST, noise, upstream};

/// What happened before, by a client that may read `a/b` and `c/d`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// HEAD said that it is there.
    Head,
    /// The whole of it was given.
    Given,
    /// The whole of it was given for another repository.
    GivenElsewhere,
    /// A manifest names it.
    Named,
    /// Both of these.
    NamedAndGivenElsewhere,
    /// HEAD did not find it; now it is there.
    Head404,
    /// GET did not find it; now it is there.
    Get404,
    /// It was pushed through us.
    Pushed,
    /// GET did not find it, and then it was pushed through us.
    Get404AndPushed,
    /// It was given, and then deleted through us.
    Deleted,
}

use Before::{
    Deleted, Get404, Get404AndPushed, Given, GivenElsewhere, Head, Head404, Named, NamedAndGivenElsewhere,
    Nothing, Pushed,
};

/// Status and questions for HEAD, GET and a range, where nothing is kept.
const WITHOUT_STORE: [(Before, [&str; 3]); 11] = [
    (Nothing, ["200 H", "200 G", "206 G"]),
    (Head, ["200 H", "200 G", "206 G"]),
    (Given, ["200 H", "200 G", "206 G"]),
    (GivenElsewhere, ["200 H", "200 G", "206 G"]),
    (Named, ["200 H", "200 G", "206 G"]),
    (NamedAndGivenElsewhere, ["200 H", "200 G", "206 G"]),
    (Head404, ["200 H", "200 G", "206 G"]),
    (Get404, ["200 H", "200 G", "206 G"]),
    (Pushed, ["200 H", "200 G", "206 G"]),
    (Get404AndPushed, ["200 H", "200 G", "206 G"]),
    // A 404 of HEAD proves nothing, and GET is asked as well.
    (Deleted, ["404 HG", "404 G", "404 G"]),
];

/// With a store, where all clients see the same and pushes do not pass.
const SHARED: [(Before, [&str; 3]); 8] = [
    (Nothing, ["200 H", "200 G", "206 G"]),
    (Head, ["200 H", "200 G", "206 G"]),
    (Given, ["200 ", "200 ", "206 "]),
    (GivenElsewhere, ["200 H", "200 H", "206 H"]),
    (Named, ["200 H", "200 G", "206 G"]),
    (NamedAndGivenElsewhere, ["200 ", "200 ", "206 "]),
    (Head404, ["404 ", "200 G", "206 G"]),
    (Get404, ["404 ", "404 ", "404 "]),
];

/// The same where pushes pass: a HEAD may be a pusher's, and is asked.
const SHARED_WITH_PUSH: [(Before, [&str; 3]); 11] = [
    (Nothing, ["200 H", "200 G", "206 G"]),
    (Head, ["200 H", "200 G", "206 G"]),
    (Given, ["200 H", "200 ", "206 "]),
    (GivenElsewhere, ["200 H", "200 H", "206 H"]),
    (Named, ["200 H", "200 G", "206 G"]),
    (NamedAndGivenElsewhere, ["200 H", "200 ", "206 "]),
    (Head404, ["200 H", "200 G", "206 G"]),
    (Get404, ["200 H", "404 ", "404 "]),
    (Pushed, ["200 H", "200 G", "206 G"]),
    (Get404AndPushed, ["200 H", "200 G", "206 G"]),
    // What is stored is confirmed by HEAD, and a 404 of that by a byte.
    (Deleted, ["404 HG", "404 HG", "404 HG"]),
];

/// By a login of the client's own: a manifest's word is not enough, nor what another repository gave.
const BY_LOGIN: [(Before, [&str; 3]); 8] = [
    (Nothing, ["200 H", "200 G", "206 G"]),
    (Head, ["200 H", "200 G", "206 G"]),
    (Given, ["200 ", "200 ", "206 "]),
    (GivenElsewhere, ["200 H", "200 H", "206 H"]),
    (Named, ["200 H", "200 G", "206 G"]),
    (NamedAndGivenElsewhere, ["200 H", "200 H", "206 H"]),
    (Head404, ["404 ", "200 G", "206 G"]),
    (Get404, ["404 ", "404 ", "404 "]),
];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Auth {
    Open,
    Users,
    Upstream,
}

struct Case {
    lab: Fixture,
    token: Option<String>,
}

const CONTENT: usize = 5000;

fn path(repository: &str) -> String {
    format!("/v2/{repository}/blobs/{}", sha256(&noise(CONTENT)))
}

impl Case {
    async fn new(auth: Auth, has_store: bool, push: bool) -> Self {
        let clients = match auth {
            Auth::Open => "",
            Auth::Users => "[clients]\nauth='users'\nusers_file='u'",
            Auth::Upstream => "[clients]\nauth='upstream'",
        };
        let text = format!("{clients}\n{}", upstream(if push { "push=true" } else { "" }));
        let lab = if has_store { Fixture::caching(&text) } else { Fixture::new(&text) };
        if auth == Auth::Upstream {
            lab.registry.guard(Gate::Basic);
            lab.registry.add_user("alice", "wonder");
            lab.registry.add_user("bob", "builder");
            lab.registry.make_private("a/b", &["alice"]);
            lab.registry.make_private("c/d", &["alice"]);
        }
        let scopes = "repository:a/b:pull,push,delete&scope=repository:c/d:pull";
        let token = match auth {
            Auth::Open => None,
            Auth::Users | Auth::Upstream => Some(lab.login_for("alice", "wonder", scopes).await),
        };
        Self { lab, token }
    }

    fn signed(&self, call: Call) -> Call {
        match &self.token {
            Some(token) => call.bearer(token),
            None => call,
        }
    }

    async fn get(&self, path: &str) -> u16 {
        self.signed(self.lab.get(path)).await.status.as_u16()
    }

    async fn give_elsewhere(&self) {
        self.lab.registry.put_blob("c/d", noise(CONTENT));
        assert_eq!(self.get(&path("c/d")).await, 200);
    }

    async fn name(&self) {
        let manifest = format!(r#"{{"layers":[{{"digest":"{}"}}]}}"#, sha256(&noise(CONTENT)));
        self.lab.registry.put_manifest("a/b", "v1", OCI_MANIFEST, manifest);
        assert_eq!(self.get("/v2/a/b/manifests/v1").await, 200);
    }

    async fn push(&self) {
        let digest = sha256(&noise(CONTENT));
        let call = self.lab.post(&format!("/v2/a/b/blobs/uploads/?digest={digest}")).body(noise(CONTENT));
        assert_eq!(self.signed(call).await.status, 201);
    }

    async fn happens(&self, before: Before) {
        let it = path("a/b");
        match before {
            Nothing => {}
            Named => self.name().await,
            NamedAndGivenElsewhere => {
                self.name().await;
                self.give_elsewhere().await;
            }
            GivenElsewhere => self.give_elsewhere().await,
            Head404 => assert_eq!(self.signed(self.lab.head(&it)).await.status, 404),
            Get404 => assert_eq!(self.get(&it).await, 404),
            Pushed => self.push().await,
            Get404AndPushed => {
                assert_eq!(self.get(&it).await, 404);
                self.push().await;
            }
            Head => {
                self.lab.registry.put_blob("a/b", noise(CONTENT));
                assert_eq!(self.signed(self.lab.head(&it)).await.status, 200);
            }
            Given | Deleted => {
                self.lab.registry.put_blob("a/b", noise(CONTENT));
                assert_eq!(self.get(&it).await, 200);
            }
        }
        if before == Deleted {
            assert_eq!(self.signed(self.lab.delete(&it)).await.status, 202);
        } else {
            self.lab.registry.put_blob("a/b", noise(CONTENT));
        }
    }

    /// Asks, and tells the status and what the registry was asked: `H`EAD, `G`ET.
    async fn ask(&self, question: usize) -> String {
        self.lab.net.forget();
        let it = path("a/b");
        let call = match question {
            0 => self.lab.head(&it),
            1 => self.lab.get(&it),
            _ => self.lab.get(&it).header("range", "bytes=10-19"),
        };
        let seen = self.signed(call).await;
        if seen.status.is_success() && question > 0 {
            let whole = noise(CONTENT);
            assert_eq!(seen.body, if question == 1 { whole } else { whole.slice(10..20) });
        }
        let asked = self.lab.net.log().into_iter().filter(|sent| sent.path().contains("/blobs/"));
        let mut asked: Vec<char> = asked.filter_map(|sent| sent.method.as_str().chars().next()).collect();
        // With a login, and the first time without.
        asked.dedup();
        format!("{} {}", seen.status.as_u16(), asked.into_iter().collect::<String>())
    }
}

async fn hold(rows: &[(Before, [&str; 3])], auths: &[Auth], has_store: bool, push: bool) -> usize {
    let mut count = 0;
    for auth in auths {
        for (before, expected) in rows {
            for (question, expected) in expected.iter().enumerate() {
                let case = Case::new(*auth, has_store, push).await;
                case.happens(*before).await;
                let asked = case.ask(question).await;
                assert_eq!(
                    asked, *expected,
                    "{before:?}, question {question}, {auth:?}, store: {has_store}, {push}"
                );
                count += 1;
            }
        }
    }
    count
}

#[tokio::test(start_paused = true)]
async fn what_was_heard_answers_what_it_can_and_no_more() {
    let shared = [Auth::Open, Auth::Users];
    let mut count = hold(&WITHOUT_STORE, &[Auth::Open, Auth::Users, Auth::Upstream], false, true).await;
    count += hold(&SHARED, &shared, true, false).await;
    count += hold(&SHARED_WITH_PUSH, &shared, true, true).await;
    count += hold(&BY_LOGIN, &[Auth::Upstream], true, false).await;
    assert_eq!(count, 3 * 33 + 2 * 24 + 2 * 33 + 24);
}

/// Whatever alice has brought here, bob, whom the registry does not let in, has none of it.
#[tokio::test(start_paused = true)]
async fn what_one_login_was_given_serves_no_other() {
    for (before, _) in BY_LOGIN {
        let case = Case::new(Auth::Upstream, true, false).await;
        case.happens(before).await;
        let it = path("a/b");
        for call in [case.lab.head(&it), case.lab.get(&it), case.lab.get(&it).header("range", "bytes=10-19")] {
            let seen = call.basic("bob", "builder").await;
            assert!(matches!(seen.status.as_u16(), 401 | 403 | 404), "{before:?}: {seen:?}");
        }
    }
}
