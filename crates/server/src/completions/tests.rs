//! The files of `shell/` are what the command line's definition gives. `cargo xtask docs` writes them by the test that is ignored
//! here, so that what generates them is no part of the binary.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::{BETWEEN, CompletionShell, script};
use crate::cli::Cli;

const NAME: &str = "registry-proxy";
/// Of the pages, which must say one.
const DATE: &str = "2026-11-30";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shell")
}

/// The generator of a shell, and how its file is called.
fn generator(shell: CompletionShell) -> (Shell, &'static str) {
    match shell {
        CompletionShell::Bash => (Shell::Bash, "registry-proxy.bash"),
        CompletionShell::Zsh => (Shell::Zsh, "_registry-proxy"),
        CompletionShell::Fish => (Shell::Fish, "registry-proxy.fish"),
        CompletionShell::Powershell => (Shell::PowerShell, "registry-proxy.ps1"),
        CompletionShell::Elvish => (Shell::Elvish, "registry-proxy.elv"),
    }
}

/// The command line without `help COMMAND`, which would be every word of it once more.
fn command() -> clap::Command {
    let without_help = |command: clap::Command| command.disable_help_subcommand(true);
    without_help(Cli::command()).mut_subcommand("cache", without_help)
}

fn generated(shell: CompletionShell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(generator(shell).0, &mut command(), NAME, &mut text);
    let text = String::from_utf8(text).unwrap();
    // clap-rs/clap#6421: of a name with a hyphen, bash would complete no options of any command.
    text.replace("registry__subcmd__proxy", "registry__proxy")
}

/// The page of the program and one of each command, by the names of their files.
fn pages() -> Vec<(String, String)> {
    let mut command = command();
    // Gives each command its whole name.
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, NAME, &mut pages);
    pages
}

fn add_pages(command: &clap::Command, name: &str, pages: &mut Vec<(String, String)>) {
    // The version names the target, for which a page is not made.
    let man = clap_mangen::Man::new(command.clone().version(None::<&'static str>));
    let mut text = Vec::new();
    man.title(name.to_uppercase()).date(DATE).source(NAME).manual(NAME).render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // What clap calls "after help" are examples; and two breaks around an empty line are one too many for mandoc.
    let text = text.replace("\n.SH EXTRA\n", "\n.SH EXAMPLES\n").replace("\n.br\n\n.br\n", "\n.sp\n");
    pages.push((format!("{name}.1"), text));
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        add_pages(inner, &format!("{name}-{}", inner.get_name()), pages);
    }
}

/// Every file but the compressed one.
fn files() -> Vec<(String, String)> {
    let scripts = CompletionShell::ALL.map(|shell| (generator(shell).1.to_owned(), generated(shell)));
    scripts.into_iter().chain(pages()).collect()
}

#[test]
#[ignore = "cargo xtask docs runs it: it writes the files"]
fn write_the_files() {
    fs::remove_dir_all(folder()).unwrap();
    fs::create_dir(folder()).unwrap();
    for (name, text) in files() {
        fs::write(folder().join(name), text).unwrap();
    }
    let mut packed = GzEncoder::new(fs::File::create(folder().join("scripts.gz")).unwrap(), Compression::best());
    let scripts = CompletionShell::ALL.map(generated).join(BETWEEN);
    packed.write_all(scripts.as_bytes()).unwrap();
    packed.finish().unwrap();
}

#[test]
fn the_files_are_what_the_command_line_says() {
    let mut expected: Vec<String> =
        files().into_iter().map(|(name, _)| name).chain(["scripts.gz".into()]).collect();
    let mut found: Vec<String> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "cargo xtask docs writes them again");
    for (name, text) in files() {
        assert!(fs::read_to_string(folder().join(&name)).unwrap() == text, "cargo xtask docs writes {name} again");
    }
}

#[test]
fn the_binary_has_the_script_of_every_shell() {
    for shell in CompletionShell::ALL {
        assert!(
            script(shell).unwrap() == generated(shell),
            "cargo xtask docs packs the script of {shell:?} again"
        );
    }
}
