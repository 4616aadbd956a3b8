//! Adds to a JSON file and leaves every other byte of it as it is.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;

/// The text with `entry` in the list `key` of its object, before the others.
pub(crate) fn with_first_in_list(text: &str, key: &str, entry: &str) -> Result<String, String> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (mark, json) = text.split_at(bom);
    let quoted = Value::from(entry).to_string();
    if json.trim().is_empty() {
        return Ok(format!("{mark}{{\n  \"{key}\": [{quoted}]\n}}\n"));
    }
    let mut expected: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let Some(object) = expected.as_object_mut() else {
        return Err("line 1: expected an object: {…}".to_owned());
    };
    match object.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(list) if list.iter().any(|item| item == entry) => return Ok(text.to_owned()),
        Value::Array(list) => list.insert(0, entry.into()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            return Err(format!("\"{key}\" is no list; make it [] or remove it"));
        }
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let (at, inserted) = match fields.get(key) {
        Some(list) => into_list(json, list.get(), &quoted),
        None => as_last_field(json, &fields, &format!("\"{key}\": [{quoted}]")),
    };
    let made = put(json, at..at, &inserted);
    confirmed(mark, &made, &expected)
        .ok_or_else(|| format!("cannot be changed safely; add {quoted} to \"{key}\" by hand"))
}

/// The text with the field `name` of the object `key` set to the text `value`. Both may be new.
#[cfg(feature = "logins")]
pub(crate) fn with_field_in_object(text: &str, key: &str, name: &str, value: &str) -> Result<String, String> {
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let (mark, json) = text.split_at(bom);
    let (quoted_name, quoted) = (Value::from(name).to_string(), Value::from(value).to_string());
    let field = format!("{quoted_name}: {quoted}");
    if json.trim().is_empty() {
        return Ok(format!("{mark}{{\n  \"{key}\": {{ {field} }}\n}}\n"));
    }
    let mut expected: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let Some(object) = expected.as_object_mut() else {
        return Err("line 1: expected an object: {…}".to_owned());
    };
    let inner = object.entry(key).or_insert_with(|| Value::Object(serde_json::Map::new()));
    let Some(inner) = inner.as_object_mut() else {
        return Err(format!("\"{key}\" is no object; make it {{}} or remove it"));
    };
    if inner.insert(name.to_owned(), value.into()).is_some_and(|before| before == value) {
        return Ok(text.to_owned());
    }
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let (range, inserted) = match fields.get(key) {
        None => {
            let (at, inserted) = as_last_field(json, &fields, &format!("\"{key}\": {{ {field} }}"));
            (at..at, inserted)
        }
        Some(object) => {
            let within: BTreeMap<String, &RawValue> =
                serde_json::from_str(object.get()).map_err(|error| error.to_string())?;
            let start = offset(json, object.get());
            if let Some(before) = within.get(name) {
                let at = offset(json, before.get());
                (at..at + before.get().len(), quoted)
            } else {
                let (at, inserted) = as_last_field(object.get(), &within, &field);
                (start + at..start + at, inserted)
            }
        }
    };
    let made = put(json, range, &inserted);
    confirmed(mark, &made, &expected)
        .ok_or_else(|| format!("cannot be changed safely; add {field} to \"{key}\" by hand"))
}

/// The text with this in place of a part of it.
fn put(json: &str, range: Range<usize>, inserted: &str) -> String {
    let (before, behind) = (json.get(..range.start).unwrap_or(json), json.get(range.end..).unwrap_or_default());
    format!("{before}{inserted}{behind}")
}

