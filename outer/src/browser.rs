//! Chromium, driven by playwright-core over the page of a running proxy, with axe-core in it: all that a reader sees is read
//! in one run, since a browser takes its time to start.
//!
//! `cargo xtask test` installs what drives it, and says where that is.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::process::{Program, Tool};
use crate::{Context, Outcome};

/// The folder with `node_modules`.
const TOOLS: &str = "PAGE_TOOLS";
/// The Node.js that runs them.
const NODE: &str = "WORKER_NODE";
/// A folder for pictures of the page, for whoever wants them.
const SCREENSHOTS: &str = "PAGE_SCREENSHOTS";
const DRIVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/page/drive.mjs");
const DEADLINE: Duration = Duration::from_mins(3);

/// What a reader has seen.
#[derive(Debug, Deserialize)]
pub struct Seen {
    pub views: Vec<View>,
    pub keyboard: Keyboard,
    pub plain: Plain,
    pub still: Still,
    pub hostile: Vec<Hostile>,
    pub admin: AdminSeen,
    /// The origins that any page asked for anything.
    pub requests: Vec<String>,
    /// What the browser's console said: violations of the page's policy, too.
    pub complaints: Vec<String>,
}

/// The page in a language, a theme and a width.
#[derive(Debug, Deserialize)]
pub struct View {
    pub locale: String,
    pub theme: String,
    pub width: u32,
    pub language: String,
    pub background: String,
    #[serde(flatten)]
    pub look: Look,
    pub tabs: Vec<Look>,
    /// With something in the box that is no image.
    pub fault: Look,
}

/// What axe-core found, and whether the page is wider than the window.
#[derive(Debug, Deserialize)]
pub struct Look {
    pub violations: Vec<String>,
    /// How many rules hold, where that was counted.
    #[serde(default)]
    pub passes: u32,
    pub is_wide: bool,
}

/// With the keyboard alone: an image typed, its first command copied, the next client chosen.
#[derive(Debug, Deserialize)]
pub struct Keyboard {
    pub stops: Vec<Stop>,
    pub said: String,
    pub copied: String,
    pub panels: Vec<String>,
}

/// An element that the keyboard came to.
#[derive(Debug, Deserialize)]
pub struct Stop {
    pub what: String,
    /// The style of its outline.
    pub outline: String,
}

/// Where the browser has no clipboard for pages: the second command, copied and pasted.
#[derive(Debug, Deserialize)]
pub struct Plain {
    pub is_secure: bool,
    pub shown: String,
    pub copied: String,
}

/// Without scripts.
#[derive(Debug, Deserialize)]
pub struct Still {
    pub buttons: u32,
    pub commands: Vec<String>,
    pub panels: Vec<String>,
    pub language: String,
    pub kept: String,
}

/// With a name that is meant to break out of the page.
#[derive(Debug, Deserialize)]
pub struct Hostile {
    /// Elements that run or load something.
    pub elements: u32,
    pub fault: u32,
    pub value: String,
}

/// What a reader of the administration page has seen.
#[derive(Debug, Deserialize)]
pub struct AdminSeen {
    pub parts: Vec<AdminPart>,
    /// The outlines of what the keyboard came to.
    pub stops: Vec<String>,
    /// What the page said when the image was purged.
    pub purged: String,
    /// What it said when the image was to be warmed, and what it showed when that had ended.
    pub asked: String,
    pub warmed: String,
    /// Elements that hostile names made, and boxes that do not repeat what was typed.
    pub hostile: u32,
}

/// A part of the administration page in a language, a theme and a width.
#[derive(Debug, Deserialize)]
pub struct AdminPart {
    pub what: String,
    pub language: String,
    pub bars: Vec<Bar>,
    #[serde(flatten)]
    pub look: Look,
}

/// How much of a blob has arrived.
#[derive(Debug, Deserialize)]
pub struct Bar {
    pub part: f64,
    pub whole: f64,
    /// What a screen reader says of it.
    pub label: String,
    /// In pixels.
    pub width: f64,
}

/// A proxy with an administration page, a login that may purge there, and an image that it has.
pub struct AdminSite<'a> {
    pub base: &'a str,
    pub username: &'a str,
    pub password: &'a str,
    pub image: &'a str,
}

/// Reads the page at `base`, whose port is also reached at the host `named`, with this image in its box; then the
/// administration page of another proxy.
pub fn read(base: &str, named: &str, image: &str, admin: &AdminSite<'_>) -> Outcome<Seen> {
    let folder = tempfile::tempdir()?;
    let settings = folder.path().join("settings.json");
    let text = json!({
        "tools": path_in(TOOLS)?,
        "chromium": Tool::CHROMIUM.path()?,
        "base": base,
        "named": named,
        "image": image,
        "admin": {
            "base": admin.base,
            "username": admin.username,
            "password": admin.password,
            "image": admin.image,
        },
        "screenshots": env::var_os(SCREENSHOTS).map(PathBuf::from),
    });
    fs::write(&settings, text.to_string())?;
    let program = Program::at("node", &path_in(NODE)?)?.argument(DRIVE).argument(&settings);
    let output =
        program.variable("HOME", folder.path()).variable("TMPDIR", folder.path()).run(DEADLINE)?.success()?;
    serde_json::from_str(output.trim()).context(output)
}

fn path_in(variable: &str) -> Outcome<PathBuf> {
    let path = env::var_os(variable).map(PathBuf::from);
    path.context(format_args!(
        "{variable} is not set: run `cargo xtask test`, which installs what drives a browser"
    ))
}
