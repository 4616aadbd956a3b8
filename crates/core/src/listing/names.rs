//! Puts the client's name of the repository into a list of tags, in place of the upstream's. Lists are long: only the name is
//! replaced, without parsing the list into a tree.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The part of a list of tags that is read.
#[derive(Deserialize)]
struct TagList<'a> {
    #[serde(borrow, default)]
    name: Option<&'a str>,
}

/// The list with another name; `None`: it already has that name.
///
/// # Errors
///
/// It is no JSON object.
pub(super) fn renamed(body: &[u8], name: &str) -> serde_json::Result<Option<Vec<u8>>> {
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match serde_json::from_slice::<TagList<'_>>(body) {
        Ok(TagList { name: Some(found) }) if is_object && found == name => Ok(None),
        Ok(TagList { name: Some(found) }) if is_object => Ok(Some(spliced(body, found, name))),
        // Without a name, with one that has escapes, or with several: seldom enough to be read as a whole.
        Ok(_) | Err(_) => {
            let mut list: Map<String, Value> = serde_json::from_slice(body)?;
            list.insert("name".to_owned(), name.into());
            serde_json::to_vec(&list).map(Some)
        }
    }
}

/// `found` is a part of `body`, between quotes.
fn spliced(body: &[u8], found: &str, name: &str) -> Vec<u8> {
    let first = (found.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let (before, rest) = body.split_at(first.min(body.len()));
    let after = rest.get(found.len()..).unwrap_or_default();
    // A name that a client can ask by has nothing that JSON escapes; one that has is written as it must be.
    let quoted = Value::from(name).to_string();
    let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
    [before, inside.as_bytes(), after].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_clients_name_and_all_else_as_it_was() {
        for (body, expected) in [
            (r#"{"name":"a/b","tags":["v1"]}"#, Some(r#"{"name":"reg/a/b","tags":["v1"]}"#)),
            (r#" {"tags": ["a/b"], "name" : "a/b" } "#, Some(r#" {"tags": ["a/b"], "name" : "reg/a/b" } "#)),
            (r#"{"name":"reg/a/b","tags":null}"#, None),
            (r#"{"name":"","x":1e400}"#, Some(r#"{"name":"reg/a/b","x":1e400}"#)),
            (r#"{"name":"a\/b","tags":[]}"#, Some(r#"{"name":"reg/a/b","tags":[]}"#)),
            (r#"{"tags":[]}"#, Some(r#"{"name":"reg/a/b","tags":[]}"#)),
            (r#"{"name":7}"#, Some(r#"{"name":"reg/a/b"}"#)),
            (r#"{"name":"x","name":"y"}"#, Some(r#"{"name":"reg/a/b"}"#)),
            ("{}", Some(r#"{"name":"reg/a/b"}"#)),
        ] {
            let renamed = renamed(body.as_bytes(), "reg/a/b").expect("a list");
            assert_eq!(renamed.map(|bytes| String::from_utf8(bytes).unwrap()).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn what_is_no_object_is_no_list() {
        for body in ["", "[]", r#"["a/b"]"#, r#""a/b""#, "7", "<html>", r#"{"name":"a/b""#, r#"{"name":"a/b"}}"#] {
            assert!(renamed(body.as_bytes(), "reg/a/b").is_err(), "{body}");
        }
    }
}
