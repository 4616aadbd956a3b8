//! Cycles and layers of a graph of files.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Edges;

/// Groups of files that reach each other.
pub(super) fn find(edges: &Edges) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        edges.keys().map(|file| (file.as_str(), reachable(edges, file))).collect();
    let mut found: Vec<BTreeSet<String>> = Vec::new();
    for (file, others) in &reach {
        if others.contains(file) && !found.iter().any(|cycle| cycle.contains(*file)) {
            let cycle = others.iter().filter(|other| reach[**other].contains(file));
            found.push(cycle.map(|file| (*file).to_owned()).collect());
        }
    }
    found
}

/// All files to which imports lead from `file`.
fn reachable<'a>(edges: &'a Edges, file: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![file];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flat_map(BTreeMap::keys) {
            if seen.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    seen
}

/// How many files the longest way down leads through; files of a cycle count as one.
pub(super) fn layers(edges: &Edges) -> usize {
    let cycles = find(edges);
    let group = |file: &str| {
        cycles
            .iter()
            .find(|cycle| cycle.contains(file))
            .and_then(|cycle| cycle.first())
            .map_or(file, String::as_str)
            .to_owned()
    };
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, others) in edges {
        let from = below.entry(group(file)).or_default();
        from.extend(others.keys().map(|other| group(other)).filter(|other| *other != group(file)));
    }
    let mut depths = BTreeMap::new();
    below.keys().map(|file| depth(&below, file, &mut depths)).max().unwrap_or(0)
}

fn depth(below: &BTreeMap<String, BTreeSet<String>>, file: &str, known: &mut BTreeMap<String, usize>) -> usize {
    if let Some(depth) = known.get(file) {
        return *depth;
    }
    let deepest = below.get(file).into_iter().flatten().map(|other| depth(below, other, known)).max();
    let found = 1 + deepest.unwrap_or(0);
    known.insert(file.to_owned(), found);
    found
}
