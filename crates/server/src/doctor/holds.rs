//! Held tags: how many there are, and those whose hold does not end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use registry_proxy_core::Config;
use registry_proxy_core::admin::{Command, Event, HeldState, HoldEntry};
use registry_proxy_core::config::HoldRule;

use super::finding::Finding;
use crate::admin_socket::CacheHolder;
use crate::human::span;
use crate::store;

const SUBJECT: &str = "held tags";
/// For reading the records of all of them.
const DEADLINE: Duration = Duration::from_secs(30);
/// Most tags that are named.
const MAX_NAMED: usize = 5;

/// What was counted, and the warnings.
#[derive(Default)]
struct Seen {
    held: usize,
    new: usize,
    pinned: usize,
    stuck: usize,
    findings: Vec<Finding>,
}

/// What there is to say of held tags; nothing where no rule holds any.
pub(crate) async fn findings(config: &Config) -> Vec<Finding> {
    // What is wrong with the directory is said elsewhere, and root would make it for itself alone.
    if config.cache.first_hold().is_none() || store::missing_for_root(&config.cache).is_some() {
        return Vec::new();
    }
    let seen = Mutex::new(Seen::default());
    let note = |event: Event| {
        if let Event::Held(tag) = event {
            seen.lock().unwrap_or_else(PoisonError::into_inner).note(config, &tag);
        }
    };
    let listing = async { CacheHolder::find(config).await?.run(Command::Held(None), &note).await };
    let listed = tokio::time::timeout(DEADLINE, listing).await;
    let unread = match listed {
        Ok(Ok(())) => None,
        Ok(Err(what)) => Some(what),
        Err(_) => Some(format!("the store does not list them within {} s", DEADLINE.as_secs())),
    };
    seen.into_inner().unwrap_or_else(PoisonError::into_inner).findings(unread)
}

impl Seen {
    fn note(&mut self, config: &Config, tag: &HoldEntry) {
        let names = tag.name.rsplit_once(':').and_then(|(name, tag)| Some((name.split_once('/')?, tag)));
        let rule =
            names.and_then(|((upstream, repository), tag)| config.cache.hold_for(upstream, repository, tag));
        // Without a rule for it a record has no effect.
        let Some(rule) = rule else { return };
        match tag.state {
            HeldState::Held => self.held += 1,
            HeldState::New => self.new += 1,
            HeldState::Pinned => self.pinned += 1,
        }
        if is_stuck(tag, rule) {
            self.stuck += 1;
            if self.stuck <= MAX_NAMED {
                self.findings.push(stuck(tag, rule));
            }
        }
    }

    fn findings(mut self, unread: Option<String>) -> Vec<Finding> {
        if let Some(more) = self.stuck.checked_sub(MAX_NAMED).filter(|more| *more > 0) {
            let what = format!("{more} more tags are held for longer than hold_max");
            self.findings.push(Finding::warning(SUBJECT, what, "registry-proxy cache held lists all"));
        }
        if let Some(what) = unread {
            let next =
                "run this where the server runs, as its user; registry-proxy cache held reads the same records";
            self.findings.push(Finding::warning(SUBJECT, what, next));
        } else if self.findings.is_empty() {
            let Self { held, new, pinned, .. } = self;
            let what = format!("{held} held, {new} new and refused, {pinned} pinned until they are unpinned");
            self.findings.push(Finding::ok(SUBJECT, what));
        }
        self.findings
    }
}

/// Whether the time of `hold_max` is over, and yet no manifest has stood for `hold`: each that did was gone at its registry.
/// It goes on so as long as the tag moves.
fn is_stuck(tag: &HoldEntry, rule: HoldRule) -> bool {
    let is_waiting = match tag.state {
        HeldState::Held | HeldState::New => true,
        HeldState::Pinned => false,
    };
    let is_over = tag.moved_seconds_ago.is_some_and(|ago| ago >= rule.max.0.as_secs());
    is_waiting && is_over && tag.oldest_seconds_ago.is_some_and(|ago| ago < rule.span.0.as_secs())
}

