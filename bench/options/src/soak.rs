//! The command line of the soak.

use std::path::PathBuf;

use clap::Args;

/// What follows the program's name; it names every option.
pub const SOAK_USAGE: &str =
    "[--minutes <N>] [--rate <N>] [--clients <N>] [--images <N>] [--binary <FILE>] [--out <FOLDER>]";

/// How long, and how much.
#[derive(Args, Clone, Debug)]
pub struct SoakOptions {
    /// How long it runs, from 3 to 10,080 (a week).
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u32).range(3..=10_080))]
    pub minutes: u32,

    /// Requests a second, of all clients together. A pull is five requests.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    pub rate: u32,

    /// Clients; each keeps a connection to one process for a minute.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(3..=3_000))]
    pub clients: u32,

    /// Images in the upstream.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    pub images: u32,

    /// The registry-proxy to test. Without it, the one that `PROXY_UNDER_TEST` names; without both, the one that
    /// `cargo xtask soak` builds.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,

    /// The folder for the results: soak.md, soak.svg, samples.tsv and failures.tsv.
    #[arg(long, value_name = "FOLDER", default_value = "target/soak")]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        soak: SoakOptions,
    }

    #[test]
    fn the_usage_names_every_option() {
        let mut cli = Cli::command();
        cli.build();
        for argument in cli.get_arguments().filter(|argument| argument.get_id() != "help") {
            assert!(SOAK_USAGE.contains(&argument.to_string()), "{argument}");
        }
    }

    #[test]
    fn ninety_minutes_of_a_hundred_requests_a_second_by_default() {
        let Cli { soak } = Cli::try_parse_from(["soak"]).unwrap();
        assert_eq!((soak.minutes, soak.rate, soak.clients, soak.images), (90, 100, 1_000, 5_000));
        assert!(Cli::try_parse_from(["soak", "--minutes", "2"]).is_err());
    }
}
