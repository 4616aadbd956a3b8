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
    /// As the crate `package` calls it.
    pub(crate) platform: String,
    /// `None`: what the platform takes.
    pub(crate) target: Option<Target>,
    pub(crate) out: String,
    pub(crate) install: bool,
}

impl Package {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let platform = arguments.next().ok_or("package for what?")?;
        let mut package = Self { platform, target: None, out: "dist".to_owned(), install: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` takes a value"));
            match argument.as_str() {
                "--install" => package.install = true,
                "--out" => package.out = value()?,
                "--arch" => {
                    let name = value()?;
                    let target = Target::named(&name);
                    let target = target.ok_or_else(|| format!("no processor `{name}`, only x86_64 and arm64"))?;
                    package.target = Some(target);
                }
                other => return Err(format!("`package` has no option `{other}`")),
            }
        }
        Ok(package)
    }
}