/// The text, if it says what it should. Whatever the file looked like: nothing else has changed.
fn confirmed(mark: &str, made: &str, expected: &Value) -> Option<String> {
    let is_right = serde_json::from_str::<Value>(made).is_ok_and(|value| value == *expected);
    is_right.then(|| format!("{mark}{made}"))
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

fn leading_space(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_whitespace()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Behind the list's bracket, indented as its first entry is.
fn into_list(json: &str, list: &str, quoted: &str) -> (usize, String) {
    let inside = list.get(1..).unwrap_or_default();
    let space = leading_space(inside);
    let inserted = match (inside.trim_start().starts_with(']'), space) {
        (true, _) => quoted.to_owned(),
        (false, "") => format!("{quoted}, "),
        (false, space) => format!("{space}{quoted},"),
    };
    (offset(json, list) + 1, inserted)
}

/// Behind the last field, indented as the first one is.
fn as_last_field(json: &str, fields: &BTreeMap<String, &RawValue>, field: &str) -> (usize, String) {
    let inside = json.find('{').map_or(0, |brace| brace + 1);
    let end = fields.values().map(|value| offset(json, value.get()) + value.get().len()).max();
    match end {
        None => (inside, format!("\n  {field}\n")),
        Some(end) => {
            let space = leading_space(json.get(inside..).unwrap_or_default());
            let space = if space.is_empty() { " " } else { space };
            (end, format!(",{space}{field}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "registry-mirrors";

    #[test]
    fn an_entry_is_added_and_everything_else_stays_where_it_stood() {
        for (before, after) in [
            ("", "{\n  \"registry-mirrors\": [\"http://p\"]\n}\n"),
            (" \n", "{\n  \"registry-mirrors\": [\"http://p\"]\n}\n"),
            ("{}", "{\n  \"registry-mirrors\": [\"http://p\"]\n}"),
            ("{\"z\":1,\"a\":{\"b\":[]}}\n", "{\"z\":1,\"a\":{\"b\":[]}, \"registry-mirrors\": [\"http://p\"]}\n"),
            (
                "{\r\n\t\"debug\": true\r\n}\r\n",
                "{\r\n\t\"debug\": true,\r\n\t\"registry-mirrors\": [\"http://p\"]\r\n}\r\n",
            ),
            ("{\"registry-mirrors\": []}", "{\"registry-mirrors\": [\"http://p\"]}"),
            ("{\"registry-mirrors\":[\"http://q\"]}", "{\"registry-mirrors\":[\"http://p\", \"http://q\"]}"),
            (
                "{\n  \"registry-mirrors\": [\n    \"http://q\"\n  ],\n  \"x\": 1e3\n}",
                "{\n  \"registry-mirrors\": [\n    \"http://p\",\n    \"http://q\"\n  ],\n  \"x\": 1e3\n}",
            ),
            ("\u{feff}{\"a\": 1}", "\u{feff}{\"a\": 1, \"registry-mirrors\": [\"http://p\"]}"),
        ] {
            let made = with_first_in_list(before, KEY, "http://p").unwrap();
            assert_eq!(made, after);
            assert_eq!(with_first_in_list(&made, KEY, "http://p").unwrap(), made, "twice is once");
        }
    }

    #[test]
    fn what_cannot_be_changed_is_refused_with_its_place() {
        for (text, says) in [
            ("{\"a\": 1,}", "line 1 column 9"),
            ("{\n  // a comment\n}", "line 2 column 3"),
            ("[]", "expected an object"),
            ("{\"registry-mirrors\": \"http://q\"}", "is no list"),
            ("{\"registry-mirrors\": null}", "is no list"),
            ("{\"a\": 1} {}", "trailing"),
            // The same key twice: which one counts, no two readers agree.
            ("{\"registry-mirrors\": [], \"registry-mirrors\": [\"http://q\"], \"a\": {}}", ""),
        ] {
            match with_first_in_list(text, KEY, "http://p") {
                Err(error) => assert!(error.contains(says), "{text}: {error}"),
                Ok(made) => {
                    let value: Value = serde_json::from_str(&made).unwrap();
                    assert_eq!(value[KEY][0], "http://p", "{made}");
                }
            }
        }
    }

    #[cfg(feature = "logins")]
    #[test]
    fn a_field_of_an_object_is_set_and_everything_else_stays_where_it_stood() {
        for (before, after) in [
            ("", "{\n  \"credHelpers\": { \"p.test\": \"rp\" }\n}\n"),
            ("{}", "{\n  \"credHelpers\": { \"p.test\": \"rp\" }\n}"),
            ("{\n\t\"auths\": {}\n}\n", "{\n\t\"auths\": {},\n\t\"credHelpers\": { \"p.test\": \"rp\" }\n}\n"),
            (
                "{\"credHelpers\": {\n    \"a.test\": \"x\"\n  }, \"z\": 1e3}",
                "{\"credHelpers\": {\n    \"a.test\": \"x\",\n    \"p.test\": \"rp\"\n  }, \"z\": 1e3}",
            ),
            (
                "{\"credHelpers\": {\"p.test\": \"other\", \"a\": \"b\"}}",
                "{\"credHelpers\": {\"p.test\": \"rp\", \"a\": \"b\"}}",
            ),
            ("\u{feff}{\"credHelpers\":{}}", "\u{feff}{\"credHelpers\":{\n  \"p.test\": \"rp\"\n}}"),
        ] {
            let made = with_field_in_object(before, "credHelpers", "p.test", "rp").unwrap();
            assert_eq!(made, after);
            assert_eq!(with_field_in_object(&made, "credHelpers", "p.test", "rp").unwrap(), made, "twice is once");
        }
        for (text, says) in [
            ("{\"a\": 1,}", "line 1 column 9"),
            ("[]", "expected an object"),
            ("{\"credHelpers\": []}", "is no object"),
        ] {
            let refused = with_field_in_object(text, "credHelpers", "p.test", "rp").unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }
}
