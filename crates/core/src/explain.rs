//! What the proxy would do for an image, and why: decided by the functions that the handlers use, without asking any
//! upstream and without serving anything.

mod hold;
mod parts;
mod policy;

use std::sync::Arc;

use crate::access_rules::{Rights, Who};
use crate::blocks::Blocks;
use crate::bundle::BundleImage;
use crate::cache::{Cache, ChildDescriptor};
use crate::catalogue;
use crate::config::{Auth, Config};
use crate::digest::Digest;
use crate::error::Error;
pub use crate::explanation::{
    AccountReport, ClientPolicy, Explanation, HoldReport, PartReport, PartState, PolicyReport, Pull, RouteReport,
    TagState, UpstreamReport,
};
use crate::manifest::{self, CacheLookup, Plan};
use crate::name::Reference;
use crate::request::{Env, OwnRequest, RequestContext};
use crate::route::{Endpoint, MatchedBy, RequestTarget, Route, Routes, Target, image};
use crate::secret::SafeUrl;
use crate::upstream::{Identity, LoginSource, Upstream};

/// The advice for an image without the path secret.
const SECRET_MISSING: &str =
    "a client must put the path secret (clients.path_secret_file) between host and image: host/<secret>/image";

/// A proxy, as far as explanations follow from it, and in whose name a request would come.
pub(crate) struct ExplainContext<'a> {
    pub(crate) env: &'a Env,
    pub(crate) routes: &'a Routes,
    pub(crate) upstreams: &'a [Arc<Upstream>],
    pub(crate) config: &'a Config,
    pub(crate) identity: Identity,
    /// Whose pull is explained, by the rules of `[[access]]`; `None`: nobody's in particular.
    pub(crate) who: Option<Who<'a>>,
}

/// An image's name in full, as the cache keeps it. `None`: this configuration serves no such name.
pub fn image_in_full(config: &Config, image: &str) -> Option<BundleImage> {
    let target = image::target_of(&Routes::new(config), config, image).ok();
    // With one registry only, a client's name begins with no registry; those of `cache list` and of bundles do.
    if target.as_ref().is_none_or(|target| target.matched_by == MatchedBy::Backend)
        && let Ok(exact) = BundleImage::parse(image)
        && config.upstream.iter().any(|upstream| upstream.name == *exact.upstream)
    {
        return Some(exact);
    }
    let target = target?;
    let Endpoint::Manifest(reference) = &target.endpoint else { return None };
    let upstream = config.upstream.get(target.upstream)?.name.as_str().into();
    Some(BundleImage { upstream, repository: target.name.clone(), reference: reference.clone() })
}

/// Why `[[block]]` keeps an image, or content of it, from ever leaving; `None`: it does not.
pub fn why_blocked(config: &Config, image: &BundleImage, content: &[Digest]) -> Option<String> {
    let blocks = Blocks::new(&config.block);
    let endpoint = Endpoint::Manifest(image.reference.clone());
    let by_name = blocks.request(&image.upstream, &image.repository, &endpoint);
    let blocked = by_name.or_else(|| content.iter().find_map(|digest| blocks.digest(digest)))?;
    Some(Error::Blocked(blocked).to_string())
}

