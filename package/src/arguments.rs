//! The command line, which `cargo xtask package` writes.

use std::path::{Path, PathBuf};

use crate::elf::{Binary, Machine};
use crate::error::Error;

const USAGE: &str = "\
Usage: package <linux|aws|aliyun|tencent|container> --out FOLDER --binary FILE [--binary FILE]
       package platforms

Each binary says by itself for which processor it is. `container` takes one or several,
the others exactly one. Files of deploy/ are taken from --deploy FOLDER. `platforms` lists
what there is, with `one` or `all` of which processors each takes.";

/// Where the parts come from, and where the artefacts go.
pub(crate) struct Arguments {
    pub(crate) platform: Platform,
    pub(crate) out: PathBuf,
    pub(crate) deploy: PathBuf,
    pub(crate) binaries: Vec<Binary>,
}

/// What can be packaged here. The Worker is no Linux binary and is packaged by another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Linux,
    Aws,
    Aliyun,
    Tencent,
    Container,
}

impl Platform {
    /// Also the folder's name, in `deploy/` and where the artefacts go.
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

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.name() == name)
    }

    /// The processors that it has.
    fn machines(self) -> &'static [Machine] {
        match self {
            Self::Linux | Self::Aws | Self::Container => &[Machine::X86_64, Machine::Arm64],
            // Neither cloud runs arm64 functions.
            Self::Aliyun | Self::Tencent => &[Machine::X86_64],
        }
    }

    /// Whether one artefact is for several processors.
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
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Error> {
        let usage = |what: &str| Error::Usage(format!("{what}\n\n{USAGE}"));
        let name = words.next().ok_or_else(|| usage("which platform?"))?;
        let platform =
            Platform::parse(&name).ok_or_else(|| usage(&format!("there is no platform `{name}` here")))?;
        let (mut out, mut deploy, mut binaries) = (None, PathBuf::from("deploy"), Vec::new());
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| usage(&format!("`{word}` takes a value")))?;
            match word.as_str() {
                "--out" => out = Some(PathBuf::from(value)),
                "--deploy" => deploy = PathBuf::from(value),
                "--binary" => binaries.push(Binary::read(Path::new(&value))?),
                _ => return Err(usage(&format!("there is no option `{word}`"))),
            }
        }
        let out = out.ok_or_else(|| usage("--out is missing"))?.join(platform.name());
        binaries.sort_by_key(|binary| binary.machine);
        let machines: Vec<Machine> = binaries.iter().map(|binary| binary.machine).collect();
        if !platform.takes(&machines) {
            return Err(usage(&format!("{name} does not take binaries for {machines:?}")));
        }
        Ok(Self { platform, out, deploy, binaries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
