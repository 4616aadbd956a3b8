//! The options of `cargo xtask test` and `cargo xtask package`.

use crate::machine::target::Target;

/// What to test, and whether the machine may be changed for it.
pub(crate) struct Test {
    pub(crate) install: bool,
    pub(crate) inner: bool,
    pub(crate) outer: bool,
    /// For the outer tests' own harness: names, `--nocapture` and the like.
    pub(crate) rest: Vec<String>,
}

impl Test {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut test = Self { install: false, inner: true, outer: true, rest: Vec::new() };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--install" => test.install = true,
                "--inner-only" => test.outer = false,
                "--outer-only" => test.inner = false,
                "--" => test.rest = arguments.by_ref().collect(),
                other => return Err(format!("`test` has no option `{other}`")),
            }
        }
        if !test.inner && !test.outer {
            return Err("--inner-only and --outer-only exclude each other".to_owned());
        }
        Ok(test)
    }
}

/// What to package, and for which processor.
pub(crate) struct Package {
    pub(crate) platform: Platform,
    pub(crate) target: Target,
    pub(crate) out: String,
    pub(crate) install: bool,
}

/// Where it is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Platform {
    Linux,
    Aws,
    Aliyun,
    Tencent,
    Container,
}

impl Platform {
    pub(crate) const ALL: [Self; 5] = [Self::Linux, Self::Aws, Self::Aliyun, Self::Tencent, Self::Container];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Aws => "aws",
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
            Self::Container => "container",
        }
    }
}

impl Package {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let names = || Platform::ALL.map(Platform::name).join(", ");
        let platform = arguments.next().ok_or_else(|| format!("package what? One of {}", names()))?;
        let platform = Platform::ALL
            .into_iter()
            .find(|one| one.name() == platform)
            .ok_or_else(|| format!("there is no platform `{platform}`, only {}", names()))?;
        let mut package = Self { platform, target: Target::X86_64, out: "dist".to_owned(), install: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--install" => package.install = true,
                "--out" => package.out = value()?,
                "--arch" => {
                    let name = value()?;
                    package.target = Target::named(&name)
                        .ok_or_else(|| format!("there is no processor `{name}`, only x86_64 and arm64"))?;
                }
                other => return Err(format!("`package` has no option `{other}`")),
            }
        }
        if package.target == Target::Arm64 && matches!(platform, Platform::Aliyun | Platform::Tencent) {
            return Err(format!("{} runs no arm64 functions", platform.name()));
        }
        Ok(package)
    }
}
