//! Adds to a TOML file and leaves every other byte of it as it is: comments, order, line ends.
//!
//! Each change is tried as text, and counts only if the result reads as the old content with exactly that change.

use std::fmt::Write as _;

use toml::de::DeTable;
use toml::{Table, Value};

/// Why a file stays as it is.
pub(crate) type Refused = String;

/// Reads a file. An error names line and column.
pub(crate) fn parse(text: &str) -> Result<Table, Refused> {
    text.parse::<Table>().map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("line {line}, column {column}: {}", error.message())
    })
}

/// A name as it is written in a header: bare, or in quotes.
pub(crate) fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if is_bare { name.to_owned() } else { string(name) }
}

/// A text in quotes.
pub(crate) fn string(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// The header of a table.
pub(crate) fn header(path: &[&str]) -> String {
    let names: Vec<String> = path.iter().map(|name| key(name)).collect();
    format!("[{}]", names.join("."))
}

/// Sets a key of a table. The table is made where there is none.
pub(crate) fn set(text: &str, path: &[&str], name: &str, value: &Value) -> Result<String, Refused> {
    let mut expected = parse(text)?;
    let table = table_at(&mut expected, path)?;
    let before = table.insert(name.to_owned(), value.clone());
    if before.as_ref() == Some(value) {
        return Ok(text.to_owned());
    }
    let line = format!("{} = {value}\n", key(name));
    let mut candidates = Vec::new();
    if before.is_some() {
        let mut place = path.to_vec();
        place.push(name);
        candidates.extend(span(text, &place).and_then(|span| replaced(text, span, &value.to_string())));
    } else {
        candidates.extend(header_end(text, path).map(|at| inserted(text, at, &format!("  {line}"))));
        candidates.push(appended(text, &format!("{}\n  {line}", header(path))));
    }
    let by_hand = || format!("cannot be changed safely; set this by hand: {} {}", header(path), line.trim_end());
    candidates.into_iter().find(|made| parse(made).as_ref() == Ok(&expected)).ok_or_else(by_hand)
}

/// Puts `entry` before the others of a list.
pub(crate) fn put_first(text: &str, path: &[&str], name: &str, entry: &str) -> Result<String, Refused> {
    let mut expected = parse(text)?;
    match table_at(&mut expected, path)?.get_mut(name) {
        None => return set(text, path, name, &Value::Array(vec![entry.into()])),
        Some(Value::Array(list)) if list.iter().any(|item| item.as_str() == Some(entry)) => {
            return Ok(text.to_owned());
        }
        Some(Value::Array(list)) => list.insert(0, entry.into()),
        Some(_) => return Err(format!("{} {name} is no list", header(path))),
    }
    let mut place = path.to_vec();
    place.push(name);
    let made = span(text, &place).map(|span| {
        let inside = text.get(span.start + 1..span.end).unwrap_or_default();
        let is_empty = inside.trim_start().starts_with(']');
        inserted(text, span.start + 1, &if is_empty { string(entry) } else { format!("{}, ", string(entry)) })
    });
    made.filter(|made| parse(made).as_ref() == Ok(&expected)).ok_or_else(|| {
        format!("cannot be changed safely; add {} to {} {name} by hand", string(entry), header(path))
    })
}

/// Adds a table, with text of its own, before the first table of the same parent: their order counts.
pub(crate) fn add_before_siblings(text: &str, path: &[&str], lines: &str) -> Result<String, Refused> {
    let mut expected = parse(text)?;
    let block = format!("{}\n{lines}", header(path));
    let (parents, name) = match path.split_last() {
        Some((name, parents)) => (parents, *name),
        None => return Err("names no table".to_owned()),
    };
    let mut of_block = parse(&block)?;
    let wanted = table_at(&mut of_block, path)?.clone();
    let siblings = table_at(&mut expected, parents)?;
    match siblings.get(name) {
        Some(Value::Table(present)) if *present == wanted => return Ok(text.to_owned()),
        Some(_) => return Err(format!("has {} already, with other content; make it:\n{block}", header(path))),
        None => siblings.insert(name.to_owned(), Value::Table(wanted)),
    };
    let sibling = headers(text)
        .find(|(_, _, names)| names.len() > parents.len() && names.starts_with(parents_of(parents).as_slice()));
    let before = sibling.map(|(start, ..)| inserted(text, above_comments(text, start), &format!("{block}\n")));
    let mut candidates = before.into_iter().chain([appended(text, &block)]);
    candidates
        .find(|made| parse(made).as_ref() == Ok(&expected))
        .ok_or_else(|| format!("cannot be changed safely; add this by hand:\n{block}"))
}

fn parents_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The table at this path, made where there is none.
fn table_at<'a>(table: &'a mut Table, path: &[&str]) -> Result<&'a mut Table, Refused> {
    let mut place = table;
    for name in path {
        let entry = place.entry((*name).to_owned()).or_insert_with(|| Value::Table(Table::new()));
        place = entry.as_table_mut().ok_or_else(|| format!("{name} is no table"))?;
    }
    Ok(place)
}

