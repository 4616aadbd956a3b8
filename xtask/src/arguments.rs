//! The command line of `cargo xtask`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use registry_proxy_bench_options::{Options, SOAK_USAGE, USAGE};

use crate::machine::target::Target;

const WHERE_TO_BEGIN: &str = "\
Where to begin: `cargo xtask test --inner-only` takes seconds and needs only Rust;
`cargo xtask test --install` has to pass before a change is done.";

/// What this project does besides compiling.
#[derive(Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", max_term_width = 100, flatten_help = true)]
#[command(after_help = WHERE_TO_BEGIN, disable_help_flag = true)]
// Errors show this line: it names every task, and the line of a task names every option.
#[command(
    override_usage = "cargo xtask <test | bench | soak | fuzz | purity | docs | package | release | worker | deploy | help> [OPTIONS]"
)]
pub(crate) struct Cli {
    /// If it is missing, the help is printed.
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    /// Print help.
    #[arg(long, short, global = true, action = ArgAction::Help)]
    help: Option<bool>,
}

// `verbatim_doc_comment`: the help of all tasks on one page does not wrap these lines itself.
#[derive(Subcommand)]
pub(crate) enum Task {
    /// Run every test. The inner tests need only Rust. The outer tests start real registries and
    /// real clients (skopeo, podman, containerd, Docker) around the finished binary, on loopback
    /// addresses and in temporary folders, and check the files of deploy/. If the machine lacks a
    /// program, the task names the Debian package that has it, and fails.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask test [--install] [--inner-only | --outer-only] [-- <ARGUMENT>...]")]
    Test(Test),

    /// Build the binary that is released, unless `--binary` or `PROXY_UNDER_TEST` names one, and run
    /// the benchmarks on it.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = format!("cargo xtask bench [--install] {USAGE}"))]
    Bench(Bench),

    /// Run the binary that is released, unless `--binary` or `PROXY_UNDER_TEST` names one, for a long time
    /// under load, with outages, reloads, kills and two replicas on a bucket. Fail if a body is wrong, if a
    /// request fails that no outage explains, or if memory, descriptors or threads grow.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = format!("cargo xtask soak [--install] {SOAK_USAGE}"))]
    Soak(Soak),

    /// Run each fuzz target, or one, under libFuzzer, and add the inputs that reach new code to
    /// fuzz/corpus. Needs a C++ compiler.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask fuzz [--seconds <N>] [TARGET]")]
    Fuzz(Fuzz),

    /// Check that crates/core decides and touches nothing: its dependencies and its source have no
    /// runtime, no socket and no clock, and it compiles for wasm32-unknown-unknown. Check each crate
    /// below crates/ for import cycles between files, for types that share a name, and for files of
    /// over 400 lines. `pages`: check that each page in Chinese follows its English one as it is now,
    /// and that links between pages lead somewhere.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask purity [--install | structure | pages]")]
    Purity(Purity),

    /// Write the pages that are generated from the code: docs/reference/configuration.md,
    /// registry-proxy.schema.json, outcomes.md and registries.md. Or mark pages in Chinese as
    /// following their English pages as they are now, once you have brought them up to date. Or make
    /// a site of all pages, in both languages and with search (mdBook), and fail if it has a warning
    /// or a link that leads nowhere.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask docs [--twin <FILE>... | --site [--out <FOLDER>] [--install]]")]
    Docs(Docs),

    /// Make what a platform takes: a static binary, in a zip, in a folder, or in an image for both
    /// processors. The same source gives the same bytes. Prints the path, the size and the sha256 of
    /// each file, and what the binary needs of the system.
    #[command(verbatim_doc_comment)]
    #[command(
        override_usage = "cargo xtask package [--arch <ARCH>] [--out <FOLDER>] [--without-optional-features] [--install] <PLATFORM>"
    )]
    Package(Package),

    /// Make every file of a release in one folder, as the release workflow does, and publish nothing:
    /// archives, deb and rpm, zips for functions, the image and the chart as OCI archives, the SBOM, the
    /// sources with all crates, and SHA256SUMS. Prints the size and the sha256 of each.
    #[command(verbatim_doc_comment)]
    #[command(
        override_usage = "cargo xtask release --dry-run [--tag <TAG>] [--binaries <FOLDER>] [--out <FOLDER>] [--install]"
    )]
    Release(Release),

    /// Compile the Cloudflare Worker, with its JavaScript, for `wrangler deploy`. Needs only Rust.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask worker [--out <FOLDER>]")]
    Worker(Worker),

    /// Check the files of deploy/ with the tools, the schemas and the documentation of the programs
    /// that read them.
    #[command(verbatim_doc_comment)]
    #[command(override_usage = "cargo xtask deploy [--install]")]
    Deploy(Deploy),
}

#[derive(Args)]
pub(crate) struct Test {
    /// Name what the machine lacks, then install it: Debian packages, a Rust target, and Python and npm packages in
    /// folders of their own below ~/.cache.
    #[arg(long)]
    pub(crate) install: bool,

    /// Run only the inner tests.
    #[arg(long, conflicts_with = "outer_only")]
    inner_only: bool,

