//! Every key, its default and its meaning, made from the structures of the configuration and their comments:
//! `docs/reference/configuration.md` for people, `docs/reference/registry-proxy.schema.json` for editors.

use std::fmt::Write as _;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform as _};
use serde_json::Value;

use super::Config;
use super::renamed::{NEW, OLD};

/// What precedes the default in a comment, if it is no value.
const DEFAULT: &str = "\n\nDefault: ";
/// Where the schema keeps the order of a table's keys while the page is made.
const ORDER: &str = "x-order";
/// The lists whose entries are described key by key.
const DESCRIBED_LISTS: [&str; 5] = ["access", "clients.issuer", "events", "upstream", "warm"];

/// A key of the configuration.
#[derive(Debug)]
pub struct DocumentedKey {
    /// Its path; `[]` stands for each entry of a list.
    pub path: String,
    /// What it is without being set.
    pub default: String,
    /// What it does.
    pub meaning: String,
}

/// `docs/reference/configuration.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Made from the code by `cargo xtask docs`; do not edit.\n\n\
         A TOML file (`--config FILE` or `REGISTRY_PROXY_CONFIG`); environment variables override it: `clients.auth` is\n\
         `REGISTRY_PROXY_CLIENTS__AUTH`. Lists are written as in TOML: `REGISTRY_PROXY_TRUSTED_PROXIES=['10.0.0.0/8']`.\n\
         `registry-proxy check` prints the effective values. Durations are `250ms`, `3s`, `5m`, `1h`; sizes `4096`, `64KiB`,\n\
         `4MiB`.\n\n\
         An editor that knows TOML (Taplo, Even Better TOML) completes and checks the file by its\n\
         [JSON Schema](registry-proxy.schema.json). Save the schema beside the file, and begin the file with\n\
         `#:schema ./registry-proxy.schema.json`.\n\n\
         | key | default | meaning |\n|---|---|---|\n",
    );
    for key in keys() {
        // A line to a key; writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {} | {} |", key.path, key.default, key.meaning);
    }
    page
}

/// `docs/reference/registry-proxy.schema.json`: a JSON Schema of draft 7, which all editors know.
pub fn json_schema() -> String {
    let mut schema = described();
    RecursiveTransform(|schema: &mut Schema| {
        schema.remove(ORDER);
    })
    .transform(&mut schema);
    add_old_name(&mut schema);
    schema.insert("title".into(), "Configuration of registry-proxy".into());
    schema.insert("description".into(), "Every key: docs/reference/configuration.md.".into());
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

/// An editor shows that the old name of a section is accepted, and strikes it through.
fn add_old_name(schema: &mut Schema) {
    let Some(Value::Object(sections)) = schema.get_mut("properties") else { return };
    let Some(mut section) = sections.get(NEW).cloned() else { return };
    if let Some(section) = section.as_object_mut() {
        section.insert("description".into(), format!("Old name of `{NEW}`.").into());
        section.insert("deprecated".into(), true.into());
    }
    sections.insert(OLD.into(), section);
}

/// All keys, in the order in which a person meets them.
pub fn keys() -> Vec<DocumentedKey> {
    let mut keys = Vec::new();
    walk("", described().as_value(), &mut keys);
    keys
}

/// The schema of all tables in one another, without references.
fn described() -> Schema {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.with_transform(RecursiveTransform(plain)).into_generator().into_root_schema_for::<Config>()
}

/// What TOML and editors can use of a schema.
fn plain(schema: &mut Schema) {
    match schema.get("format").and_then(Value::as_str) {
        // All addresses of the configuration are of this kind.
        Some("uri") => {
            schema.insert("pattern".into(), "^https?://".into());
        }
        // Sizes of Rust's integers.
        Some(_) => {
            schema.remove("format");
        }
        None => {}
    }
    // TOML has no null: a key that is not set is not there.
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            schema.insert("type".into(), one);
        }
    }
    // The defaults of a table are those of its keys.
    if schema.get("default").is_some_and(Value::is_object) {
        schema.remove("default");
    }
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let paragraphs: Vec<String> = text.split("\n\n").map(|paragraph| paragraph.replace('\n', " ")).collect();
        let text = paragraphs.join("\n\n");
        if text.contains(DEFAULT) {
            schema.remove("default");
        }
        schema.insert("description".into(), text.into());
    }
}

fn walk(prefix: &str, table: &Value, keys: &mut Vec<DocumentedKey>) {
    let list = |name: &str| table.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for name in list(ORDER).iter().filter_map(Value::as_str) {
        let Some(value) = table.get("properties").and_then(|keys| keys.get(name)) else { continue };
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        if value.get("properties").is_some() {
            walk(&path, value, keys);
        } else if let (true, Some(entry)) = (DESCRIBED_LISTS.contains(&path.as_str()), value.get("items")) {
            walk(&format!("{path}[]"), entry, keys);
        } else {
            let is_required = list("required").iter().any(|required| required == name);
            keys.push(documented(path, value, is_required));
        }
    }
}

fn documented(path: String, value: &Value, is_required: bool) -> DocumentedKey {
    let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
    let (meaning, words) = text.split_once(DEFAULT).map_or((text, None), |(text, words)| (text, Some(words)));
    let default = match (words, value.get("default")) {
        (Some(words), _) => words.trim_end_matches('.').to_owned(),
        (None, _) if is_required => "required".to_owned(),
        (None, None) => "none".to_owned(),
        (None, Some(Value::Array(entries))) if entries.is_empty() => "none".to_owned(),
        (None, Some(Value::String(text))) => text.clone(),
        (None, Some(value)) => value.to_string(),
    };
    DocumentedKey { path, default, meaning: meaning.to_owned() }
}

#[cfg(test)]
mod tests;
