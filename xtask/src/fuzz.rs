//! `cargo xtask fuzz`: the parsers under libFuzzer, for as long as one likes.
//!
//! What cargo-fuzz does with a nightly compiler is done here with the stable one: coverage is counted by LLVM's own
//! pass. The address sanitizer, which a stable compiler lacks, would have little to find: our code has no `unsafe`.

use std::fs;
use std::path::Path;

use crate::run::{Shown, cargo, host_triple, target_folder, workspace};

/// How long each target is run, in seconds.
const SECONDS: u64 = 60;
/// Longest input. Nothing that these parsers read is interesting because it is long.
const MAX_BYTES: u32 = 1024;
/// Counts which ways were taken, and shows the fuzzer what was compared.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut wanted, mut seconds) = (None, SECONDS);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let number = arguments.next().and_then(|text| text.parse().ok());
                seconds = number.ok_or("`--seconds` wants a number")?;
            }
            name if !name.starts_with('-') && wanted.is_none() => wanted = Some(name.to_owned()),
            other => return Err(format!("`fuzz` has no option `{other}`")),
        }
    }
    let targets = targets()?;
    let chosen: Vec<&String> = targets.iter().filter(|name| wanted.as_ref().is_none_or(|w| w == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no such target; there are {}", targets.join(", ")));
    }
    // Apart from what is built otherwise: other flags would build everything anew, there and back.
    let built = target_folder().join("fuzz");
    // With a target named, what runs while we build is built without these flags.
    let host = host_triple()?;
    let binary = built.join(&host).join("release/fuzz");
    cargo(&["build", "--release", "-p", "registry-proxy-fuzz", "--features", "libfuzzer"])
        .arguments(["--target-dir".to_owned(), built.display().to_string(), "--target".to_owned(), host])
        .arguments(["--config", "profile.release.lto=false"].map(str::to_owned))
        .variable("RUSTFLAGS", COVERAGE)
        .run()?;
    for name in chosen {
        fuzz(&binary, &built, name, seconds)?;
    }
    Ok(())
}

/// Looks for new ways from where the kept inputs have got, then keeps the shortest inputs that lead each of them.
fn fuzz(binary: &Path, built: &Path, name: &str, seconds: u64) -> Result<(), String> {
    let kept = workspace().join("fuzz/corpus").join(name);
    let found = built.join("found").join(name);
    let failed = |error: std::io::Error| format!("{}: {error}", found.display());
    fs::create_dir_all(&found).map_err(failed)?;
    let program = |folders: [&Path; 2], options: &[String]| {
        Shown::new(&binary.display().to_string(), &[])
            .variable("REGISTRY_PROXY_FUZZ_TARGET", name)
            .arguments(options.iter().cloned())
            .arguments(folders.map(|folder| folder.display().to_string()))
    };
    let crashes = format!("-artifact_prefix={}/fails-", built.display());
    let options =
        [format!("-max_total_time={seconds}"), format!("-max_len={MAX_BYTES}"), "-timeout=10".to_owned(), crashes];
    program(
        [&found, &kept],
        &[&options[..], &["-verbosity=0".to_owned(), "-print_final_stats=1".to_owned()]].concat(),
    )
    .run()?;
    program(
        [&kept, &found],
        &["-set_cover_merge=1".to_owned(), "-use_counters=0".to_owned(), "-verbosity=0".to_owned()],
    )
    .run()
}

fn targets() -> Result<Vec<String>, String> {
    let folder = workspace().join("fuzz/corpus");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
