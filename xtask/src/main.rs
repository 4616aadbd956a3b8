//! `cargo xtask`: what this project does besides compiling, without tools that a newcomer lacks.
//!
//! It depends on little, so that it is built in a moment.

mod arguments;
mod bench;
mod deploy;
mod docs;
mod fuzz;
mod machine;
mod package;
mod purity;
mod run;
mod test;
mod worker;

use std::env;
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <task> [options]

  test [--install] [--inner-only | --outer-only]
        Runs every test. The inner ones need Rust only. The outer ones start real registries
        and real clients (skopeo, podman, containerd, Docker) around the finished binary, on
        loopback addresses and in temporary folders, and check the files of deploy/. What a machine
        lacks is named, with the Debian package that has it; with --install it is announced and then
        installed (the emulator of AWS Lambda from PyPI, into a folder of its own below ~/.cache).
        A single outer test:  cargo xtask test --outer-only -- name_of_the_test

  bench [--install] [arguments]
        Builds what is passed on (or takes what PROXY_UNDER_TEST names) and runs the benchmarks
        with these arguments; `bench --help` tells them. With --install, nginx, wrk, Node.js and
        the other peers are announced and then installed.

  fuzz [target] [--seconds n]
        Runs each fuzz target, or one, under libFuzzer for a minute or so long, and adds what
        it found interesting to fuzz/corpus. Needs a C++ compiler.

  purity [--install | structure]
        Proves that crates/core decides and touches nothing: no runtime, no socket, no clock
        among what it depends on or says, and it compiles for wasm32-unknown-unknown. With
        --install, that Rust target is installed where it is missing. In each crate below crates/
        it finds import cycles between files, types of one name and files of over 400 lines;
        with `structure`, that part alone.

  docs
        Writes the pages that are made from the code: docs/reference/configuration.md, outcomes.md and
        registries.md.

  package <linux | aws | aliyun | tencent | container> [--arch x86_64 | arm64] [--out FOLDER] [--install]
        Makes in dist/<platform> what the platform takes: a static binary, in a zip, a folder or
        an image for both processors. The same source gives the same bytes. Prints the path, the
        size and the sha256 of each, and what it asks of the system. With --install, a compiler
        for the other processor and the Rust target are installed where they are missing.

  worker [--out FOLDER]
        Compiles the Cloudflare Worker, with its JavaScript, into deploy/cloudflare/build: what
        `wrangler deploy` takes. Needs Rust only.

  deploy [--install]
        Checks the files of deploy/ with the tools, schemas and documentation of those who read
        them. With --install, Python packages come into ~/.cache/registry-proxy-xtask.

Where to begin: `cargo xtask test --inner-only` takes seconds and needs nothing;
`cargo xtask test --install` is what has to pass before a change is done.
";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some("test") => arguments::Test::parse(arguments).and_then(|arguments| test::run(&arguments)),
        Some("bench") => bench::run(arguments),
        Some("fuzz") => fuzz::run(arguments),
        Some("purity") => purity::run(arguments),
        Some("docs") => docs::run(),
        Some("deploy") => deploy::run(arguments),
        Some("package") => arguments::Package::parse(arguments).and_then(|arguments| package::run(&arguments)),
        Some("worker") => worker::run(arguments),
        None | Some("help" | "--help" | "-h") => {
            eprint!("{HELP}");
            Ok(())
        }
        Some(other) => Err(format!("there is no task `{other}`\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
