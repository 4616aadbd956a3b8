//! The command line.

use std::path::PathBuf;

use crate::Result;

pub(crate) const USAGE: &str = "\
Usage: bench [SCENARIO]... [OPTIONS]

Scenarios (all of them when none is named):
  blob      1 GiB relayed over 1 and over 8 connections, against nginx
  manifest  manifests relayed per second, against nginx
  memory    peak resident memory under 64 clients
  start     time from exec to the first answer
  size      size of the stripped binary
  hit           a kept blob of 1 GiB, against nginx and docker-registry as caches
  hit-manifest  kept manifests per second, against nginx as a cache
  fill          a blob that is fetched into the cache, against a direct download
  far           a layer over connections that are slow each, against a direct download
  index         start with 200,000 kept blobs
  unread        memory while clients read nothing of many HTTP/2 streams
  platforms     as a function of each platform: cold start, and memory while ten clients
                pull 300 MB each, beside a relay of Node.js with Fastify

Options:
  --pairs N       rounds of the compared scenarios [default: 7, quick: 3]
  --quick         small loads: shows that it works, not how fast it is
  --binary PATH   the registry-proxy to measure; otherwise PROXY_UNDER_TEST,
                  otherwise the one beside this program
  --node          add a plain Node.js relay to blob
  --control       measure what stands beside ours in its place, nginx or a direct
                  download, to show the bench's own bias; nothing has a target then
  --record        append the results to bench/RESULTS.md
  --report-only   exit with success even when a target is missed
";

/// One thing that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Blob,
    Manifest,
    Memory,
    Start,
    Size,
    Hit,
    HitManifest,
    Fill,
    Far,
    Index,
    Unread,
    Platforms,
}

impl Scenario {
    const ALL: [Self; 12] = [
        Self::Blob,
        Self::Manifest,
        Self::Memory,
        Self::Start,
        Self::Size,
        Self::Hit,
        Self::HitManifest,
        Self::Fill,
        Self::Far,
        Self::Index,
        Self::Unread,
        Self::Platforms,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Manifest => "manifest",
            Self::Memory => "memory",
            Self::Start => "start",
            Self::Size => "size",
            Self::Hit => "hit",
            Self::HitManifest => "hit-manifest",
            Self::Fill => "fill",
            Self::Far => "far",
            Self::Index => "index",
            Self::Unread => "unread",
            Self::Platforms => "platforms",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// Which systems are put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// registry-proxy.
    Product,
    /// What stands beside it once more in its place: every ratio should then be 1.
    Control,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) subject: Subject,
    pub(crate) pairs: u32,
    pub(crate) quick: bool,
    pub(crate) binary: Option<PathBuf>,
    pub(crate) node: bool,
    pub(crate) output: Output,
}

impl Options {
    /// One number for a full run, another for a quick one.
    pub(crate) fn either(&self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }
}

/// What becomes of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) record: bool,
    pub(crate) report_only: bool,
}

pub(crate) enum Request {
    Help,
    Run(Options),
}

pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Request> {
    let mut scenarios = Vec::new();
    let mut subject = Subject::Product;
    let mut pairs = None;
    let mut quick = false;
    let mut binary = None;
    let mut node = false;
    let mut output = Output::default();

    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        // `--name value` and `--name=value` are both accepted.
        let (name, mut inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (arg.as_str(), None),
        };
        let mut value = || inline.take().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name {
            "-h" | "--help" => return Ok(Request::Help),
            "--pairs" => pairs = Some(value()?.parse().map_err(|error| format!("--pairs: {error}"))?),
            "--binary" => binary = Some(PathBuf::from(value()?)),
            "--quick" => quick = true,
            "--node" => node = true,
            "--control" => subject = Subject::Control,
            "--record" => output.record = true,
            "--report-only" => output.report_only = true,
            _ => scenarios
                .push(Scenario::named(name).ok_or_else(|| format!("unknown argument {arg:?}\n\n{USAGE}"))?),
        }
        if let Some(unused) = inline {
            return Err(format!("{name} takes no value, but got {unused:?}").into());
        }
    }

    if scenarios.is_empty() {
        scenarios = Scenario::ALL.to_vec();
    }
    let pairs = pairs.unwrap_or(if quick { 3 } else { 7 });
    if !(1..=100).contains(&pairs) {
        return Err("--pairs must be from 1 to 100".into());
    }
    Ok(Request::Run(Options { scenarios, subject, pairs, quick, binary, node, output }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options> {
        match parse(line.split_whitespace().map(str::to_owned))? {
            Request::Run(options) => Ok(options),
            Request::Help => panic!("help"),
        }
    }

    #[test]
    fn everything_by_default() {
        let options = options("").unwrap();
        assert_eq!(options.scenarios, Scenario::ALL);
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
    fn every_scenario_has_a_control() {
        let all = options("--control").unwrap();
        assert_eq!((all.scenarios.as_slice(), all.subject), (&Scenario::ALL[..], Subject::Control));
        for scenario in Scenario::ALL {
            let one = options(&format!("{} --control", scenario.name())).unwrap();
            assert_eq!((one.scenarios.as_slice(), one.subject), (&[scenario][..], Subject::Control));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["blobs", "--pairs", "--pairs 0", "--quick=yes", "--control=yes"] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