/// Explains what a request for this image would get. Nothing is sent anywhere.
pub(crate) async fn explain(proxy: &ExplainContext<'_>, image: &str) -> Explanation {
    let config = proxy.config;
    let wish = image::read(image, config);
    let mut explanation = Explanation {
        image: image::masked(image, config),
        pull: Pull { does: "refuse", why: String::new(), advice: None },
        route: None,
        upstream: None,
        clients: ClientPolicy {
            auth: config.clients.auth,
            is_permitted: None,
            allow: Vec::new(),
            deny: Vec::new(),
            push: false,
        },
        tag: None,
        policy: None,
        manifest: None,
    };
    let requested = RequestTarget { host: &wish.host, path: &wish.path, query: None };
    let target = match proxy.routes.route(requested) {
        Ok(Route::Repository(target)) => target,
        Ok(_) => return refuse(explanation, &Error::NoSuchEndpoint, None),
        Err(error) => {
            let advice = matches!(error, Error::UnknownUpstream).then(|| {
                if wish.lacks_secret { SECRET_MISSING.to_owned() } else { how_to_add(&wish.first, config) }
            });
            return refuse(explanation, &error, advice);
        }
    };
    let Some(upstream) = proxy.upstreams.get(target.upstream) else {
        return refuse(explanation, &Error::UnknownUpstream, None);
    };
    let Endpoint::Manifest(reference) = &target.endpoint else {
        return refuse(explanation, &Error::NoSuchEndpoint, None);
    };
    explanation.route = Some(RouteReport {
        upstream: upstream.name().to_owned(),
        repository: target.name.to_string(),
        reference: reference.as_str().to_owned(),
        by: rule_of(target.matched_by),
    });
    explanation.upstream = Some(asked(upstream, config, &target));
    let rules = &upstream.config().repositories;
    (explanation.clients.allow, explanation.clients.deny) = (rules.allow.clone(), rules.deny.clone());
    explanation.clients.push = upstream.push_enabled();
    explanation.clients.is_permitted = Some(upstream.permits(&target.name));
    if let Some(error) = denied(proxy, upstream, &target) {
        return refuse(explanation, &error, None);
    }
    let request = OwnRequest::new(Arc::clone(&target), proxy.identity.clone(), None);
    let context = request.context(proxy.env, upstream);
    let Some(cache) = context.cache() else {
        (explanation.pull.does, explanation.pull.why) =
            ("relay", "nothing is cached: there is no store".to_owned());
        return explanation;
    };
    if let Reference::Digest(digest) = reference
        && let Some(withheld) = manifest::withheld_digest(&context, cache, digest).await
    {
        return refuse(explanation, &Error::Withheld(withheld), None);
    }
    let known = manifest::known(&context, cache, reference).await;
    let held_back = known.pointer.as_ref().and_then(|pointer| pointer.held);
    (explanation.pull.does, explanation.pull.why) = match known.plan {
        Plan::Hit(why) => match held_back {
            Some(held_back) => ("held", manifest::why_held(held_back).as_str().to_owned()),
            None => ("hit", why.as_str().to_owned()),
        },
        Plan::Ask => ("revalidate", why_asked(&context, cache, reference).to_owned()),
        Plan::Fetch(why) => ("fill", why.as_str().to_owned()),
        Plan::Missing(absence) => ("refuse", absence.reason().as_str().to_owned()),
    };
    if let Reference::Tag(tag) = reference {
        explanation.tag = Some(tag_state(&context, cache, tag.as_str(), &known).await);
    }
    let digest = match (reference, &known.pointer) {
        (Reference::Digest(digest), _) => Some(digest),
        (Reference::Tag(_), Some(pointer)) => Some(&pointer.digest),
        (Reference::Tag(_), None) => None,
    };
    let signed = policy::report(&context, digest).await;
    let (report, unverified) = signed.unzip();
    explanation.policy = report;
    if let Some(digest) = digest {
        if let Some(blocked) = proxy.env.blocks.digest(digest) {
            return refuse(explanation, &Error::Blocked(blocked), None);
        }
        if let Some(error) = unverified.flatten() {
            return refuse(explanation, &error, None);
        }
        let piece = ChildDescriptor { digest: digest.clone(), size: None, platform: None };
        explanation.manifest = Some(parts::tree(&context, cache, piece).await);
    }
    explanation
}

/// Why rules refuse the pull, whatever the cache has.
fn denied(proxy: &ExplainContext<'_>, upstream: &Upstream, target: &Target) -> Option<Error> {
    if let Some(who) = proxy.who
        && let Err(denied) = Rights::new(&proxy.env.settings.access, who).pull(upstream.name(), &target.name)
    {
        return Some(Error::AccessDenied { denied, is_unconfirmed: false });
    }
    if !upstream.permits(&target.name) {
        return Some(Error::RepositoryDenied);
    }
    proxy.env.blocks.request(upstream.name(), &target.name, &target.endpoint).map(Error::Blocked)
}

fn refuse(mut explanation: Explanation, error: &Error, advice: Option<String>) -> Explanation {
    let status = error.to_response("").status().as_u16();
    explanation.pull = Pull { does: "refuse", why: format!("{error} ({status})"), advice };
    explanation
}

fn rule_of(by: MatchedBy) -> &'static str {
    match by {
        MatchedBy::EntryPoint => "virtual host (upstream.hosts)",
        MatchedBy::Backend => "REGISTRY_BACKEND",
        MatchedBy::Path => "first part of the name",
        MatchedBy::Namespace => "ns",
        MatchedBy::Default => "the name has no registry: default upstream",
    }
}

