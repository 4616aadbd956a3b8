//! The images of a compose file: `image` of each service that is not built. Variables have the values of the environment.
//!
//! What takes the rest of Compose (`.env`, `extends`, `include`, profiles) is left to it: it prints the same list.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use saphyr_parser::{Event, Parser};

/// Most bytes of a compose file.
const MAX_BYTES: u64 = 4 << 20;
/// Deepest nesting, that of aliases included.
const MAX_DEPTH: usize = 256;
/// Most mappings that are looked at for one key along merge keys (`<<`).
const MAX_MERGES: usize = 1000;
const INSTEAD: &str = "pipe it: docker compose config --images | registry-proxy warm -";

/// A value of the file. Whatever is named by an alias is there once.
#[derive(Debug)]
enum Node {
    Scalar(String),
    List(Vec<Rc<Node>>),
    Map(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    fn get(&self, name: &str) -> Option<&Rc<Self>> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| matches!(&**key, Self::Scalar(key) if key == name)).map(|(_, value)| value)
    }

    /// The same, also from what is merged into it (`<<: *base`), in up to `left` mappings.
    fn merged(&self, name: &str, left: &mut usize) -> Option<&Rc<Self>> {
        if let Some(own) = self.get(name) {
            return Some(own);
        }
        *left = left.checked_sub(1)?;
        let base = self.get("<<")?;
        match &**base {
            Self::List(bases) => bases.iter().find_map(|base| base.merged(name, left)),
            Self::Map(_) => base.merged(name, left),
            Self::Scalar(_) => None,
        }
    }
}

/// The images of a file.
pub(super) fn read(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let name = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| format!("{name}: {error}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{name} is larger than {MAX_BYTES} bytes"));
    }
    images(&text, variable).map_err(|what| format!("{name}: {what}"))
}

fn images(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
    let file = parse(text)?;
    if file.get("include").is_some() {
        return Err(format!("it includes other files; {INSTEAD}"));
    }
    let Some(Node::Map(services)) = file.get("services").map(|services| &**services) else {
        return Err("there is no mapping \"services\": this is no compose file".to_owned());
    };
    let mut images = Vec::new();
    for (name, service) in services {
        let Node::Scalar(name) = &**name else { continue };
        let has = |key: &str| {
            let mut left = MAX_MERGES;
            service.merged(key, &mut left)
        };
        match (has("image").map(|image| &**image), has("build"), has("extends")) {
            // What is built here is in no registry.
            (_, Some(_), _) => {}
            (Some(Node::Scalar(image)), None, _) => {
                let image = filled_in(image, variable).map_err(|what| format!("service {name}: {what}"))?;
                images.push(image);
            }
            (None, None, None) if name == "<<" => {}
            (None, None, Some(_)) => return Err(format!("service {name} extends another; {INSTEAD}")),
            (_, None, _) => return Err(format!("service {name} has no image")),
        }
    }
    Ok(images)
}