    /// Run only the outer tests.
    #[arg(long)]
    outer_only: bool,

    /// For the outer tests: `cargo xtask test --outer-only -- NAME` runs one test, `--nocapture` shows what they print.
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) rest: Vec<String>,
}

impl Test {
    pub(crate) fn inner(&self) -> bool {
        !self.outer_only
    }

    pub(crate) fn outer(&self) -> bool {
        !self.inner_only
    }
}

#[derive(Args)]
pub(crate) struct Bench {
    /// Name what the machine lacks of nginx, wrk, Node.js and the other programs to compare with, then install it.
    #[arg(long)]
    pub(crate) install: bool,

    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Args)]
pub(crate) struct Soak {
    /// Install the object store from Python's registry if it is missing, in a folder of its own below ~/.cache, and
    /// what compiles the binary.
    #[arg(long)]
    pub(crate) install: bool,

    #[command(flatten)]
    pub(crate) options: registry_proxy_bench_options::SoakOptions,
}

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Run this target only.
    pub(crate) target: Option<String>,

    /// How long each target runs.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[derive(Args)]
pub(crate) struct Purity {
    /// Install that Rust target if it is missing.
    #[arg(long)]
    pub(crate) install: bool,

    /// Check this part only.
    #[arg(conflicts_with = "install")]
    pub(crate) part: Option<Part>,
}

/// What can be checked alone.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Part {
    /// Import cycles, types that share a name, and long files.
    Structure,
    /// Pages in Chinese and links.
    Pages,
}

#[derive(Args)]
pub(crate) struct Docs {
    /// Write into this page, such as docs/zh/how-to/docker.md, which text of its English page it follows.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "site")]
    pub(crate) twin: Vec<PathBuf>,

    /// Make the site.
    #[arg(long)]
    pub(crate) site: bool,

    /// The folder for the site. Its content is removed first.
    #[arg(long, value_name = "FOLDER", default_value = "dist/site")]
    pub(crate) out: PathBuf,

    /// Install mdBook if it is missing, in a folder of its own below ~/.cache.
    #[arg(long, requires = "site")]
    pub(crate) install: bool,
}

#[derive(Args)]
pub(crate) struct Package {
    /// linux, aws, aliyun, tencent or container.
    // The crate `package` knows them.
    pub(crate) platform: String,

    /// The processor; without it, `x86_64`, and both for `container`.
    #[arg(long)]
    pub(crate) arch: Option<Target>,

    /// The files are written to <FOLDER>/<PLATFORM>.
    #[arg(long, value_name = "FOLDER", default_value = "dist")]
    pub(crate) out: PathBuf,

    /// Leave out what a release has besides the default features: `packaged` in crates/server/Cargo.toml.
    #[arg(long)]
    pub(crate) without_optional_features: bool,

    /// Name what the machine lacks to compile for that processor, then install it.
    #[arg(long)]
    pub(crate) install: bool,
}

#[derive(Args)]
pub(crate) struct Release {
    /// Publish nothing. There is no other way to run this: what publishes is .github/workflows/release.yml.
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Fail unless this is the tag of the version in Cargo.toml and nothing is left out.
    #[arg(long)]
    pub(crate) tag: Option<String>,

    /// Build nothing and take registry-proxy-x86_64 and registry-proxy-arm64 from here. What needs one that is not
    /// there is left out.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) binaries: Option<PathBuf>,

    /// The folder for the files. Its content is removed first.
    #[arg(long, value_name = "FOLDER", default_value = "dist/release")]
    pub(crate) out: PathBuf,

    /// Name what the machine lacks, then install it: Debian packages, Rust targets, and programs from
    /// Python's and Rust's registries in folders of their own below ~/.cache.
    #[arg(long)]
    pub(crate) install: bool,
}

#[derive(Args)]
pub(crate) struct Worker {
    /// The folder to write [default: deploy/cloudflare/build].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Deploy {
    /// Name what the machine lacks, then install it: Debian packages, and Python and npm packages in folders of
    /// their own below ~/.cache.
    #[arg(long)]
    pub(crate) install: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_finds_no_fault() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_names_every_task_or_option() {
        let mut cli = Cli::command();
        cli.build();
        let tasks = cli.render_usage().to_string();
        for task in cli.get_subcommands_mut() {
            assert!(tasks.contains(task.get_name()), "{}", task.get_name());
            let usage = task.render_usage().to_string();
            let options = task.get_arguments().filter_map(|argument| argument.get_long());
            for option in options.filter(|option| *option != "help") {
                assert!(usage.contains(&format!("--{option}")), "{usage}: {option}");
            }
        }
    }

    #[test]
    fn what_follows_two_dashes_is_for_the_outer_tests() {
        let cli = Cli::try_parse_from(["xtask", "test", "--outer-only", "--", "name", "--nocapture"]);
        let Some(Task::Test(test)) = cli.unwrap().task else { panic!("another task") };
        assert_eq!((test.inner(), test.outer()), (false, true));
        assert_eq!(test.rest, ["name", "--nocapture"]);
    }
}
