//! The matrix: platforms, clients, cold and warm, by tag and by digest, from a fast registry and from a slow one.
//!
//! What was seen is printed as a table, and kept in the build folder. `REGISTRY_PROXY_MATRIX=all` asks by tag and by
//! digest in each state with each client, and pulls from the slow registry with all clients.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use registry_proxy_outer::client::{By, Puller, Skopeo};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::gateway::rules::{CLOUD_RUN, FC, LAMBDA, Rules, SCF};
use registry_proxy_outer::image::tiers::{IMAGE, REPOSITORY};
use registry_proxy_outer::{Failure, Outcome};

use crate::stage::{Kept, Scene, tiers};

/// What the slow registry takes for all layers: with the largest alone it is busy for longer than [`SLOW`].
const ALL_SECONDS: u64 = 80;
const SLOW: Duration = Duration::from_mins(1);

fn is_full() -> bool {
    env::var("REGISTRY_PROXY_MATRIX").is_ok_and(|value| value == "all")
}

/// A table of what was seen.
struct Table {
    name: String,
    text: String,
}

impl Table {
    fn new(name: impl fmt::Display) -> Self {
        let text = format!(
            "{:<13} {:<7} {:<5} {:<7} {:>8} {:>12} {:>14} {:>4} {:>9} {:>9}\n",
            "platform",
            "client",
            "state",
            "by",
            "seconds",
            "through it",
            "from upstream",
            "307",
            "requests",
            "peak MiB"
        );
        Self { name: name.to_string(), text }
    }

    /// Pulls, and notes it.
    fn pull(
        &mut self,
        scene: &Scene,
        rules: &Rules,
        (client, state, by): (Puller, &str, By),
    ) -> Outcome<Duration> {
        let ledger = scene.function.ledger();
        ledger.turn_page();
        let (sent, begun) = (scene.front.sent(), Instant::now());
        let repository = format!("reg.test/{REPOSITORY}");
        let pulled = client.pull(scene.function.address(), &repository, &tiers()?.platform, by);
        let seconds = begun.elapsed();
        let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10);
        let _ = writeln!(
            self.text,
            "{:<13} {client:<7} {state:<5} {by:<7} {:>8.1} {:>12} {:>14} {:>4} {:>9} {:>9}",
            rules.name,
            seconds.as_secs_f64(),
            megabytes(ledger.bytes()),
            megabytes(scene.front.sent() - sent),
            ledger.count(307),
            ledger.exchanges().len(),
            scene.function.peak_memory_kib()? >> 10,
        );
        // What the platform has to say of a pull that failed comes first.
        scene.expect_peace()?;
        pulled.map(|()| seconds)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        eprintln!("\n{}", self.text);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("platforms-{}.txt", self.name));
        // Nothing but the table is lost.
        let _ = fs::write(file, &self.text);
    }
}

/// Each client, first of all at a function that has nothing, and then again.
fn matrix(rules: &Rules, kept: Kept) -> Outcome {
    pulls(rules, kept, Table::new(rules.name), &Puller::ALL)
}

fn pulls(rules: &Rules, kept: Kept, mut table: Table, clients: &[Puller]) -> Outcome {
    for client in clients.iter().copied() {
        let orders = match client {
            _ if is_full() => vec![[By::Tag, By::Digest], [By::Digest, By::Tag]],
            Puller::Skopeo | Puller::Podman => vec![[By::Tag, By::Digest]],
            Puller::Ctr => vec![[By::Digest, By::Tag]],
        };
        for [first, second] in orders {
            let scene = Scene::start(rules, kept, None)?;
            table.pull(&scene, rules, (client, "cold", first))?;
            table.pull(&scene, rules, (client, "warm", second))?;
            if is_full() {
                table.pull(&scene, rules, (client, "warm", first))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_direct_pull_gives_what_was_made() -> Outcome {
    let tiers = tiers()?;
    let registry = tiers.registry()?;
    let copied = Skopeo::new()?.pull(&format!("{}/{IMAGE}", registry.address()), &[])?;
    equal("digests", &copied.digests()?, &tiers.platform.digests())
}

#[test]
fn every_client_pulls_through_aliyun_fc() -> Outcome {
    matrix(&FC, Kept::Disk)
}

#[test]
fn every_client_pulls_through_aws_lambda() -> Outcome {
    matrix(&LAMBDA, Kept::Objects)
}

#[test]
fn every_client_pulls_through_cloud_run() -> Outcome {
    matrix(&CLOUD_RUN, Kept::Nowhere)
}

#[test]
fn every_client_pulls_through_tencent_scf() -> Outcome {
    matrix(&SCF, Kept::Objects)
}

#[test]
fn skopeo_pulls_through_aws_lambda_from_seaweedfs() -> Outcome {
    pulls(&LAMBDA, Kept::OtherStore("seaweedfs"), Table::new("lambda-seaweedfs"), &[Puller::Skopeo])
}

#[test]
fn skopeo_pulls_through_tencent_scf_from_moto() -> Outcome {
    pulls(&SCF, Kept::OtherStore("moto"), Table::new("scf-moto"), &[Puller::Skopeo])
}

/// All platforms at once: they do little but wait.
#[test]
fn a_layer_that_takes_over_a_minute_arrives_through_each_platform() -> Outcome {
    let targets =
        [(&FC, Kept::Disk), (&LAMBDA, Kept::Objects), (&CLOUD_RUN, Kept::Nowhere), (&SCF, Kept::Objects)];
    let clients = if is_full() { &Puller::ALL[..] } else { &[Puller::Skopeo] };
    let outcomes: Vec<(&str, Outcome)> = std::thread::scope(|scope| {
        let running = targets.map(|(rules, kept)| (rules.name, scope.spawn(move || slow(rules, kept, clients))));
        let ended = running
            .map(|(name, thread)| (name, thread.join().unwrap_or_else(|_| Err(Failure::new("it panicked")))));
        ended.into()
    });
    let failed: Vec<String> = outcomes
        .into_iter()
        .filter_map(|(name, outcome)| outcome.err().map(|failure| format!("{name}: {failure:?}")))
        .collect();
    ensure(failed.is_empty(), failed.join("\n"))
}

fn slow(rules: &Rules, kept: Kept, clients: &[Puller]) -> Outcome {
    let mut table = Table::new(format_args!("slow-{}", rules.name));
    for client in clients {
        let all: u64 = tiers()?.layers().map(|(_, size)| size).sum();
        let scene = Scene::start(rules, kept, Some(all / ALL_SECONDS))?;
        let took = table.pull(&scene, rules, (*client, "slow", By::Tag))?;
        ensure(took > SLOW, format_args!("the slow registry gave everything within {took:?}"))?;
    }
    Ok(())
}