/// Replaces `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME-default}`; `$$` is a dollar sign.
fn filled_in(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let is_name = |byte: char| byte.is_ascii_alphanumeric() || byte == '_';
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            filled.push('$');
            rest = after;
            continue;
        }
        let (inner, after) = match after.strip_prefix('{').map(|inner| inner.split_once('}')) {
            Some(Some(inner)) => inner,
            Some(None) => return Err(format!("{text}: a brace is not closed")),
            None => after.split_at(after.find(|c| !is_name(c)).unwrap_or(after.len())),
        };
        rest = after;
        let (name, operator) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
        let value = variable(name);
        let value = match (operator.strip_prefix(":-"), operator.strip_prefix('-'), operator) {
            (Some(default), ..) => Some(value.filter(|value| !value.is_empty()).unwrap_or(default.to_owned())),
            (_, Some(default), _) => Some(value.unwrap_or(default.to_owned())),
            (.., "") => value,
            _ => return Err(format!("{text}: this form of a variable is not read here; {INSTEAD}")),
        };
        match value.filter(|_| !name.is_empty()) {
            Some(value) if !value.contains('$') => filled.push_str(&value),
            Some(_) => return Err(format!("{text}: a variable within a variable is not read here; {INSTEAD}")),
            None => return Err(format!("{text}: the variable {name} is not set; set it, or {INSTEAD}")),
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A value, and how deep it is.
type Nested = (Rc<Node>, usize);

/// A collection whose end has not come.
struct OpenNode {
    anchor: usize,
    is_map: bool,
    items: Vec<Nested>,
}

impl OpenNode {
    /// An error: it is too deep. Whoever drops it would go down as deep.
    fn close(self) -> Result<Nested, String> {
        let depth = self.items.iter().map(|(_, depth)| depth + 1).max().unwrap_or(1);
        if depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        let mut items = self.items.into_iter().map(|(node, _)| node);
        let node = if self.is_map {
            Node::Map(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
        } else {
            Node::List(items.collect())
        };
        Ok((Rc::new(node), depth))
    }
}

/// The first document of a text.
fn parse(text: &str) -> Result<Rc<Node>, String> {
    let mut open: Vec<OpenNode> = Vec::new();
    let mut anchors: HashMap<usize, Nested> = HashMap::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        let (anchor, nested) = match event {
            Event::MappingStart(anchor, _) | Event::SequenceStart(anchor, _) => {
                if open.len() == MAX_DEPTH {
                    return Err(format!("more than {MAX_DEPTH} levels"));
                }
                let is_map = matches!(event, Event::MappingStart(..));
                open.push(OpenNode { anchor, is_map, items: Vec::new() });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => match open.pop() {
                Some(node) => (node.anchor, node.close()?),
                None => continue,
            },
            Event::Scalar(value, _, anchor, _) => (anchor, (Rc::new(Node::Scalar(value.into_owned())), 0)),
            Event::Alias(anchor) => {
                (0, anchors.get(&anchor).cloned().ok_or("an alias names what has not ended yet")?)
            }
            Event::DocumentEnd
            | Event::DocumentStart(_)
            | Event::StreamStart
            | Event::StreamEnd
            | Event::Nothing => continue,
        };
        if anchor > 0 {
            anchors.insert(anchor, nested.clone());
        }
        match open.last_mut() {
            Some(around) => around.items.push(nested),
            None => return Ok(nested.0),
        }
    }
    Err("it is empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<String>, String> {
        images(text, &|name| match name {
            "TAG" => Some("1.2".to_owned()),
            "EMPTY" => Some(String::new()),
            "DOLLAR" => Some("$X".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn images_of_services_are_read_as_compose_reads_them() {
        for (text, expected) in [
            (
                "services:\n  web:\n    image: nginx:1\n  db:\n    image: 'postgres:16'\n",
                &["nginx:1", "postgres:16"][..],
            ),
            ("services: {a: {image: x, build: .}, b: {image: y}}", &["y"]),
            (
                "x-base: &base\n  image: app:1\nservices:\n  a:\n    <<: *base\n  b:\n    <<: [*base]\n    image: app:2\n",
                &["app:1", "app:2"],
            ),
            (
                "services:\n  a:\n    image: app:${TAG}\n  b:\n    image: app:$TAG-slim\n",
                &["app:1.2", "app:1.2-slim"],
            ),
            (
                "services:\n  a: {image: 'app:${NONE:-3}'}\n  b: {image: 'app:${EMPTY:-4}'}\n  c: {image: 'app:x${EMPTY-5}'}\n",
                &["app:3", "app:4", "app:x"],
            ),
            (
                "# c\n---\nname: p\nservices:\n  a:\n    image: >-\n      folded:1\n    environment: [image=no]\n    labels: {image: no}\n",
                &["folded:1"],
            ),
            ("services: {}", &[]),
        ] {
            assert_eq!(read_text(text), Ok(expected.iter().map(|&image| image.to_owned()).collect()), "{text}");
        }
    }

    #[test]
    fn what_this_does_not_read_is_refused_with_what_does() {
        let brackets = format!("services: {}{}", "[".repeat(300), "]".repeat(300));
        let deep = format!("services:\n{}x\n", "- ".repeat(300));
        let chain: Vec<String> = (1..100_000).map(|at| format!("a{at}: &a{at} [*a{}]\n", at - 1)).collect();
        let chain = format!("a0: &a0 x\n{}", chain.concat());
        let laughs: Vec<String> = (1..40).map(|at| format!("a{at}: &a{at} [*a{0}, *a{0}]\n", at - 1)).collect();
        let laughs = laughs.concat();
        let laughs = format!("a0: &a0 x\n{laughs}services: {{w: {{image: y}}}}\n");
        assert_eq!(read_text(&laughs), Ok(vec!["y".to_owned()]), "aliases take no room");
        for (text, part) in [
            ("", "empty"),
            ("services:\n- a\n", "no compose file"),
            ("version: '3'\n", "no compose file"),
            ("services: {a: {image: 'app:${NONE}'}}", "NONE is not set"),
            ("services: {a: {image: 'app:${NONE:?please}'}}", "docker compose config --images"),
            ("services: {a: {image: 'app:${NONE:-${TAG}}'}}", "docker compose config --images"),
            ("services: {a: {image: 'app:$DOLLAR'}}", "docker compose config --images"),
            ("services: {a: {image: 'app:${TAG'}}", "not closed"),
            ("services: {a: {extends: {service: b}}}", "docker compose config --images"),
            ("include: [b.yaml]\nservices: {}", "docker compose config --images"),
            ("services: {a: {command: x}}", "service a has no image"),
            ("services: {a: {image: [x]}}", "service a has no image"),
            ("services: &s {a: *s}", "alias"),
            // The parser itself reads at most 255 brackets.
            (&brackets, "recursion limit"),
            (&deep, "levels"),
            (&chain, "levels"),
            ("services: {a: {image: 'x", "line 1"),
        ] {
            let said = read_text(text).expect_err(part);
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
