//! The first `cargo build --release` of a fresh clone: into an empty folder, with the crates downloaded.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::lab::Lab;
use crate::options::Subject;
use crate::report::{Report, Row, Target, sources};
use crate::{Error, Result};

/// In minutes, on two cores.
const TARGET: f64 = 3.5;

/// What a quick run builds in place of the program.
const SMALL: &str = "registry-proxy-bench-options";

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    let ours = minutes(lab)?;
    // There is nothing to compare it with but another one.
    let beside = match lab.options.subject() {
        Subject::Product => Vec::new(),
        Subject::Control => vec![minutes(lab)?],
    };
    let what = if lab.options.quick { SMALL } else { "the program" };
    report.row(Row {
        target: Some(Target::under(TARGET, "min", ours)),
        ..Row::in_turn(format!("first `cargo build --release` of a clone, {what}, min"), &[ours], &beside, 2)
    });
    Ok(())
}

fn minutes(lab: &Lab) -> Result<f64> {
    let room = lab.room("build")?;
    let clone = room.join("clone");
    let sources = sources()?;
    done(
        Command::new("git")
            .args(["clone", "--quiet", "--depth", "1"])
            .arg(format!("file://{}", sources.display()))
            .arg(&clone),
    )?;
    done(cargo(&clone, &room).args(["fetch", "--quiet", "--locked"]))?;
    let mut build = cargo(&clone, &room);
    build.args(["build", "--release", "--quiet", "--locked", "--offline"]);
    if lab.options.quick {
        build.args(["--package", SMALL]);
    }
    let begun = Instant::now();
    done(&mut build)?;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    std::fs::remove_dir_all(room)?;
    Ok(minutes)
}

/// Cargo as somebody starts it in the clone, without what the one around this program has set.
fn cargo(clone: &Path, room: &Path) -> Command {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        command.env_remove(name);
    }
    command.env_remove("RUSTFLAGS").current_dir(clone).env("CARGO_TARGET_DIR", room.join("target"));
    command
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::from(format!("{} ended with {}\n{said}", command.get_program().display(), output.status)))
}
