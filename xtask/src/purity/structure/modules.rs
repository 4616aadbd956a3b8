//! The modules of a crate: which file each is in, which names each defines or imports.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemUse, Meta, UseTree, Visibility};

/// A path of names, from the root of the crate.
pub(super) type ModulePath = Vec<String>;

/// What a name of a module stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Binding {
    /// A module below this one.
    Module,
    /// An item defined in the module itself.
    Item,
    /// Another path, as a `use` gives it.
    Use(Vec<String>),
}

#[derive(Default)]
pub(super) struct Module {
    pub(super) file: String,
    pub(super) names: HashMap<String, Binding>,
    /// Paths of `use …::*`.
    pub(super) globs: Vec<Vec<String>>,
    /// Private imports: paths, without re-exports.
    pub(super) imports: Vec<Vec<String>>,
    pub(super) items: Vec<Item>,
}

pub(super) struct Crate {
    pub(super) root: String,
    pub(super) modules: BTreeMap<ModulePath, Module>,
    /// Lines of each file.
    pub(super) files: BTreeMap<String, usize>,
    /// Files in which types of a name are defined.
    pub(super) types: BTreeMap<String, Vec<String>>,
}

impl Crate {
    pub(super) fn read(workspace: &Path, root: &str) -> Result<Self, String> {
        let mut found = Self {
            root: root.to_owned(),
            modules: BTreeMap::new(),
            files: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        let file = workspace.join(root);
        let folder = file.parent().ok_or("a root without a folder")?.to_owned();
        found.file(workspace, Vec::new(), &file, &folder)?;
        Ok(found)
    }

    /// Reads the file of module `path`, whose child modules lie in `folder`.
    fn file(&mut self, workspace: &Path, path: ModulePath, file: &Path, folder: &Path) -> Result<(), String> {
        let failed = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let parsed = syn::parse_file(&text).map_err(|error| failed(error.to_string()))?;
        let name = file.strip_prefix(workspace).unwrap_or(file).display().to_string();
        self.files.insert(name.clone(), text.lines().count());
        self.module(workspace, path, name, folder, parsed.items)
    }

    fn module(
        &mut self,
        workspace: &Path,
        path: ModulePath,
        file: String,
        folder: &Path,
        items: Vec<Item>,
    ) -> Result<(), String> {
        let mut module = Module { file, ..Module::default() };
        for item in items {
            if is_test(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(child) => {
                    let name = child.ident.to_string();
                    module.names.insert(name.clone(), Binding::Module);
                    let path: ModulePath = path.iter().cloned().chain([name.clone()]).collect();
                    let below = folder.join(&name);
                    if let Some((_, items)) = child.content {
                        self.module(workspace, path, module.file.clone(), &below, items)?;
                    } else {
                        self.file(workspace, path, &child_file(folder, &name), &below)?;
                    }
                }
                Item::Use(item) => module.import(&item),
                other => {
                    if let Some((name, is_type)) = defined(&other) {
                        if is_type {
                            self.types.entry(name.clone()).or_default().push(module.file.clone());
                        }
                        module.names.insert(name, Binding::Item);
                    }
                    module.items.push(other);
                }
            }
        }
        self.modules.insert(path, module);
        Ok(())
    }

    /// The file that defines what `path` says in module `at`, and under which name; `None`: it is of another crate.
    pub(super) fn resolve(&self, at: &[String], path: &[String]) -> Option<(&str, String)> {
        self.follow(at, path, 0)
    }

    fn follow(&self, at: &[String], path: &[String], depth: usize) -> Option<(&str, String)> {
        // A re-export of a re-export is followed; a circle of them is an error that the compiler reports.
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        let mut module = at.to_vec();
        match first.as_str() {
            "crate" => return self.follow(&[], rest, depth + 1),
            "self" if !rest.is_empty() => return self.follow(at, rest, depth + 1),
            "super" => {
                module.pop()?;
                return self.follow(&module, rest, depth + 1);
            }
            _ => {}
        }
        let scope = self.modules.get(at)?;
        match scope.names.get(first) {
            Some(Binding::Module) if rest.is_empty() => None,
            Some(Binding::Module) => {
                module.push(first.clone());
                self.follow(&module, rest, depth + 1)
            }
            Some(Binding::Item) => Some((&scope.file, first.clone())),
            Some(Binding::Use(target)) => {
                let target: Vec<String> = target.iter().chain(rest).cloned().collect();
                // `use x;` and a path of another crate both begin with a name that is not ours.
                if target.first() == Some(first) && target.len() == path.len() {
                    None
                } else {
                    self.follow(at, &target, depth + 1)
                }
            }
            None => scope.globs.iter().find_map(|glob| {
                let target: Vec<String> = glob.iter().chain(path).cloned().collect();
                self.follow(at, &target, depth + 1)
            }),
        }
    }
}

impl Module {
    fn import(&mut self, item: &ItemUse) {
        let is_private = matches!(item.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        for (name, path) in leaves {
            match name {
                Some(name) => {
                    if is_private {
                        self.imports.push(path.clone());
                    }
                    self.names.insert(name, Binding::Use(path));
                }
                None => self.globs.push(path),
            }
        }
    }
}

/// The names that a `use` brings, each with its path; a glob has none.
fn flatten(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<(Option<String>, Vec<String>)>) {
    let with = |before: &[String], name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => leaves.push((before.last().cloned(), before.clone())),
        UseTree::Name(name) => {
            leaves.push((Some(name.ident.to_string()), with(before, name.ident.to_string())));
        }
        UseTree::Rename(rename) => {
            let path =
                if rename.ident == "self" { before.clone() } else { with(before, rename.ident.to_string()) };
            leaves.push((Some(rename.rename.to_string()), path));
        }
        UseTree::Glob(_) => leaves.push((None, before.clone())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before, leaves)),
    }
}

fn child_file(folder: &Path, name: &str) -> PathBuf {
    let flat = folder.join(format!("{name}.rs"));
    if flat.exists() { flat } else { folder.join(name).join("mod.rs") }
}

/// The name that an item defines, and whether it is a type.
fn defined(item: &Item) -> Option<(String, bool)> {
    Some(match item {
        Item::Struct(item) => (item.ident.to_string(), true),
        Item::Enum(item) => (item.ident.to_string(), true),
        Item::Trait(item) => (item.ident.to_string(), true),
        Item::Union(item) => (item.ident.to_string(), true),
        Item::Type(item) => (item.ident.to_string(), true),
        Item::Fn(item) => (item.sig.ident.to_string(), false),
        Item::Const(item) => (item.ident.to_string(), false),
        Item::Static(item) => (item.ident.to_string(), false),
        _ => return None,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is there in tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if attribute.path().is_ident("cfg") => {
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test") || condition == "feature = \"testing\""
        }
        Meta::List(_) | Meta::Path(_) | Meta::NameValue(_) => false,
    })
}
