//! The size of the binary, without symbols.

use std::fs;
use std::process::{Command, Stdio};

use crate::Result;
use crate::lab::Lab;
use crate::report::{Report, Row, Target};

/// In megabytes.
const TARGET: f64 = 15.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let binary = lab.product()?;
    let stripped = lab.room("size")?.join("stripped");
    // The release profile strips already; a binary built otherwise is stripped
    // here, where the tool for it exists.
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(&binary).stderr(Stdio::null()).status();
    let (path, measure) = match done {
        Ok(status) if status.success() => (&stripped, "size of the binary, stripped, MB"),
        _ => (&binary, "size of the binary as it is, MB"),
    };
    let kilobytes = u32::try_from(fs::metadata(path)?.len() / 1000)?;
    let size = f64::from(kilobytes) / 1000.0;
    report.row(Row {
        measure: measure.into(),
        ours: format!("{size:.1}"),
        target: Some(Target::under(TARGET, "MB", size)),
        ..Row::default()
    });
    Ok(())
}
