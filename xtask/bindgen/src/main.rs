//! Writes the JavaScript that goes with a compiled Worker: what the command `wasm-bindgen` does, as a part of this
//! workspace, so that its version is always the one the Worker was compiled with, and nobody installs anything.
//!
//! A crate of its own because it depends on much, and `xtask` is to be built quickly.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, folder] = arguments.as_slice() else {
        eprintln!("Usage: xtask-bindgen <compiled.wasm> <folder>");
        return ExitCode::FAILURE;
    };
    match generate(wasm, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask-bindgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(wasm: &str, folder: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut bindgen = Bindgen::new();
    // A module that is told its wasm: on Workers that is compiled beforehand, and never fetched.
    bindgen.input_path(wasm).web(true)?.omit_default_module_path(true).typescript(false);
    bindgen.out_name("core").reset_state_function(true).remove_name_section(true).remove_producers_section(true);
    bindgen.generate(folder)?;
    flatten(Path::new(folder))
}

/// Puts `native.js` beside `core.js`, where `entry.js` finds it, too: generated, it lies below a name with a hash in it.
fn flatten(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let snippets = folder.join("snippets");
    let core = folder.join("core.js");
    let mut text = fs::read_to_string(&core)?;
    for snippet in fs::read_dir(&snippets)? {
        let snippet = snippet?;
        let name = snippet.file_name().into_string().map_err(|_| "a snippet without a name")?;
        fs::copy(snippet.path().join("src/native.js"), folder.join("native.js"))?;
        // Only where it is loaded from: the wasm knows it by the long name.
        for quote in ['\'', '"'] {
            text = text.replace(
                &format!("from {quote}./snippets/{name}/src/native.js"),
                &format!("from {quote}./native.js"),
            );
        }
    }
    if text.contains("from './snippets/") || text.contains("from \"./snippets/") {
        return Err("core.js wants more than native.js; xtask/bindgen must learn of it".into());
    }
    fs::write(core, once(&text))?;
    Ok(fs::remove_dir_all(snippets)?)
}

/// The same module stands among the wasm's imports once for each block of Rust that names it; bundlers warn of that.
fn once(text: &str) -> String {
    let mut seen = false;
    let is_first = |line: &&str| {
        let is_entry = line.trim_start().starts_with("\"./snippets/");
        !is_entry || !std::mem::replace(&mut seen, true)
    };
    text.lines().filter(is_first).collect::<Vec<_>>().join("\n")
}