/// Where a value stands.
fn span(text: &str, path: &[&str]) -> Option<std::ops::Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let (last, tables) = path.split_last()?;
    let mut place = document.get_ref();
    for name in tables {
        place = place.get(*name)?.get_ref().as_table()?;
    }
    Some(place.get(*last)?.span())
}

fn replaced(text: &str, span: std::ops::Range<usize>, by: &str) -> Option<String> {
    Some(format!("{}{by}{}", text.get(..span.start)?, text.get(span.end..)?))
}

/// With the file's own line ends.
fn inserted(text: &str, at: usize, what: &str) -> String {
    let what = if text.contains("\r\n") { what.replace('\n', "\r\n") } else { what.to_owned() };
    let (before, behind) = text.split_at_checked(at).unwrap_or((text, ""));
    format!("{before}{what}{behind}")
}

fn appended(text: &str, what: &str) -> String {
    let mut gap = String::new();
    if !text.is_empty() {
        let _ = write!(gap, "{}", if text.ends_with('\n') { "\n" } else { "\n\n" });
    }
    inserted(text, text.len(), &format!("{gap}{what}"))
}

/// Each line that is the header of a table: where it begins and ends, and its names.
fn headers(text: &str) -> impl Iterator<Item = (usize, usize, Vec<String>)> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let (begin, end) = (start, start + line.len());
        start = end;
        if !line.trim_start().starts_with('[') || line.trim_start().starts_with("[[") {
            return None;
        }
        let mut names = Vec::new();
        let mut place = line.parse::<Table>().ok()?;
        while let Some((name, Value::Table(inner))) = place.into_iter().next() {
            names.push(name);
            place = inner;
        }
        Some((begin, end, names))
    })
}

/// Where the lines of a table begin.
fn header_end(text: &str, path: &[&str]) -> Option<usize> {
    let (_, end, _) = headers(text).find(|(_, _, names)| names == path)?;
    text.get(..end)?.ends_with('\n').then_some(end)
}

