//! `cargo xtask fuzz`: runs the fuzz targets under libFuzzer.
//!
//! cargo-fuzz needs a nightly compiler; this needs only the stable one: LLVM's own pass counts the coverage. The address
//! sanitizer, which a stable compiler lacks, would find little: our code has no `unsafe`.

use std::fs;
use std::path::Path;

use crate::arguments::Fuzz;
use crate::run::{Shown, cargo, host_triple, target_folder, workspace};

/// Longest input. Longer ones would not reach other code in these parsers.
const MAX_BYTES: u32 = 1024;
/// Counts which branches were taken, and shows the fuzzer which values were compared.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks";

/// The package and the program of most targets.
const OF_PARSERS: (&str, &str) = ("registry-proxy-fuzz", "fuzz");
/// The same of the target that only the server itself can run, because a connection is private to it.
const OF_SERVER: (&str, &str) = ("registry-proxy", "registry-proxy");
const SERVER_TARGET: &str = "http2";

pub(crate) fn run(arguments: &Fuzz) -> Result<(), String> {
    let targets = targets()?;
    let wanted = arguments.target.as_ref();
    let chosen: Vec<&String> = targets.iter().filter(|name| wanted.is_none_or(|wanted| wanted == *name)).collect();
    if chosen.is_empty() {
        return Err(format!("there is no such fuzz target; the fuzz targets are {}", targets.join(", ")));
    }
    // A folder of its own: the other flags would have cargo rebuild everything, now and at the next ordinary build.
    let built = target_folder().join("fuzz");
    // With `--target`, cargo compiles build scripts and macros without these flags.
    let host = host_triple()?;
    let program = |name: &str| if name == SERVER_TARGET { OF_SERVER } else { OF_PARSERS };
    for package in [OF_PARSERS, OF_SERVER] {
        if chosen.iter().any(|name| program(name) == package) {
            cargo(&["build", "--release", "-p", package.0, "--features", "libfuzzer"])
                .arguments([
                    "--target-dir".to_owned(),
                    built.display().to_string(),
                    "--target".to_owned(),
                    host.clone(),
                ])
                .arguments(["--config", "profile.release.lto=false"].map(str::to_owned))
                .variable("RUSTFLAGS", COVERAGE)
                .run()?;
        }
    }
    for name in chosen {
        let binary = built.join(&host).join("release").join(program(name).1);
        fuzz(&binary, &built, name, arguments.seconds)?;
    }
    Ok(())
}

/// Starts from the kept inputs and searches for inputs that reach new code, then keeps the shortest for each piece of code.
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
