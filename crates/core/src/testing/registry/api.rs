//! What the registry answers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::{Contents, Gate, Issued, Registry, sha256};
use crate::testing::network::{Answer, Sent, Server};

impl Server for Registry {
    fn answer(&self, sent: &Sent) -> Answer {
        let mut contents = self.contents();
        let is_token = match &contents.gate {
            Gate::Bearer { realm, .. } => sent.url.starts_with(realm.as_str()),
            _ => false,
        };
        let is_storage = contents.storage.as_ref().is_some_and(|storage| sent.url.starts_with(storage.as_str()));
        if is_token {
            contents.token(sent)
        } else if is_storage {
            contents.stored(sent)
        } else {
            contents.api(sent)
        }
    }
}

fn error(status: u16, code: &str) -> Answer {
    let body = json!({ "errors": [{ "code": code, "message": "said by origin.up.example.com" }] });
    Answer::new(status)
        .header("content-type", "application/json")
        // What registries say beside, and clients of a proxy should not see.
        .header("set-cookie", "session=1; Domain=up.example.com")
        .header("server", "origin.up.example.com")
        .body(body.to_string())
}

fn basic_of(sent: &Sent) -> Option<(String, String)> {
    let text = BASE64_STANDARD.decode(sent.header("authorization").strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(text).ok()?;
    text.split_once(':').map(|(name, password)| (name.to_owned(), password.to_owned()))
}

impl Contents {
    fn api(&mut self, sent: &Sent) -> Answer {
        let Some(path) = sent.path().find("/v2/").and_then(|at| sent.path().get(at + 4..)) else {
            return error(404, "UNSUPPORTED");
        };
        if path.is_empty() {
            return self.challenge_or(sent, "", |_| Answer::new(200).body("{}"));
        }
        let parts = ["/manifests/", "/blobs/uploads/", "/blobs/", "/tags/", "/referrers/"];
        let split = parts.iter().find_map(|part| {
            let at = path.rfind(part)?;
            Some((path.get(..at)?.to_owned(), *part, path.get(at + part.len()..)?.to_owned()))
        });
        let Some((name, kind, rest)) = split else { return error(404, "UNSUPPORTED") };
        self.challenge_or(sent, &name.clone(), |contents| match kind {
            "/manifests/" => contents.manifest(sent, &name, &rest),
            "/blobs/" => contents.blob(sent, &name, &rest),
            "/blobs/uploads/" => contents.upload(sent, &name),
            "/tags/" => contents.tags(sent, &name),
            _ => error(404, "UNSUPPORTED"),
        })
    }

    /// The answer, where the request's login is good enough for it.
    fn challenge_or(&mut self, sent: &Sent, name: &str, answer: impl FnOnce(&mut Self) -> Answer) -> Answer {
        let refused = match &self.gate {
            Gate::Open => sent.headers.contains_key("authorization").then(|| error(400, "UNSUPPORTED")),
            Gate::Basic => {
                let may =
                    basic_of(sent).is_some_and(|user| self.users.contains(&user) && self.may(Some(&user.0), name));
                (!may).then(|| error(401, "UNAUTHORIZED").header("www-authenticate", "Basic realm=\"up\""))
            }
            Gate::Bearer { realm, service } => {
                let issued =
                    self.tokens.get(sent.header("authorization").strip_prefix("Bearer ").unwrap_or_default());
                let reads = format!("repository:{name}:");
                let may = issued.is_some_and(|issued| {
                    name.is_empty() || issued.scopes.iter().any(|scope| scope.starts_with(&reads))
                });
                let service =
                    service.as_ref().map_or_else(String::new, |service| format!(",service=\"{service}\""));
                let challenge = format!("Bearer realm=\"{realm}\"{service},scope=\"repository:bogus/bogus:pull\"");
                (!may).then(|| error(401, "UNAUTHORIZED").header("www-authenticate", &challenge))
            }
        };
        refused.unwrap_or_else(|| answer(self))
    }

    fn may(&self, user: Option<&str>, repository: &str) -> bool {
        self.private.get(repository).is_none_or(|users| user.is_some_and(|user| users.iter().any(|u| u == user)))
    }

    /// The token server: grants of the scopes asked for those that the user may read.
    fn token(&mut self, sent: &Sent) -> Answer {
        let user = match basic_of(sent) {
            Some(user) if self.users.contains(&user) => Some(user.0),
            Some(_) => return error(401, "UNAUTHORIZED"),
            None => None,
        };
        let query = sent.path_and_query().split_once('?').map_or("", |(_, query)| query);
        let form = std::str::from_utf8(&sent.body).unwrap_or_default();
        let asked = url::form_urlencoded::parse(query.as_bytes())
            .chain(url::form_urlencoded::parse(form.as_bytes()))
            .filter(|(key, _)| key == "scope")
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let granted = asked.filter(|scope| {
            let name = scope.split(':').nth(1).unwrap_or_default();
            self.may(user.as_deref(), name)
        });
        let scopes: Vec<String> = granted.collect();
        self.issued += 1;
        let token = format!("token-{}", self.issued);
        self.tokens.insert(token.clone(), Issued { scopes });
        let body = match self.token_life {
            Some(seconds) => json!({ "token": token, "expires_in": seconds }),
            None => json!({ "token": token }),
        };
        Answer::new(200).header("content-type", "application/json").body(body.to_string())
    }

    fn manifest(&mut self, sent: &Sent, name: &str, reference: &str) -> Answer {
        let key = (name.to_owned(), reference.to_owned());
        match sent.method {
            Method::PUT => {
                let digest = sha256(&sent.body);
                let media_type = sent.header("content-type").to_owned();
                self.manifests.insert(key, (media_type, sent.body.clone()));
                Answer::new(201)
                    .header("location", &format!("https://origin.up.example.com/v2/{name}/manifests/{digest}"))
                    .header("docker-content-digest", &digest)
                    .header("oci-subject", "sha256:of-the-subject")
            }
            Method::DELETE => {
                self.deleted.push(format!("{name} {reference}"));
                // By digest, every tag that points there goes with it.
                self.manifests.retain(|(repository, held), (_, bytes)| {
                    repository != name || held != reference && sha256(bytes) != reference
                });
                Answer::new(202)
            }
            _ => match self.manifests.get(&key) {
                Some((media_type, bytes)) => Answer::new(200)
                    .header("content-type", media_type)
                    .header("docker-content-digest", &sha256(bytes))
                    .header("set-cookie", "session=1")
                    .header("ratelimit-remaining", "99;w=21600")
                    .body(bytes.clone()),
                None => error(404, "MANIFEST_UNKNOWN"),
            },
        }
    }

    fn blob(&mut self, sent: &Sent, name: &str, digest: &str) -> Answer {
        if sent.method == Method::DELETE {
            self.deleted.push(format!("{name} {digest}"));
            self.blobs.remove(&(name.to_owned(), digest.to_owned()));
            return Answer::new(202);
        }
        match (self.blobs.get(&(name.to_owned(), digest.to_owned())), &self.storage) {
            (None, _) => error(404, "BLOB_UNKNOWN"),
            (Some(_), Some(storage)) => Answer::new(307)
                .header("location", &format!("{storage}/{name}/{digest}?sig=a%2Fb+'c'%3D"))
                .header("set-cookie", "session=1"),
            (Some(bytes), None) => ranged(sent, bytes).header("docker-content-digest", digest),
        }
    }

    /// The storage: signed for GET, and it takes no other login.
    fn stored(&self, sent: &Sent) -> Answer {
        if sent.method != Method::GET {
            return error(403, "SignatureDoesNotMatch");
        }
        if sent.headers.contains_key("authorization") {
            return error(400, "OnlyOneAuthMechanismAllowed");
        }
        let found =
            self.blobs.iter().find(|((name, digest), _)| sent.path().ends_with(&format!("/{name}/{digest}")));
        found.map_or_else(|| error(404, "NoSuchKey"), |(_, bytes)| ranged(sent, bytes))
    }

    /// One upload at a time, in each repository.
    fn upload(&mut self, sent: &Sent, name: &str) -> Answer {
        let mounted = sent.parameter("mount").filter(|_| sent.method == Method::POST);
        let finished = sent.parameter("digest");
        match &sent.method {
            &Method::POST | &Method::PATCH | &Method::PUT => {
                self.uploads.entry(name.to_owned()).or_default().extend_from_slice(&sent.body);
            }
            _ => {}
        }
        let bytes = match (&finished, &mounted) {
            (Some(_), _) => self.uploads.remove(name).map(Bytes::from),
            (None, Some(digest)) => {
                self.blobs.iter().find(|((_, held), _)| held == digest).map(|(_, bytes)| bytes.clone())
            }
            (None, None) => None,
        };
        if let (Some(digest), Some(bytes)) = (finished.or(mounted), bytes) {
            self.blobs.insert((name.to_owned(), digest), bytes);
        }
        let digest =
            sent.parameter("digest").or_else(|| sent.parameter("mount").filter(|_| sent.method == Method::POST));
        let location = self.upload_location.clone();
        match (&sent.method, digest) {
            (&Method::POST | &Method::PUT, Some(digest)) => Answer::new(201)
                .header("location", "https://origin.up.example.com/v2/somewhere")
                .header("docker-content-digest", &digest),
            (&Method::DELETE, _) => Answer::new(204),
            (&Method::GET, _) => Answer::new(204).header("location", &location).header("range", "0-4"),
            _ => Answer::new(202)
                .header("location", &location)
                .header("docker-upload-uuid", "u1")
                .header("set-cookie", "sticky=1")
                .header("range", &format!("0-{}", sent.body.len().saturating_sub(1))),
        }
    }

    fn tags(&self, sent: &Sent, name: &str) -> Answer {
        let tags: Vec<&str> =
            self.tags.iter().filter(|(repository, _)| repository == name).map(|(_, tag)| tag.as_str()).collect();
        if tags.is_empty() {
            return error(404, "NAME_UNKNOWN");
        }
        let count: usize = sent.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(tags.len());
        let last = sent.parameter("last");
        let start = last.and_then(|last| tags.iter().position(|tag| *tag == last)).map_or(0, |at| at + 1);
        let page: Vec<&str> = tags.iter().skip(start).take(count).copied().collect();
        let answer = Answer::new(200).header("content-type", "application/json");
        let answer = match page.last() {
            Some(last) if start + page.len() < tags.len() => {
                let next = format!(
                    "<https://origin.up.example.com/v2/{name}/tags/list?n={count}&last={last}>; rel=\"next\""
                );
                answer.header("link", &next)
            }
            _ => answer,
        };
        answer.body(json!({ "name": name, "tags": page }).to_string())
    }
}

/// The bytes that `Range` asks for.
fn ranged(sent: &Sent, bytes: &Bytes) -> Answer {
    let total = bytes.len();
    let answer = Answer::new(200).header("content-type", "application/octet-stream");
    let Some((first, last)) = sent.header("range").strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return answer.body(bytes.clone());
    };
    let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, total.min(last.saturating_add(1))),
        (Ok(first), Err(_)) => (first, total),
        (Err(_), Ok(length)) => (total.saturating_sub(length), total),
        (Err(_), Err(_)) => return answer.body(bytes.clone()),
    };
    if start >= end {
        return Answer::new(416).header("content-range", &format!("bytes */{total}"));
    }
    let range = format!("bytes {start}-{}/{total}", end - 1);
    Answer { status: http::StatusCode::PARTIAL_CONTENT, ..answer }
        .header("content-range", &range)
        .body(bytes.slice(start..end))
}
