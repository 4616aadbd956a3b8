//! Who × upstream × repository × request × cached or not: what each may, by rules, for users and for accounts of registries. Every
//! expectation is written by hand.

use registry_proxy_core::testing::{Gate, Registry};

use super::{people, put_image};
use crate::fixture::{Call, Fixture, OCI_MANIFEST, REALM, Seen, manifest_of, upstream};

const TWO: &str = "https://origin.two.example.com";
const TWO_REALM: &str = "https://auth.two.example.com/token";

/// A rule, of which a test can turn around what it says.
struct Rule {
    who: &'static str,
    allow: &'static str,
    deny: &'static str,
    push: bool,
}

impl Rule {
    fn text(&self, is_inverted: bool) -> String {
        let (who, mut allow, mut deny) = (self.who, self.allow, self.deny);
        if is_inverted {
            std::mem::swap(&mut allow, &mut deny);
        }
        let push = self.push && !allow.is_empty();
        format!("[[access]]\nwho='{who}'\nallow=[{allow}]\ndeny=[{deny}]\npush={push}\n")
    }
}

/// How clients log in, the rules, and what they come to.
struct World {
    clients: &'static str,
    rules: [Rule; 4],
    /// Who, and for each of `PLACES` two letters, for reading and for writing: `y`es, `n`o, or a `l`ogin is asked for.
    table: [(&'static str, [&'static str; 8]); 5],
}

/// Upstream and repository; the columns of a table.
const PLACES: [(&str, &str); 8] = [
    ("reg.example", "team-a/app"),
    ("reg.example", "team-a/secret"),
    ("reg.example", "team-b/app"),
    ("reg.example", "shared/base"),
    ("two.example", "team-a/app"),
    ("two.example", "team-a/secret"),
    ("two.example", "team-b/app"),
    ("two.example", "shared/base"),
];

/// Users of the password file.
static USERS: World = World {
    clients: "[clients]\nauth='users'\nusers_file='u'\ngroups_file=\"all: nobody\\nops: carol\"\n",
    rules: [
        Rule { who: "alice", allow: "'reg.example/team-a/**'", deny: "'reg.example/team-a/secret'", push: true },
        Rule { who: "group:ops", allow: "'**'", deny: "", push: true },
        Rule { who: "b*", allow: "'*/team-b/**','reg.example/shared/base'", deny: "", push: false },
        Rule { who: "*", allow: "'*/shared/**'", deny: "'two.example/shared/**'", push: false },
    ],
    table: [
        ("alice", ["yy", "nn", "nn", "yn", "nn", "nn", "nn", "nn"]),
        ("bob", ["nn", "nn", "yn", "yn", "nn", "nn", "yn", "nn"]),
        ("carol", ["yy", "yy", "yy", "yy", "yy", "yy", "yy", "yy"]),
        ("dave", ["nn", "nn", "nn", "yn", "nn", "nn", "nn", "nn"]),
        ("", ["ll", "ll", "ll", "ll", "ll", "ll", "ll", "ll"]),
    ],
};

/// Accounts of registries: those of one are not those of the other, although they have the same names.
static ACCOUNTS: World = World {
    clients: "[clients]\nauth='upstream'\ngroups_file=\"all: nobody\\nops: two.example/carol\"\n",
    rules: [
        Rule { who: "reg.example/alice", allow: "'**'", deny: "'reg.example/team-a/secret'", push: true },
        Rule { who: "group:ops", allow: "'two.example/**'", deny: "", push: true },
        Rule { who: "*/bob", allow: "'*/team-b/**'", deny: "", push: false },
        Rule { who: "anonymous", allow: "'reg.example/shared/**'", deny: "", push: false },
    ],
    table: [
        ("alice", ["yy", "nn", "yy", "yy", "nn", "nn", "nn", "nn"]),
        ("bob", ["nn", "nn", "yn", "nn", "nn", "nn", "yn", "nn"]),
        ("carol", ["nn", "nn", "nn", "nn", "yy", "yy", "yy", "yy"]),
        ("dave", ["nn", "nn", "nn", "nn", "nn", "nn", "nn", "nn"]),
        // Where no rule for a login allows it, none is asked for.
        ("", ["ll", "nn", "ll", "yl", "ll", "ll", "ll", "ll"]),
    ],
};

/// What the cache has when a client asks.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Nothing is ever kept.
    NoStore,
    /// Everything was pulled before there were rules.
    Cached,
    /// The same, and no registry is asked.
    Offline,
}

struct Town {
    lab: Fixture,
    world: &'static World,
    state: State,
}

/// The requests of a client; from `FIRST_WRITE` on they write.
const REQUESTS: usize = 10;
const FIRST_WRITE: usize = 8;

impl Town {
    async fn new(world: &'static World, state: State) -> Self {
        let two = format!("[[upstream]]\nname='two.example'\nurls=['{TWO}']\npush=true\n");
        let before = format!("{}{}{two}", world.clients, upstream("push=true"));
        let mut lab = if state == State::NoStore { Fixture::new(&before) } else { Fixture::caching(&before) };
        people(&mut lab);
        let second = Registry::default();
        lab.net.serve(TWO, second.clone());
        lab.net.serve(TWO_REALM, second.clone());
        for (upstream, repository) in PLACES {
            let registry = if upstream == "reg.example" { &lab.registry } else { &second };
            put_image(registry, repository, "1");
        }
        if world.clients.contains("'upstream'") {
            for (registry, realm) in [(&lab.registry, REALM), (&second, TWO_REALM)] {
                registry.guard(Gate::Bearer { realm: realm.to_owned(), service: Some("up".to_owned()) });
                for user in ["alice", "bob", "carol", "dave", "root"] {
                    registry.add_user(user, "pass");
                }
            }
        }
        lab.restart(&before);
        let town = Self { lab, world, state };
        if state != State::NoStore {
            for place in PLACES {
                for request in 0..FIRST_WRITE {
                    let seen = town.request("root", place, request).await.await;
                    assert!(request > 6 || seen.status.is_success(), "{place:?} {request}: {seen:?}");
                }
            }
            town.lab.wait(5).await;
        }
        town
    }

