//! The size of the binary, without symbols: as it is released, and without the cargo features that are optional.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::lab::Lab;
use crate::options::Subject;
use crate::report::{Report, Row, Target};
use crate::service::nginx;

/// Of the released binary, which has all features, in megabytes.
const TARGET: f64 = 18.0;
/// Of the binary without the optional ones.
const TARGET_WITHOUT: f64 = 15.0;
/// Where that is, as `cargo xtask bench` says; with `--binary` nobody says it.
const WITHOUT_VARIABLE: &str = "BENCH_WITHOUT_OPTIONAL_FEATURES";

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let nginx = || size_of(lab, Path::new(nginx::program()));
    let ((size, how), beside) = match lab.options.subject() {
        Subject::Product => (size_of(lab, &lab.product()?)?, None),
        Subject::Control => (nginx()?, Some(nginx()?.0)),
    };
    report.row(Row {
        measure: format!("size of the binary, {how}, MB"),
        ours: format!("{size:.1}"),
        nginx: beside.map(|beside| format!("{beside:.1}")).unwrap_or_default(),
        ratio: beside.map(|beside| format!("{:.2}", size / beside)).unwrap_or_default(),
        target: Some(Target::under(TARGET, "MB", size)),
        ..Row::default()
    });
    if let (Subject::Product, Some(without)) = (lab.options.subject(), std::env::var_os(WITHOUT_VARIABLE)) {
        let (size, how) = size_of(lab, Path::new(&without))?;
        report.row(Row {
            measure: format!("size of the binary without optional features, {how}, MB"),
            ours: format!("{size:.1}"),
            target: Some(Target::under(TARGET_WITHOUT, "MB", size)),
            ..Row::default()
        });
    }
    Ok(())
}

/// In megabytes, and of what.
fn size_of(lab: &Lab, binary: &Path) -> Result<(f64, &'static str)> {
    let stripped = lab.room("size")?.join("stripped");
    // The profiles `dist` and `release` strip already; a binary built otherwise is stripped
    // here, where the tool for it exists.
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(binary).stderr(Stdio::null()).status();
    let (path, how) = match done {
        Ok(status) if status.success() => (stripped.as_path(), "stripped"),
        _ => (binary, "as it is"),
    };
    let kilobytes = u32::try_from(fs::metadata(path)?.len() / 1000)?;
    Ok((f64::from(kilobytes) / 1000.0, how))
}
