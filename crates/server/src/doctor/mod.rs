//! `registry-proxy doctor`: looks at everything that a pull needs, and says of each fault what to do next.

mod bucket_clock;
mod budget;
mod certificate;
mod client_pull;
#[cfg(feature = "logins")]
mod cloud_login;
mod connect;
mod containerd_hosts;
mod diagnosis;
mod finding;
mod holds;
mod image;
mod machine;
mod reachable;
mod upstream;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use registry_proxy_core::Config;

use self::containerd_hosts::ProxyAddresses;
use self::finding::{Finding, Severity, for_people};
use self::image::Puller;
use crate::cli::DoctorArguments;
use crate::client_config;
use crate::terminal::{Palette, WRONG_USAGE, complain, print};
use crate::transport::HyperTransport;

/// For all of it: no step waits longer than `timeouts.first_byte`, and there are few in a row.
const DEADLINE: Duration = Duration::from_mins(2);
/// For the disk, which may hang (a network file system whose server is gone).
const DISK_DEADLINE: Duration = Duration::from_secs(10);

/// Looks at everything and prints what was found.
pub(crate) fn run(arguments: &DoctorArguments, config: &Config) -> ExitCode {
    if let Some(unknown) =
        arguments.upstreams.iter().find(|name| config.upstream.iter().all(|one| one.name != **name))
    {
        let known: Vec<&str> = config.upstream.iter().map(|upstream| upstream.name.as_str()).collect();
        complain(&format_args!("--upstream {unknown}: expected one of {}", known.join(" ")));
        return ExitCode::from(WRONG_USAGE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut findings = Vec::new();
    let looked = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let looking = Box::pin(look(arguments, config, &mut findings));
        let looked = runtime.block_on(async { tokio::time::timeout(DEADLINE, looking).await });
        // Do not wait for name lookups, or a disk, that still run.
        runtime.shutdown_background();
        looked.unwrap_or_else(|_| {
            let what = format!("not everything was looked at within {} s", DEADLINE.as_secs());
            findings.push(Finding::error("doctor", what, "look at one upstream at a time: --upstream NAME"));
            Ok(())
        })
    });
    if let Err(what) = looked {
        complain(&what);
        return ExitCode::from(WRONG_USAGE);
    }
    let text = if arguments.json {
        serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n"
    } else {
        for_people(&findings, Palette::of(&std::io::stdout()))
    };
    let printed = print(&text);
    if findings.iter().any(|finding| finding.severity == Severity::Error) { ExitCode::FAILURE } else { printed }
}

/// Adds what it finds, so that nothing is lost if it does not come to its end.
async fn look(arguments: &DoctorArguments, config: &Config, findings: &mut Vec<Finding>) -> Result<(), String> {
    // The configuration was read before, with every file that it names.
    findings.extend(config.warnings().into_iter().map(|warning| {
        let next = warning.next.unwrap_or("docs/reference/configuration.md has the key");
        Finding::warning("configuration", format!("{}: {}", warning.place, warning.what), next)
    }));
    if findings.is_empty() {
        findings.push(Finding::ok("configuration", "read, and nothing in it is dangerous"));
    }
    findings.extend(of_this_machine(config.clone()).await);
    if let Some(what) = crate::store::check(config).await {
        findings.push(diagnosis::of_bucket(&what));
    }
    findings.extend(bucket_clock::finding(config).await);
    findings.extend(holds::findings(config).await);
    findings.extend(reachable::findings(config).await);
    let transport = HyperTransport::new(config).map_err(|error| error.to_string())?;
    let is_meant = |name: &String| arguments.upstreams.is_empty() || arguments.upstreams.contains(name);
    let indices: Vec<usize> = (0..config.upstream.len())
        .filter(|index| config.upstream.get(*index).is_some_and(|one| is_meant(&one.name)))
        .collect();
    let puller = Puller::new(config).map_err(|error| {
        let next = "run this as the user that the proxy runs as";
        findings.push(Finding::error("configuration", error.to_string(), next));
    });
    let puller = puller.ok();
    let (transport, puller) = (&transport, &puller);
    let asked = join_all(indices.into_iter().map(|index| async move {
        let (mut found, clock) = upstream::findings(transport, config, index).await;
        #[cfg(feature = "logins")]
        found.extend(cloud_login::finding(config, index).await);
        let is_well = found.iter().all(|finding| finding.severity == Severity::Ok);
        if let (Some(puller), None, true, Some(upstream)) =
            (puller, &arguments.image, is_well, config.upstream.get(index))
        {
            found.push(puller.storage(&upstream.name).await);
        }
        (found, clock)
    }));
    let asked = asked.await;
    let mut clocks: Vec<(Duration, bool, String)> = Vec::new();
    for (found, clock) in asked {
        if let (Some((difference, ahead)), Some(first)) = (clock, found.first()) {
            clocks.push((difference, ahead, first.subject.trim_start_matches("upstream ").to_owned()));
        }
        findings.extend(found);
    }
    // One registry's clock may be wrong; of several the one in the middle is not.
    clocks.sort();
    let middle = clocks.len().saturating_sub(1) / 2;
    findings.extend(
        clocks.get(middle).map(|(difference, ahead, who)| diagnosis::of_clock("clock", *difference, *ahead, who)),
    );
    let metrics = crate::health::metrics(config).await.unwrap_or_default();
    let budgets = budget::budgets(&metrics).into_iter().filter(|budget| is_meant(&budget.upstream));
    findings.extend(budgets.map(|one| diagnosis::of_budget(&one.upstream, &one.credential, one.remaining)));
    if let Some(client) = arguments.client {
        let by_client = client_pull::finding(config, client, arguments.image.as_deref()).await;
        let is_around = by_client.severity == Severity::Error;
        findings.push(by_client);
        if let (true, true, Ok(listen)) = (is_around, client.reads_containerd_hosts(), config.listen.parse()) {
            let proxy = ProxyAddresses { public_url: config.public_url.as_ref(), listen };
            findings.extend(containerd_hosts::findings(&client_config::places_of_containerd(), &proxy));
        }
    }
    if let (Some(puller), Some(image)) = (puller, &arguments.image) {
        findings.push(puller.finding(image).await);
    }
    Ok(())
}

/// What can be said of this machine, with its disk asked on a thread of its own.
async fn of_this_machine(config: Config) -> Vec<Finding> {
    let looking = tokio::task::spawn_blocking(move || machine::findings(&config));
    if let Ok(Ok(findings)) = tokio::time::timeout(DISK_DEADLINE, looking).await {
        return findings;
    }
    let what = format!("the disk of the cache does not answer within {} s", DISK_DEADLINE.as_secs());
    vec![Finding::error("cache.store", what, "look at its mount, or name another directory in cache.store")]
}