/// Where the comments above a header begin, so that they stay with it.
fn above_comments(text: &str, header: usize) -> usize {
    let mut at = header;
    while let Some(before) = text.get(..at).and_then(|before| before.strip_suffix('\n')) {
        let line = before.rsplit('\n').next().unwrap_or_default();
        if !line.trim_start().starts_with('#') {
            break;
        }
        at = before.len() - line.len();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTRY: [&str; 3] = ["plugins", "io.containerd.grpc.v1.cri", "registry"];

    fn path() -> Value {
        Value::from("/etc/containerd/certs.d")
    }

    #[test]
    fn a_key_is_set_and_comments_order_and_line_ends_stay() {
        for (before, after) in [
            (
                "",
                "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
            ),
            (
                "version = 2 # two\n[plugins]\n  [plugins.'io.containerd.grpc.v1.cri'] # ours\n    z = 1\n    a = 2",
                "version = 2 # two\n[plugins]\n  [plugins.'io.containerd.grpc.v1.cri'] # ours\n    z = 1\n    a = 2\n\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
            ),
            (
                "[plugins.\"io.containerd.grpc.v1.cri\".registry]\r\n  # empty\r\n\r\n[other]\r\n",
                "[plugins.\"io.containerd.grpc.v1.cri\".registry]\r\n  config_path = \"/etc/containerd/certs.d\"\r\n  # empty\r\n\r\n[other]\r\n",
            ),
            (
                "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"\" # none\n",
                "[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\" # none\n",
            ),
            (
                "plugins.\"io.containerd.grpc.v1.cri\".registry = { config_path = '' } # inline\n",
                "plugins.\"io.containerd.grpc.v1.cri\".registry = { config_path = \"/etc/containerd/certs.d\" } # inline\n",
            ),
        ] {
            let made = set(before, &REGISTRY, "config_path", &path()).unwrap();
            assert_eq!(made, after);
            assert_eq!(set(&made, &REGISTRY, "config_path", &path()).unwrap(), made, "twice is once");
        }
    }

    #[test]
    fn what_looks_like_a_header_within_a_text_is_none() {
        let before = "a = '''\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n'''\n";
        let made = set(before, &REGISTRY, "config_path", &path()).unwrap();
        assert!(made.starts_with(before), "{made}");
    }

    #[test]
    fn an_entry_goes_before_the_others_of_its_list() {
        let path = ["registry", "docker.io"];
        for (before, after) in [
            (
                "[registry.\"docker.io\"]\nmirrors = [ 'a' ] # mine\n",
                "[registry.\"docker.io\"]\nmirrors = [\"p\",  'a' ] # mine\n",
            ),
            ("[registry.\"docker.io\"]\nmirrors = []\n", "[registry.\"docker.io\"]\nmirrors = [\"p\"]\n"),
            (
                "[registry.\"docker.io\"]\nhttp = true\n",
                "[registry.\"docker.io\"]\n  mirrors = [\"p\"]\nhttp = true\n",
            ),
            ("debug = true\n", "debug = true\n\n[registry.\"docker.io\"]\n  mirrors = [\"p\"]\n"),
        ] {
            let made = put_first(before, &path, "mirrors", "p").unwrap();
            assert_eq!(made, after);
            assert_eq!(put_first(&made, &path, "mirrors", "p").unwrap(), made, "twice is once");
        }
        assert!(put_first("[registry.\"docker.io\"]\nmirrors = 'a'\n", &path, "mirrors", "p").is_err());
    }

    #[test]
    fn a_table_goes_before_its_siblings_and_their_comments() {
        let before = "# of the site\nserver = 'https://ghcr.io'\n\n# the old mirror\n[host.'https://old.test']\n";
        let made =
            add_before_siblings(before, &["host", "https://p.test"], "  capabilities = [\"pull\"]\n").unwrap();
        assert_eq!(
            made,
            "# of the site\nserver = 'https://ghcr.io'\n\n[host.\"https://p.test\"]\n  capabilities = [\"pull\"]\n\n\
             # the old mirror\n[host.'https://old.test']\n"
        );
        let again =
            add_before_siblings(&made, &["host", "https://p.test"], "  capabilities = [\"pull\"]\n").unwrap();
        assert_eq!(again, made);
        let other = add_before_siblings(&made, &["host", "https://p.test"], "  capabilities = []\n").unwrap_err();
        assert!(other.contains("with other content"), "{other}");
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place_and_what_is_no_table_by_its_name() {
        let error = set("a = 1\nb = \n", &REGISTRY, "config_path", &path()).unwrap_err();
        assert!(error.starts_with("line 2, column "), "{error}");
        let error = set("plugins = 1\n", &REGISTRY, "config_path", &path()).unwrap_err();
        assert!(error.contains("plugins is no table"), "{error}");
    }
}
