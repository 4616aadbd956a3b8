//! Warnings about holds that never end, or that begin anew whenever the process starts: pure.

use super::super::{Config, HoldNew, HoldRule, Revalidate, StoreAddress, TagRule};

/// Why a hold lasts longer than its rule says, or is forgotten, and what to do about it.
pub(super) type Reason = (String, &'static str);

/// The places of rules whose holds do not end, each with the reason.
pub(super) fn endless(config: &Config) -> Vec<(String, Reason)> {
    let holds = config.cache.tags.iter().enumerate().filter_map(|(i, rule)| Some((i, rule, rule.hold_rule()?)));
    holds
        .flat_map(|(i, rule, hold)| {
            let reasons = [offline(config), never_asked(rule), forgotten(config, hold)];
            reasons.into_iter().flatten().map(move |reason| (format!("cache.tags[{i}].hold"), reason))
        })
        .collect()
}

/// The time of a hold ends when a registry is asked after it.
fn offline(config: &Config) -> Option<Reason> {
    config.cache.offline.then(|| {
        (
            "cache.offline is true: no registry is asked, so a hold never ends".to_owned(),
            "lead a tag to a cached manifest with registry-proxy cache pin IMAGE@DIGEST, or set cache.offline = false",
        )
    })
}

/// A held tag that is cached is as fresh as any other.
fn never_asked(rule: &TagRule) -> Option<Reason> {
    (rule.revalidate == Some(Revalidate::Never)).then(|| {
        (
            "revalidate is \"never\": a cached tag is not asked for again, so a hold that has begun never ends"
                .to_owned(),
            "set a time such as revalidate = \"5m\", or let tags through with registry-proxy cache release IMAGE",
        )
    })
}

/// Where tags pointed must be remembered for longer than the process lives.
fn forgotten(config: &Config, hold: HoldRule) -> Option<Reason> {
    let place = match config.cache.store {
        StoreAddress::Memory => "cache.store is memory",
        StoreAddress::File(ref path) if config.platform.is_ephemeral() && path.starts_with("/tmp/") => {
            "cache.store is in /tmp, which on this platform ends with the instance"
        }
        StoreAddress::Auto | StoreAddress::None | StoreAddress::File(_) | StoreAddress::Objects(_) => return None,
    };
    let what = match hold.new {
        HoldNew::Serve => {
            format!("{place}: after a restart every tag counts as never seen, and is served as it is then")
        }
        HoldNew::Refuse => format!(
            "{place}: after a restart every tag counts as never seen, and hold_new = \"refuse\" refuses it again: for ever where the process starts more often than every {}",
            hold.span
        ),
    };
    Some((what, "keep the cache in a directory that outlives the process, or in a bucket: cache.store"))
}

#[cfg(test)]
mod tests {
    use super::super::super::Sources;
    use super::*;

    fn said(text: &str) -> Vec<String> {
        let sources = Sources { text: Some(text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) };
        Config::load(&sources).unwrap().warnings().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hold_that_never_ends_is_said_with_a_way_out() {
        let rule = |cache: &str, rule: &str| format!("[cache]\n{cache}\ntags=[{{match='**',{rule}}}]");
        for (cache, keys, expected) in [
            ("", "hold='3d'", None),
            ("", "hold='3d',hold_max='3d'", None),
            ("", "hold='3d',hold_new='refuse'", None),
            ("", "hold='3d',revalidate='30d'", None),
            ("", "hold='3d',revalidate='always'", None),
            ("", "revalidate='never'", None),
            ("", "hold='0s',revalidate='never'", None),
            ("offline=true", "revalidate='1h'", None),
            ("offline=true", "hold='0s'", None),
            ("offline=true", "hold='3d'", Some(("so a hold never ends", "cache pin IMAGE@DIGEST"))),
            ("", "hold='3d',revalidate='never'", Some(("that has begun never ends", "cache release IMAGE"))),
            ("store='memory:'", "hold='3d'", Some(("served as it is then", "cache.store"))),
            (
                "store='memory:'",
                "hold='3d',hold_new='refuse'",
                Some(("for ever where the process starts more often than every 3d", "cache.store")),
            ),
        ] {
            let said = said(&rule(cache, keys));
            match (expected, said.as_slice()) {
                (None, []) => {}
                (Some((what, next)), [said]) => {
                    let (before, after) = said.rsplit_once("; ").expect("what, and what to do");
                    assert!(before.starts_with("cache.tags[0].hold: ") && before.contains(what), "{said}");
                    assert!(after.contains(next), "{said}");
                }
                _ => panic!("{cache} {keys}: {said:?}"),
            }
        }
    }

    #[test]
    fn each_rule_and_each_reason_has_a_warning() {
        let text =
            "[cache]\noffline=true\ntags=[{match='a/**',hold='3d',revalidate='never'},{match='b/**',hold='1d'}]";
        let places: Vec<String> = said(text).iter().map(|said| said.chars().take(18).collect()).collect();
        assert_eq!(places, ["cache.tags[0].hold", "cache.tags[0].hold", "cache.tags[1].hold"]);
    }

    #[test]
    fn a_disk_that_ends_with_the_instance_remembers_no_tags() {
        for (platform, store, expected) in [
            ("server", "", 0),
            ("aws-lambda", "", 1),
            ("aliyun-fc", "store='file:///tmp/mine'", 1),
            ("server", "store='file:///tmp/mine'", 0),
            ("aws-lambda", "store='s3://b/p?region=us-east-1'", 0),
            ("azure-container-apps", "store='file:///mnt/cache'", 0),
            ("cloudflare-workers", "", 0),
        ] {
            let text = format!("platform='{platform}'\n[cache]\n{store}\ntags=[{{match='**',hold='3d'}}]");
            let said = said(&text);
            let count = said.iter().filter(|said| said.starts_with("cache.tags[0].hold: ")).count();
            assert_eq!(count, expected, "{platform} {store}: {said:?}");
        }
    }
}
