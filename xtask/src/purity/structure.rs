//! How the source files of a crate depend on each other: no import cycle, no file too long, no type name used twice.
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
    eprintln!(
        "{}: {} files, {} imports between them; {} modules in {} layers",
        source.root,
        source.files.len(),
        edges.values().map(BTreeMap::len).sum::<usize>(),
        modules.len(),
        cycles::layers(&modules)
    );
    for cycle in cycles::find(&modules) {
        eprintln!("  modules that use each other: {}", cycle.into_iter().collect::<Vec<_>>().join(", "));
    }
    let mut faults = Vec::new();
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
            ["2 files import each other in a cycle:", "  src/a.rs -> src/b.rs: B", "  src/b.rs -> src/a.rs: make"]
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
