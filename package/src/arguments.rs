//! The command line, which `cargo xtask package` writes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::elf::{Binary, Machine};
use crate::error::Error;

/// Puts the finished binary into what each platform takes.
#[derive(Parser)]
#[command(name = "package", max_term_width = 100)]
// An error shows this line, so it names every platform and option.
#[command(
    override_usage = "package <linux | aws | aliyun | tencent | container> --out <FOLDER> [--deploy <FOLDER>] \
                            --binary <FILE> [--binary <FILE>]...\n       package platforms"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The binary, and a .tar.gz with it.
    Linux(Parts),
    /// A zip for AWS Lambda.
    Aws(Parts),
    /// A zip and a folder for Aliyun FC.
    Aliyun(Parts),
    /// A zip and a folder for Tencent SCF.
    Tencent(Parts),
    /// One container image for all the processors of the binaries.
    Container(Parts),
    /// List the platforms: the name, `one` or `all` for how many binaries it takes, and their processors.
    Platforms,
}

/// What a platform's artefact is made of.
#[derive(Args)]
#[command(
    override_usage = "package <PLATFORM> --out <FOLDER> [--deploy <FOLDER>] --binary <FILE> [--binary <FILE>]..."
)]
pub(crate) struct Parts {
    /// The artefacts are written to a folder in it, which has the platform's name.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,

    /// Where the files for the platform are.
    #[arg(long, value_name = "FOLDER", default_value = "deploy")]
    deploy: PathBuf,

    /// A finished binary. Its processor is read from it. `container` takes one for each processor, the others take one.
    #[arg(long = "binary", value_name = "FILE", required = true)]
    binaries: Vec<PathBuf>,
}

/// What to make, of what, and where to write it.
pub(crate) struct Arguments {
    pub(crate) platform: Platform,
    pub(crate) out: PathBuf,
    pub(crate) deploy: PathBuf,
    pub(crate) binaries: Vec<Binary>,
}

/// A platform with Linux binaries. `cargo xtask worker` packages the Cloudflare Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Linux,
    Aws,
    Aliyun,
    Tencent,
    Container,
}

impl Platform {
    /// Also the name of its folder, in `deploy/` and among the artefacts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Aws => "aws",
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
            Self::Container => "container",
        }
    }

    const ALL: [Self; 5] = [Self::Linux, Self::Aws, Self::Aliyun, Self::Tencent, Self::Container];

    /// The processors that it runs on.
    fn machines(self) -> &'static [Machine] {
        match self {
            Self::Linux | Self::Aws | Self::Container => &[Machine::X86_64, Machine::Arm64],
            // Neither cloud runs arm64 functions.
            Self::Aliyun | Self::Tencent => &[Machine::X86_64],
        }
    }

    /// Whether one artefact is for all processors.
    fn takes_all(self) -> bool {
        self == Self::Container
    }

    fn takes(self, machines: &[Machine]) -> bool {
        let are_known = machines.iter().all(|machine| self.machines().contains(machine));
        let are_different = machines.windows(2).all(|pair| pair[0] != pair[1]);
        are_known && are_different && !machines.is_empty() && (self.takes_all() || machines.len() == 1)
    }
}

/// For `cargo xtask package`, which builds the binaries: `NAME one|all PROCESSOR…`, a line each.
pub(crate) fn platforms() -> String {
    let line = |platform: Platform| {
        let machines: Vec<&str> = platform.machines().iter().map(|machine| machine.name()).collect();
        let many = if platform.takes_all() { "all" } else { "one" };
        format!("{} {many} {}\n", platform.name(), machines.join(" "))
    };
    Platform::ALL.into_iter().map(line).collect()
}

impl Arguments {
    /// Reads the binaries.
    pub(crate) fn new(platform: Platform, parts: Parts) -> Result<Self, Error> {
        let mut binaries: Vec<Binary> =
            parts.binaries.iter().map(|path| Binary::read(path)).collect::<Result<_, _>>()?;
        binaries.sort_by_key(|binary| binary.machine);
        let machines: Vec<Machine> = binaries.iter().map(|binary| binary.machine).collect();
        let name = platform.name();
        if !platform.takes(&machines) {
            return Err(Error::Usage(format!("{name} does not take binaries for {machines:?}")));
        }
        Ok(Self { platform, out: parts.out.join(name), deploy: parts.deploy, binaries })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn an_error_names_every_platform_or_option() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let names = cli.render_usage().to_string();
        for platform in Platform::ALL {
            assert!(names.contains(platform.name()), "{names}");
            let command = cli.find_subcommand_mut(platform.name()).unwrap();
            let usage = command.render_usage().to_string();
            for option in ["--out", "--deploy", "--binary"] {
                assert!(usage.contains(option), "{usage}");
            }
        }
    }

    #[test]
    fn each_platform_takes_the_processors_it_says() {
        use Machine::{Arm64, X86_64};
        for (platform, machines, takes) in [
            (Platform::Linux, &[Arm64][..], true),
            (Platform::Linux, &[X86_64, Arm64], false),
            (Platform::Tencent, &[Arm64], false),
            (Platform::Container, &[X86_64, Arm64], true),
            (Platform::Container, &[X86_64, X86_64], false),
            (Platform::Container, &[], false),
        ] {
            assert_eq!(platform.takes(machines), takes, "{} {machines:?}", platform.name());
        }
        let listed = platforms();
        assert!(
            listed.contains("aliyun one x86_64\n") && listed.contains("container all x86_64 arm64\n"),
            "{listed}"
        );
    }
}
