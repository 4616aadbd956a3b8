//! The options of `cargo xtask test`.

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
