//! Which file uses names of which other file.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::modules::Crate;

/// For each file the files whose names it uses, and the names.
pub(super) type Edges = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

pub(super) fn between_files(source: &Crate) -> Edges {
    let mut edges: Edges = source.files.keys().map(|file| (file.clone(), BTreeMap::new())).collect();
    for (path, module) in &source.modules {
        let mut seen = Paths::default();
        module.items.iter().for_each(|item| seen.visit_item(item));
        let from = edges.entry(module.file.clone()).or_default();
        for used in seen.0.into_iter().chain(module.imports.iter().cloned()) {
            if let Some((file, name)) = source.resolve(path, &used)
                && file != module.file
            {
                from.entry(file.to_owned()).or_default().insert(name);
            }
        }
    }
    edges
}

/// The same for the modules directly below the root: for each the modules whose names it uses.
pub(super) fn between_modules(edges: &Edges, root: &str) -> Edges {
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    let module = |file: &str| {
        let below = file.strip_prefix(folder).unwrap_or(file).trim_start_matches('/');
        below.split('/').next().unwrap_or(below).trim_end_matches(".rs").to_owned()
    };
    let mut modules = Edges::new();
    for (from, others) in edges {
        let below = modules.entry(module(from)).or_default();
        for (to, names) in others.iter().filter(|(to, _)| module(to) != module(from)) {
            below.entry(module(to)).or_default().extend(names.iter().cloned());
        }
    }
    modules
}

/// All paths in the code of an item.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }
}
