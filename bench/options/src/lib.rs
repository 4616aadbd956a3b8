//! The command lines of the benchmark and of the soak. They are a crate of their own so that `cargo xtask` can read them,
//! too, and refuse what is wrong before it builds for minutes.

mod soak;

pub use soak::{SOAK_USAGE, SoakOptions};

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

/// What follows the program's name. It names every option, where clap would write `[OPTIONS]`, because errors show it.
pub const USAGE: &str =
    "[--pairs <N>] [--quick] [--binary <FILE>] [--node] [--control] [--record] [--report-only] [SCENARIO]...";

/// One thing that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 1 GiB relayed over 1 and over 8 connections, against nginx.
    Blob,
    /// Manifests relayed per second, against nginx and a bare relay.
    Manifest,
    /// Cached manifests per second, against nginx as a cache.
    HitManifest,
    /// Cached small blobs per second, against nginx as a cache.
    HitSmall,
    /// Cached manifests per second over TLS, against nginx as a cache.
    TlsManifest,
    /// An image of 40 layers into an empty cache and out of it, against nginx as a cache.
    Image,
    /// Large blobs into an empty cache, one and four at once, against nginx as a cache.
    Cold,
    /// A cached blob over TLS by HTTP/1.1 and HTTP/2, against nginx as a cache.
    TlsHit,
    /// A cached blob of 1 GiB, against nginx and docker-registry as caches.
    Hit,
    /// A blob that is fetched into the cache, against a direct download.
    Fill,
    /// A layer over several connections, each of them slow, against a direct download.
    Far,
    /// Peak resident memory under 64 clients.
    Memory,
    /// Time from exec to the first answer.
    Start,
    /// Size of the stripped binary.
    Size,
    /// What grows with cached blobs, clients of one fill, and repositories.
    Growth,
    /// Memory while clients read nothing from many HTTP/2 streams.
    Unread,
    /// The first `cargo build --release` of a clone.
    Build,
    /// As a function on each platform: cold start, and memory while ten clients pull 300 MB each, beside a relay of
    /// Node.js with Fastify.
    Platforms,
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", PossibleValue::get_name))
    }
}

/// Which system is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// registry-proxy.
    Product,
    /// In its place, a second copy of what it is compared with: every ratio should then be 1.
    Control,
}

/// What to measure, and how.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What to measure; without any, everything.
    #[arg(value_name = "SCENARIO", default_values_t = Scenario::value_variants().to_vec(), hide_default_value = true)]
    pub scenarios: Vec<Scenario>,

    /// Rounds of the scenarios that compare, from 1 to 100 [default: 7, with --quick 3].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    #[arg(default_value_t = 7, default_value_if("quick", "true", "3"), hide_default_value = true)]
    pub pairs: u32,

    /// Use small loads: they show that it works, not how fast it is.
    #[arg(long)]
    pub quick: bool,

    /// The registry-proxy to measure. Without it, the one that `PROXY_UNDER_TEST` names; without both, the one beside
    /// this program, or the one that `cargo xtask bench` builds.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,

    /// Add a plain Node.js relay to `blob`.
    #[arg(long)]
    pub node: bool,

    /// Measure a second nginx or a second direct download in place of registry-proxy: this shows how far the results
    /// can be trusted on this machine. There are no targets then.
    #[arg(long)]
    pub control: bool,

    #[command(flatten)]
    pub output: Output,
}

impl Options {
    /// One number for a full run, another for a quick one.
    pub fn either(&self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }

    /// Which system is measured.
    pub fn subject(&self) -> Subject {
        if self.control { Subject::Control } else { Subject::Product }
    }
}

/// What to do with the results.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Append the results to bench/RESULTS.md.
    #[arg(long)]
    pub record: bool,

    /// Exit with success even if a target is missed.
    #[arg(long)]
    pub report_only: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Result<Options, clap::Error> {
        Cli::try_parse_from(["bench"].into_iter().chain(line.split_whitespace())).map(|cli| cli.options)
    }

    #[test]
    fn everything_by_default() {
        let options = options("").unwrap();
        assert_eq!(options.scenarios, Scenario::value_variants());
        assert_eq!(options.pairs, 7);
    }

    #[test]
    fn values_either_way() {
        let options = options("blob --pairs=3 --binary some/where --record").unwrap();
        assert_eq!(options.scenarios, [Scenario::Blob]);
        assert_eq!(options.pairs, 3);
        assert_eq!(options.binary, Some("some/where".into()));
        assert!(options.output.record);
    }

    #[test]
    fn a_quick_run_has_fewer_rounds_unless_told() {
        assert_eq!(options("--quick").unwrap().pairs, 3);
        assert_eq!(options("--quick --pairs 9").unwrap().pairs, 9);
    }

    #[test]
    fn every_scenario_has_a_control() {
        let all = options("--control").unwrap();
        assert_eq!((all.scenarios.as_slice(), all.subject()), (Scenario::value_variants(), Subject::Control));
        for scenario in Scenario::value_variants() {
            let one = options(&format!("{scenario} --control")).unwrap();
            assert_eq!((one.scenarios.as_slice(), one.subject()), (&[*scenario][..], Subject::Control));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["blobs", "--pairs", "--pairs 0", "--quick=yes", "--control=yes"] {
            assert!(options(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_usage_names_every_option() {
        let mut cli = Cli::command();
        cli.build();
        for argument in cli.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(USAGE.contains(&argument.to_string()), "{argument}");
        }
    }
}