    /// From now on these rules hold.
    fn rule(&mut self, inverted: Option<usize>) {
        let rules = self.world.rules.iter().enumerate().map(|(at, rule)| rule.text(inverted == Some(at)));
        let offline = if self.state == State::Offline { "[cache]\noffline=true\n" } else { "" };
        let two = format!("[[upstream]]\nname='two.example'\nurls=['{TWO}']\npush=true\n");
        let rules: String = rules.collect();
        self.lab.restart(&format!("{}{rules}{offline}{}{two}", self.world.clients, upstream("push=true")));
    }

    async fn request(&self, who: &str, (upstream, repository): (&str, &str), request: usize) -> Call {
        let (lab, base) = (&self.lab, format!("/v2/{upstream}/{repository}"));
        let manifest = format!(
            r#"{{"layers":[{{"digest":"{}"}}],"annotations":{{"a":"1"}}}}"#,
            registry_proxy_core::testing::sha256(&crate::fixture::noise(5000))
        );
        let digest = registry_proxy_core::testing::sha256(manifest.as_bytes());
        let layer = registry_proxy_core::testing::sha256(&crate::fixture::noise(5000));
        let call = match request {
            0 => lab.get(&format!("{base}/manifests/v1")),
            1 => lab.get(&format!("{base}/manifests/{digest}")),
            2 => lab.head(&format!("{base}/manifests/v1")),
            3 => lab.get(&format!("{base}/blobs/{layer}")),
            4 => lab.head(&format!("{base}/blobs/{layer}")),
            5 => lab.get(&format!("{base}/blobs/{layer}")).header("range", "bytes=10-19"),
            6 => lab.get(&format!("{base}/tags/list")),
            7 => lab.get(&format!("{base}/referrers/{digest}")),
            8 => {
                let body = manifest_of(50);
                lab.put(&format!("{base}/manifests/pushed")).header("content-type", OCI_MANIFEST).body(body)
            }
            _ => lab.post(&format!("{base}/blobs/uploads/")),
        };
        match who {
            "" if self.world.clients.contains("'upstream'") => call.bearer(&lab.anonymous().await),
            "" => call,
            name => call.basic(name, "pass"),
        }
    }

    /// The letter for what a client saw.
    fn letter(seen: &Seen) -> char {
        match seen.status.as_u16() {
            401 => 'l',
            403 => 'n',
            _ => 'y',
        }
    }

    /// Asks everything, and tells how often, and where it was otherwise than the table says.
    async fn ask(&self, requests: &[usize]) -> (usize, Vec<String>) {
        let (mut count, mut wrong) = (0, Vec::new());
        for (who, row) in self.world.table {
            for (place, cell) in PLACES.into_iter().zip(row) {
                for request in requests {
                    let expected = cell.chars().nth(usize::from(*request >= FIRST_WRITE)).expect("two letters");
                    let seen = self.request(who, place, *request).await.await;
                    count += 1;
                    if Self::letter(&seen) != expected {
                        wrong.push(format!("{:?}: {who:?} {place:?} {request}: {seen:?}", self.state));
                        continue;
                    }
                    self.look_at(&seen, *request, expected);
                }
            }
        }
        (count, wrong)
    }

    fn look_at(&self, seen: &Seen, request: usize, expected: char) {
        match expected {
            'y' if request < 6 => assert!(seen.status.is_success(), "{:?} {request}: {seen:?}", self.state),
            'n' => {
                let is_by_rule = seen.header("x-registry-proxy") == "refused; why=\"denied by access rule\"";
                assert!(is_by_rule, "{:?} {request}: {seen:?}", self.state);
                if !seen.body.is_empty() {
                    let text = String::from_utf8_lossy(&seen.body);
                    assert!(seen.code() == "DENIED" && !text.contains("team-"), "{text}");
                }
            }
            _ => {}
        }
    }
}

const ALL: [usize; REQUESTS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[tokio::test(start_paused = true)]
async fn each_client_has_what_the_rules_give_it_and_nothing_else() {
    let mut all = 0;
    for (world, states) in [
        (&USERS, &[State::NoStore, State::Cached, State::Offline][..]),
        // Offline nobody can say who may read what.
        (&ACCOUNTS, &[State::NoStore, State::Cached]),
    ] {
        for state in states {
            let mut town = Town::new(world, *state).await;
            town.rule(None);
            let (count, wrong) = town.ask(&ALL).await;
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            all += count;
        }
    }
    assert_eq!(all, 2000);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_turned_around_shows() {
    for world in [&USERS, &ACCOUNTS] {
        let mut town = Town::new(world, State::Cached).await;
        for at in 0..world.rules.len() {
            town.rule(Some(at));
            let (_, wrong) = town.ask(&[0, 9]).await;
            assert!(!wrong.is_empty(), "{}", world.rules[at].who);
        }
    }
}
