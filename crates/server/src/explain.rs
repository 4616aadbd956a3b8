//! `registry-proxy explain`: the core's explanation of an image, as text or JSON.

use std::fmt::Write as _;
use std::process::ExitCode;

use registry_proxy_core::Config;
use registry_proxy_core::config::{Auth, Redirects, StoreAddress};
use registry_proxy_core::explain::{
    ClientPolicy, Explanation, HoldReport, PartReport, PartState, TagState, UpstreamReport,
};
use registry_proxy_core::notification::Notifications;

use crate::human::{size, span};
use crate::terminal::{complain, print};
use crate::{assemble, store};

/// Opens the store, asks the core and prints the answer. Exit status 1 if a pull would be refused.
pub(crate) fn run(config: &Config, image: &str, json: bool) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let explained = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let opened = store::open(&config.cache).map_err(|error| error.to_string())?;
            let proxy = assemble::proxy(config, opened.map(|opened| opened.store), Notifications::default())
                .map_err(|error| error.to_string())?;
            Ok(proxy.explain(config, image).await)
        })
    });
    let explanation = match explained {
        Ok(explanation) => explanation,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let text = if json {
        serde_json::to_string_pretty(&explanation).unwrap_or_default() + "\n"
    } else {
        for_people(&explanation, &config.cache.store)
    };
    let printed = print(&text);
    if explanation.pull.does == "refuse" { ExitCode::FAILURE } else { printed }
}

/// Writing to a String cannot fail.
fn for_people(explanation: &Explanation, store: &StoreAddress) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("image", &explanation.image);
    line("pull", &format!("{}: {}", explanation.pull.does, explanation.pull.why));
    for advice in explanation.pull.advice.iter().flat_map(|advice| advice.lines()) {
        line("", advice);
    }
    if let Some(way) = &explanation.route {
        line("upstream", &format!("{} ({})", way.upstream, way.by));
        line("repository", &format!("{}, {}", way.repository, way.reference));
    }
    if let Some(asked) = &explanation.upstream {
        line("addresses", &asked.addresses.join(", "));
        line("account", &accounts(asked));
    }
    line("clients", &policy(&explanation.clients, explanation.upstream.as_ref()));
    if let Some(tag) = &explanation.tag {
        line("tag rule", &format!("{} ({})", tag.revalidate, tag.rule));
        for (name, value) in pointer(tag) {
            line(name, &value);
        }
        for (name, value) in tag.hold.iter().flat_map(held) {
            line(name, &value);
        }
    }
    if let Some(policy) = &explanation.policy {
        line("policy", &format!("{} ({}): wants {}", policy.pattern, policy.mode, policy.wanted));
        for (name, found) in [("signature", &policy.found), ("service", &policy.service)] {
            if let Some(found) = found {
                line(name, found);
            }
        }
    }
    let seen = match store {
        StoreAddress::Memory => "memory of the server process, not visible to this command".to_owned(),
        other => other.to_string(),
    };
    line("store", &seen);
    if let Some(manifest) = &explanation.manifest {
        tree(&mut text, manifest, "manifest", 0);
    }
    text
}

fn accounts(asked: &UpstreamReport) -> String {
    let shown = asked.accounts.iter().map(|account| match &account.name {
        Some(name) => format!("{name} ({})", account.from),
        None => account.from.clone(),
    });
    let all: Vec<String> = shown.collect();
    match all.len() {
        0 => "none".to_owned(),
        1 => all.concat(),
        _ => format!("{}, in turn", all.join(", ")),
    }
}

