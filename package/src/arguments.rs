//! The command line, which `cargo xtask package` writes.

use std::path::{Path, PathBuf};

use crate::elf::{Binary, Machine};
use crate::error::Error;

const USAGE: &str = "\
Usage: package <linux|aws|aliyun|tencent|container> --out FOLDER --binary FILE [--binary FILE]

Each binary says by itself for which processor it is. `container` takes one or several,
the others exactly one. Files of deploy/ are taken from --deploy FOLDER.";

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

    fn parse(name: &str) -> Option<Self> {
        let all = [Self::Linux, Self::Aws, Self::Aliyun, Self::Tencent, Self::Container];
        all.into_iter().find(|platform| platform.name() == name)
    }
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
        let fits = match platform {
            Platform::Container => !machines.is_empty() && machines.windows(2).all(|pair| pair[0] != pair[1]),
            // Neither cloud runs arm64 functions.
            Platform::Aliyun | Platform::Tencent => machines == [Machine::X86_64],
            Platform::Linux | Platform::Aws => machines.len() == 1,
        };
        if !fits {
            return Err(usage(&format!("{name} does not take binaries for {machines:?}")));
        }
        Ok(Self { platform, out, deploy, binaries })
    }
}
