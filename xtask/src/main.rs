//! `cargo xtask`: what this project does besides compiling, without tools that a newcomer lacks.
//!
//! It depends on little, so that its first build takes seconds, not minutes.

mod arguments;
mod bench;
mod deploy;
mod docs;
mod fuzz;
mod machine;
mod package;
mod pages;
mod purity;
mod recording;
mod release;
mod run;
mod site;
mod soak;
mod test;
mod worker;

use std::process::ExitCode;

use arguments::{Cli, Task};
use clap::{CommandFactory as _, Parser as _};

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Some(Task::Test(arguments)) => test::run(&arguments),
        Some(Task::Bench(arguments)) => bench::run(&arguments),
        Some(Task::Soak(arguments)) => soak::run(&arguments),
        Some(Task::Fuzz(arguments)) => fuzz::run(&arguments),
        Some(Task::Purity(arguments)) => purity::run(&arguments),
        Some(Task::Docs(arguments)) => docs::run(&arguments),
        Some(Task::Package(arguments)) => package::run(&arguments),
        Some(Task::Release(arguments)) => release::run(&arguments),
        Some(Task::Worker(arguments)) => worker::run(&arguments),
        Some(Task::Deploy(arguments)) => deploy::run(&arguments),
        None => Cli::command().print_help().map_err(|error| error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