fn how_to_add(first: &str, config: &Config) -> String {
    if !(first.contains(['.', ':']) || first == "localhost") {
        return "the name has no registry, and no upstream is the default: name a registry, or set default = true"
            .to_owned();
    }
    let entry = format!("[[upstream]]\nname = \"{first}\"");
    let secure = "if this is this proxy's own address, set public_url";
    match catalogue::find(first) {
        Some(known) if known.name == first => {
            let all = if config.catalogue { "" } else { ", or set catalogue = true" };
            format!("add it{all}:\n{entry}")
        }
        Some(known) => format!("this proxy calls it {}", known.name),
        None => format!("add it ({secure}):\n{entry}\nurls = [\"https://{first}\"]"),
    }
}

fn asked(upstream: &Upstream, config: &Config, target: &Target) -> UpstreamReport {
    let settings = upstream.config();
    let mut accounts: Vec<AccountReport> = Vec::new();
    if config.clients.auth == Auth::Upstream {
        accounts.push(AccountReport { name: None, from: "the client's own login".to_owned() });
    } else {
        accounts.extend(upstream.pool(&target.name).map(|login| AccountReport {
            name: Some(login.basic.username.clone()),
            from: match login.origin {
                LoginSource::Client => "the client's own login".to_owned(),
                LoginSource::Account => "username".to_owned(),
                LoginSource::Entry(index) => format!("credentials[{index}]"),
                LoginSource::DockerConfig => "docker_config".to_owned(),
                LoginSource::Cloud => "login".to_owned(),
            },
        }));
        // The cloud is not asked, as this might ask the network.
        accounts.extend(
            settings.login.map(|cloud| AccountReport { name: None, from: format!("login = \"{cloud}\"") }),
        );
        let file = settings.docker_config.as_ref().or(config.docker_config.as_ref());
        if let (true, Some(file)) = (accounts.is_empty(), file) {
            // A credential helper is not run, as it might ask the network.
            accounts.push(AccountReport { name: None, from: format!("docker_config {file}, if it has a login") });
        }
    }
    UpstreamReport {
        addresses: settings.urls.iter().map(|url| SafeUrl(url).to_string()).collect(),
        accounts,
        redirects: upstream.redirects(),
    }
}

fn why_asked(context: &RequestContext<'_>, cache: &Cache, reference: &Reference) -> &'static str {
    match reference {
        _ if !context.is_let_in(cache) => "the proxy asks the upstream whether this client may see it",
        Reference::Tag(_) => "tag is due: the proxy asks the upstream by HEAD",
        Reference::Digest(_) => "cached, but the upstream has not yet confirmed that it is in this repository",
    }
}

async fn tag_state(context: &RequestContext<'_>, cache: &Arc<Cache>, tag: &str, known: &CacheLookup) -> TagState {
    let (upstream, repository) = (context.upstream.name(), context.target.name.as_str());
    let rule = cache.config().rule_for(upstream, repository, tag);
    let named = cache.config().named_rule_for(upstream, repository, tag);
    let now = context.env.platform.clock.unix_seconds();
    let pointer = known.pointer.as_ref();
    let stale = cache.config().stale_if_error.0.as_secs();
    let would_be_stale = match (pointer, &known.manifest) {
        (Some(pointer), Some(manifest)) => Some(manifest::may_be_stale(context, cache, pointer, manifest).await),
        _ => None,
    };
    TagState {
        rule: named.map_or_else(|| "cache.tag_ttl".to_owned(), |rule| format!("cache.tags: {}", rule.pattern)),
        revalidate: rule.to_string(),
        digest: pointer.map(|pointer| pointer.digest.to_string()),
        confirmed_seconds_ago: pointer
            .filter(|pointer| pointer.confirmed > 0)
            .map(|pointer| now.saturating_sub(pointer.confirmed)),
        fresh_seconds: pointer.and_then(|pointer| Some(pointer.due(rule)?.saturating_sub(now))),
        stale_seconds: pointer
            .filter(|pointer| pointer.may_be_stale(stale, now))
            .map(|pointer| pointer.confirmed.saturating_add(stale).saturating_sub(now)),
        would_be_stale: matches!(would_be_stale, Some(Ok(()))),
        not_stale: would_be_stale.and_then(Result::err).map(|why| why.to_string()),
        hold: match known.hold {
            Some(rule) => Some(hold::report(context, cache, tag, known, rule).await),
            None => None,
        },
    }
}