fn policy(policy: &ClientPolicy, asked: Option<&UpstreamReport>) -> String {
    let mut words = vec![match policy.auth {
        Auth::Open => "open to everybody".to_owned(),
        Auth::Users => "users of the password file".to_owned(),
        Auth::Upstream => "own login at the upstream".to_owned(),
    }];
    words.extend(policy.is_permitted.map(|is_permitted| {
        if is_permitted { "repository allowed".to_owned() } else { "repository not allowed".to_owned() }
    }));
    for (name, patterns) in [("allow", &policy.allow), ("deny", &policy.deny)] {
        if !patterns.is_empty() {
            words.push(format!("{name} {}", patterns.join(" ")));
        }
    }
    if let Some(asked) = asked {
        words.push(match asked.redirects {
            Redirects::Follow => "redirects followed".to_owned(),
            Redirects::Pass => "redirects passed on; blobs are not cached".to_owned(),
            Redirects::Rewrite => "redirects rewritten; blobs are not cached".to_owned(),
        });
        words.push(if policy.push { "push on".to_owned() } else { "push off".to_owned() });
    }
    words.join(", ")
}

fn pointer(tag: &TagState) -> Vec<(&'static str, String)> {
    let (Some(digest), Some(ago)) = (&tag.digest, tag.confirmed_seconds_ago) else {
        return vec![("points to", "unknown: not cached".to_owned())];
    };
    let fresh = match tag.fresh_seconds {
        None => "never revalidated".to_owned(),
        Some(0) => "due for revalidation".to_owned(),
        Some(seconds) => format!("fresh for {}", span(seconds)),
    };
    let stale = match (tag.stale_seconds, tag.would_be_stale) {
        (None, _) => "not served while the upstream is down".to_owned(),
        (Some(seconds), true) => format!("served for {} more if the upstream is down", span(seconds)),
        (Some(seconds), false) => {
            let why = tag.not_stale.as_deref().unwrap_or("its manifest is not cached");
            format!("up to {} more if the upstream is down, but {why}", span(seconds))
        }
    };
    vec![("points to", digest.clone()), ("confirmed", format!("{} ago; {fresh}", span(ago))), ("stale", stale)]
}

/// What its rule holds: both digests, and the time.
fn held(hold: &HoldReport) -> Vec<(&'static str, String)> {
    let words = match hold.state {
        "current" => "nothing held: clients get what the registry has".to_owned(),
        "unknown" => "this tag was never seen".to_owned(),
        "unreadable" => "unknown: the store cannot be read".to_owned(),
        "pinned" => "pinned; registry-proxy cache unpin takes that back".to_owned(),
        state => {
            let what = if state == "new" { "new, and refused" } else { "moved" };
            let ago = hold.moved_seconds_ago.map(span).unwrap_or_default();
            let more = match hold.held_seconds_more {
                Some(0) => "due at the next request that asks the registry".to_owned(),
                Some(seconds) => format!("held for {} more, unless it moves again", span(seconds)),
                None => String::new(),
            };
            format!("{what} {ago} ago; {more}")
        }
    };
    let mut lines = vec![("hold", format!("{} ({words})", span(hold.hold_seconds)))];
    lines.extend(hold.served.clone().map(|served| ("clients get", served)));
    lines.extend(hold.upstream.clone().map(|upstream| ("registry has", upstream)));
    lines
}

fn tree(text: &mut String, part: &PartReport, kind: &str, depth: usize) {
    let state = match part.state {
        PartState::Here => "cached",
        PartState::HereUnproven => "cached; the upstream must confirm it first",
        PartState::Arriving => "being fetched",
        PartState::Absent => "not cached",
    };
    let size = part.size_bytes.map(|bytes| format!("  {}", size(bytes))).unwrap_or_default();
    let platform = part.platform.as_ref().map(|platform| format!("  {platform}")).unwrap_or_default();
    let _ = writeln!(text, "{:indent$}{kind} {}{platform}{size}  {state}", "", part.digest, indent = depth * 2);
    for child in &part.manifests {
        tree(text, child, "manifest", depth + 1);
    }
    for child in &part.blobs {
        tree(text, child, "blob", depth + 1);
    }
    if part.unshown > 0 {
        let _ = writeln!(text, "{:indent$}and {} more, not listed", "", part.unshown, indent = (depth + 1) * 2);
    }
}
