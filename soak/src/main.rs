//! The soak: the finished binary for hours under load, with outages, reloads, kills and replicas.
//!
//! Read in this order. `content` makes the images, `upstream` serves them, `bucket` is `SeaweedFS`, `instance` a process under
//! test, `load` the clients, and `journal` what they have seen. `timetable` says what goes wrong and when, `conductor` does it
//! and measures (`sample`), `verdict` says which failures are to be expected, and `report` and `plot` show it all.

mod ask;
mod bucket;
mod conductor;
mod content;
mod dice;
mod instance;
mod journal;
mod load;
mod plot;
mod report;
mod sample;
mod timetable;
mod upstream;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, thread};

use clap::Parser;
use registry_proxy_bench_options::{SOAK_USAGE, SoakOptions};
use registry_proxy_outer::process::keep_logs_quiet;
use registry_proxy_outer::{Context as _, Outcome};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Runs registry-proxy for a long time under load and outages.
#[derive(Parser)]
#[command(name = "soak", max_term_width = 100, override_usage = format!("soak {SOAK_USAGE}"))]
struct Cli {
    #[command(flatten)]
    options: SoakOptions,
}

fn main() -> ExitCode {
    match run(&Cli::parse().options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("soak: {failure:?}");
            ExitCode::from(2)
        }
    }
}

/// False: something failed that should not have.
fn run(options: &SoakOptions) -> Outcome<bool> {
    keep_logs_quiet();
    // A thousand connections are more than a shell lets a program have.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let named = |variable| env::var_os(variable).map(PathBuf::from);
    let binary = options.binary.clone().or_else(|| named("PROXY_UNDER_TEST"));
    let binary = binary.context("name a binary with --binary, or run `cargo xtask soak`")?;
    let binary = binary.canonicalize().context(binary.display())?;
    let seaweedfs = named("SEAWEEDFS").context("SEAWEEDFS names no program; `cargo xtask soak` installs it")?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_at_signals(&stop)?;
    let setting = report::Setting::new(options, &binary);
    eprintln!("soak: {}: {} minutes", setting.version, options.minutes);
    let results = conductor::run(options, &binary, &seaweedfs, &stop)?;
    let (page, wrong) = report::page(&results, options, &setting);
    fs::create_dir_all(&options.out)?;
    write(&options.out, "soak.md", &page)?;
    write(&options.out, "soak.svg", &plot::svg(&results))?;
    write(&options.out, "samples.tsv", &report::samples(&results))?;
    write(&options.out, "failures.tsv", &report::failures_in_full(&results))?;
    eprintln!("\n{page}\nsoak: the results are in {}", options.out.display());
    if !wrong.is_empty() {
        keep_logs(results.room.path(), &options.out.join("logs"))?;
    }
    Ok(wrong.is_empty())
}

/// Copies the logs of all processes, for whoever looks for the cause of a failure.
fn keep_logs(room: &Path, folder: &Path) -> Outcome {
    for entry in fs::read_dir(room)? {
        let entry = entry?;
        let logs = fs::read_dir(entry.path())?.filter_map(Result::ok);
        for log in logs.filter(|log| log.file_name().to_string_lossy().starts_with("log-")) {
            fs::create_dir_all(folder)?;
            let name = format!("{}-{}", entry.file_name().display(), log.file_name().display());
            fs::copy(log.path(), folder.join(name))?;
        }
    }
    Ok(())
}

fn write(folder: &Path, name: &str, text: &str) -> Outcome {
    let path = folder.join(name);
    fs::write(&path, text).context(path.display())
}

/// Ctrl-C and SIGTERM end the run early; everything that was started is ended and removed as usual.
fn stop_at_signals(stop: &Arc<AtomicBool>) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let stop = Arc::clone(stop);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
    Ok(())
}
