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