fn stuck(tag: &HoldEntry, rule: HoldRule) -> Finding {
    let moved = tag.moved_seconds_ago.map(span).unwrap_or_default();
    let what = format!(
        "{} moved {moved} ago and is still held, though hold_max is {}: it moves again and again, and its registry deletes each manifest before it has stood for {}",
        tag.name, rule.max, rule.span
    );
    let next = format!("registry-proxy cache release {}, or a shorter hold for it in cache.tags", tag.name);
    Finding::warning(SUBJECT, what, next)
}

#[cfg(test)]
mod tests {
    use registry_proxy_core::config::Sources;

    use super::*;
    use crate::doctor::finding::Severity;

    const DAY: u64 = 86_400;

    fn config() -> Config {
        let text = "[cache]\ntags=[{match='reg.test/**',hold='3d',hold_max='10d'}]";
        let read = |_: &str| -> std::io::Result<String> { Err(std::io::ErrorKind::NotFound.into()) };
        Config::load(&Sources { text: Some(text), variables: vec![], read: &read }).unwrap()
    }

    fn tag(state: HeldState, moved: u64, oldest: u64) -> HoldEntry {
        HoldEntry {
            name: "reg.test/a/b:nightly".to_owned(),
            state,
            served: None,
            upstream: None,
            moved_seconds_ago: Some(moved),
            newest_seconds_ago: Some(10),
            oldest_seconds_ago: Some(oldest),
        }
    }

    fn found(tags: &[HoldEntry], unread: Option<&str>) -> Vec<Finding> {
        let mut seen = Seen::default();
        for tag in tags {
            seen.note(&config(), tag);
        }
        seen.findings(unread.map(str::to_owned))
    }

    #[test]
    fn a_hold_that_does_not_end_is_a_warning_with_its_tag() {
        for (state, moved, oldest, is_stuck) in [
            (HeldState::Held, 10 * DAY, 2 * DAY, true),
            (HeldState::New, 40 * DAY, 3 * DAY - 1, true),
            // It goes on with the next request.
            (HeldState::Held, 10 * DAY, 3 * DAY, false),
            // Its time is not over.
            (HeldState::Held, 10 * DAY - 1, 2 * DAY, false),
            // Somebody wants it so.
            (HeldState::Pinned, 10 * DAY, 2 * DAY, false),
        ] {
            let found = found(&[tag(state, moved, oldest)], None);
            let [one] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(one.severity == Severity::Warning, is_stuck, "{one:?}");
            if is_stuck {
                assert!(one.what.starts_with("reg.test/a/b:nightly moved "), "{one:?}");
                let next = one.next.as_deref().unwrap_or_default();
                assert!(next.starts_with("registry-proxy cache release reg.test/a/b:nightly"), "{one:?}");
            }
        }
        let unknown = HoldEntry { oldest_seconds_ago: None, ..tag(HeldState::Held, 40 * DAY, 0) };
        assert_eq!(
            found(&[unknown], None)[0].severity,
            Severity::Ok,
            "a server of an earlier version does not say"
        );
    }

    #[test]
    fn held_tags_are_counted_and_few_are_named() {
        let fine = [tag(HeldState::Held, DAY, DAY), tag(HeldState::New, DAY, DAY), tag(HeldState::Pinned, 0, 0)];
        let said = found(&fine, None);
        assert_eq!(said[0].what, "1 held, 1 new and refused, 1 pinned until they are unpinned");
        let stuck = vec![tag(HeldState::Held, 40 * DAY, DAY); MAX_NAMED + 2];
        let said = found(&stuck, None);
        assert_eq!(said.len(), MAX_NAMED + 1);
        assert_eq!(said[MAX_NAMED].what, "2 more tags are held for longer than hold_max");
        let said = found(&[], Some("no server answers"));
        assert_eq!((said.len(), said[0].severity), (1, Severity::Warning));
    }
}
