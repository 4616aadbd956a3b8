//! How the source files of a crate depend on each other: no import cycle between files or modules, few layers, no file too
//! long, no type name used twice.
//!
//! An import is counted from the file that uses a name to the file that defines it, whatever re-exports lie between.
//! Tests are left out. Method calls and the contents of macros say no file, so they are not seen.

mod cycles;
mod imports;
mod modules;

use std::collections::BTreeMap;

use crate::run::workspace;
use modules::Crate;

/// Roots of the crates that are looked at.
const ROOTS: [&str; 3] = ["crates/core/src/lib.rs", "crates/server/src/main.rs", "crates/worker/src/lib.rs"];
/// How many lines a source file may have.
const MAX_LINES: usize = 400;
/// How many modules the longest way down through a crate may lead through.
const MAX_LAYERS: usize = 12;

pub(super) fn faults() -> Result<Vec<String>, String> {
    let mut faults = Vec::new();
    for root in ROOTS {
        let found = Crate::read(&workspace(), root)?;
        faults.extend(of(&found));
    }
    Ok(faults)
}

fn of(source: &Crate) -> Vec<String> {
    let edges = imports::between_files(source);
    let modules = imports::between_modules(&edges, &source.root);
    let layers = cycles::layers(&modules);
    eprintln!(
        "{}: {} files, {} imports between them; {} modules in {} layers",
        source.root,
        source.files.len(),
        edges.values().map(BTreeMap::len).sum::<usize>(),
        modules.len(),
        layers
    );
    let mut faults = Vec::new();
    for cycle in cycles::find(&modules) {
        faults.push(format!("modules use each other: {}", cycle.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if layers > MAX_LAYERS {
        faults.push(format!("{}: {layers} layers of modules; {MAX_LAYERS} are allowed", source.root));
    }
    for cycle in cycles::find(&edges) {
        faults.push(format!("{} files import each other in a cycle:", cycle.len()));
        for from in &cycle {
            for (to, names) in edges[from].iter().filter(|(to, _)| cycle.contains(*to)) {
                faults.push(format!("  {from} -> {to}: {}", names.iter().cloned().collect::<Vec<_>>().join(", ")));
            }
        }
    }
    for (file, lines) in source.files.iter().filter(|(_, lines)| **lines > MAX_LINES) {
        faults.push(format!("{file} has {lines} lines; {MAX_LINES} are allowed"));
    }
    for (name, files) in source.types.iter().filter(|(_, files)| files.len() > 1) {
        faults.push(format!("{} types are called {name}: {}", files.len(), files.join(", ")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    /// A crate in a folder of its own, which goes when the test ends.
    struct Sample(PathBuf);

    impl Sample {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-structure-{}-{name}", std::process::id()));
            for (path, text) in files {
                let file = folder.join("src").join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self(folder)
        }

        fn faults(&self) -> Vec<String> {
            of(&Crate::read(Path::new(&self.0), "src/lib.rs").unwrap())
        }
    }

    impl Drop for Sample {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn imports_that_only_go_down_pass() {
        let sample = Sample::new(
            "down",
            &[
                ("lib.rs", "mod top; mod leaf; pub use top::Top;"),
                ("top.rs", "mod part; use crate::leaf::Leaf; pub struct Top(Leaf, part::Half);"),
                ("top/part.rs", "use crate::leaf::*; pub struct Half(Leaf);"),
                ("leaf.rs", "pub struct Leaf; #[cfg(test)] mod tests { use crate::top::Top; struct Half; }"),
            ],
        );
        assert_eq!(sample.faults(), [""; 0]);
    }

    #[test]
    fn a_cycle_is_seen_through_reexports_aliases_and_paths_in_code() {
        let sample = Sample::new(
            "cycle",
            &[
                ("lib.rs", "mod a; mod b; pub use b::B as Other;"),
                ("a.rs", "use crate::Other; pub struct A(Other); pub fn make() {}"),
                ("b.rs", "use crate::a; pub struct B; fn f() { a::make() }"),
            ],
        );
        assert_eq!(
            sample.faults(),
            [
                "modules use each other: a, b",
                "2 files import each other in a cycle:",
                "  src/a.rs -> src/b.rs: B",
                "  src/b.rs -> src/a.rs: make"
            ]
        );
    }

    #[test]
    fn a_child_may_not_ask_the_parent_that_asks_it() {
        let sample = Sample::new(
            "parent",
            &[
                ("lib.rs", "mod a;"),
                ("a/mod.rs", "mod child; pub struct A(child::Child);"),
                ("a/child.rs", "use super::A; pub struct Child(Box<A>);"),
            ],
        );
        assert_eq!(sample.faults().len(), 3);
    }

    #[test]
    fn modules_that_use_each_other_through_different_files_are_named() {
        let sample = Sample::new(
            "modules",
            &[
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", "pub mod low; pub mod high;"),
                ("a/low.rs", "pub struct Low;"),
                ("a/high.rs", "use crate::b::B; pub struct High(B);"),
                ("b.rs", "use crate::a::low::Low; pub struct B(Low);"),
            ],
        );
        assert_eq!(sample.faults(), ["modules use each other: a, b"]);
    }

    #[test]
    fn a_way_down_through_too_many_modules_is_named() {
        let chain = |length: usize| {
            let root = (0..length).map(|n| format!("mod m{n};")).collect::<Vec<_>>().concat();
            let module = |n: usize| match n {
                0 => "pub struct T0;".to_owned(),
                n => format!("pub struct T{n}(crate::m{}::T{});", n - 1, n - 1),
            };
            let mut files = vec![("lib.rs".to_owned(), root)];
            files.extend((0..length).map(|n| (format!("m{n}.rs"), module(n))));
            let files: Vec<(&str, &str)> =
                files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            Sample::new(&format!("layers{length}"), &files).faults()
        };
        assert_eq!(chain(MAX_LAYERS), [""; 0]);
        assert_eq!(chain(MAX_LAYERS + 1), ["src/lib.rs: 13 layers of modules; 12 are allowed"]);
    }

    #[test]
    fn two_types_of_one_name_and_a_long_file_are_named() {
        let long = "//\n".repeat(MAX_LINES);
        let sample = Sample::new(
            "names",
            &[("lib.rs", "mod a; mod b;"), ("a.rs", "enum Kind {}"), ("b.rs", &format!("struct Kind;\n{long}"))],
        );
        assert_eq!(
            sample.faults(),
            ["src/b.rs has 401 lines; 400 are allowed", "2 types are called Kind: src/a.rs, src/b.rs"]
        );
    }
}
