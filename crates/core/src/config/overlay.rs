//! Lays the environment over the file: `REGISTRY_PROXY_CLIENTS__AUTH` is `clients.auth`. An error repeats the variable's value,
//! unless that may contain a password.

use toml::{Table, Value};

use super::ConfigError;

const PREFIX: &str = "REGISTRY_PROXY_";
/// Parts of the names of keys with secret values, and of keys that do not exist but may be meant for one.
const SECRETS: [&str; 3] = ["secret", "password", "key"];
/// Keys whose text may begin as a list does: `[::]:3000`, and `[request]=debug`.
const BRACKETED: [&str; 2] = ["listen", "level"];

/// One variable of the overlay: `REGISTRY_PROXY_CLIENTS__AUTH`.
pub(super) struct Overlay {
    variable: String,
    value: String,
    path: String,
}

impl Overlay {
    /// The last of its names: `auth`.
    fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Gives a section another name. Returns the variable, if it sets a key of that section.
    pub(super) fn rename(&mut self, section: &str, name: &str) -> Option<String> {
        let rest = self.path.strip_prefix(section)?;
        if !(rest.is_empty() || rest.starts_with('.')) {
            return None;
        }
        self.path = format!("{name}{rest}");
        Some(self.variable.clone())
    }
}

/// Lays `REGISTRY_PROXY_SECTION__KEY=value` over the file.
pub(super) fn lay(table: &mut Table, variables: &[(String, String)]) -> Result<Vec<Overlay>, ConfigError> {
    let mut overlays = Vec::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        // An empty variable is unset: a console sets blank fields.
        if is_not_ours(rest) || (rest == "PLATFORM" && value.is_empty()) {
            continue;
        }
        let keys: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if keys.iter().any(String::is_empty) {
            return Err(ConfigError::new(
                variable,
                "expected the names of sections and key with `__` between them; one is missing",
            ));
        }
        let mut place = &mut *table;
        let (last, sections) = keys.split_last().ok_or_else(|| ConfigError::new(variable, "names no key"))?;
        for section in sections {
            let entry = place.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            place = entry.as_table_mut().ok_or_else(|| {
                ConfigError::new(variable, format!("{section} is a list; set the whole list, as ['…', …]"))
            })?;
        }
        let typed = typed(last, value.trim()).ok_or_else(|| {
            ConfigError::new(variable, "is not valid TOML; write ['…', …], or [{ name = '…' }, …]")
        })?;
        place.insert(last.clone(), typed);
        overlays.push(Overlay { variable: variable.clone(), value: value.clone(), path: keys.join(".") });
    }
    Ok(overlays)
}

/// `REGISTRY_PROXY_CONFIG` names the file itself. The others Kubernetes puts into every container beside a Service
/// called `registry-proxy` (`REGISTRY_PROXY_SERVICE_HOST`, `REGISTRY_PROXY_PORT_3000_TCP`).
fn is_not_ours(rest: &str) -> bool {
    rest == "CONFIG" || rest == "PORT" || rest.starts_with("SERVICE_") || rest.starts_with("PORT_")
}

/// Lists, tables, numbers and booleans are written as in TOML; all else is text, and so is every secret. `None`: it
/// begins as a list or a table, and is none.
fn typed(key: &str, value: &str) -> Option<Value> {
    let text = || Value::String(value.to_owned());
    let is_list = value.starts_with(['[', '{']);
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    if is_secret(key) || !(is_list || is_number || matches!(value, "true" | "false")) {
        return Some(text());
    }
    let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match parsed {
        None if is_list && !BRACKETED.contains(&key) => None,
        parsed => Some(parsed.unwrap_or_else(text)),
    }
}

/// Names the variable instead of the key, if the variable set it.
pub(super) fn located(path: &str, what: &str, overlays: &[Overlay]) -> ConfigError {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = |overlay: &&Overlay| path == overlay.path || path.starts_with(&format!("{}[", overlay.path));
    let unknown = |overlay: &&Overlay| what.contains(&format!("unknown field `{}`", overlay.key()));
    if let Some(overlay) = overlays.iter().find(said).filter(|overlay| !unknown(overlay)) {
        return ConfigError::new(shown(&overlay.variable, &overlay.value), what);
    }
    match overlays.iter().find(unknown) {
        // Which key was meant nobody knows, so its value may be anything.
        Some(overlay) => ConfigError::new(&overlay.variable, what),
        None => ConfigError::new(if matches!(path, "" | ".") { "configuration" } else { path }, what),
    }
}

/// A variable, with its value unless that may be secret.
pub(super) fn shown(variable: &str, value: &str) -> String {
    if is_secret(variable) || may_hold_a_password(value) {
        variable.to_owned()
    } else {
        format!("{variable}={value}")
    }
}

/// The message without its quoted value, where that may contain a password.
pub(super) fn without_passwords(what: &str) -> String {
    let parts = what.split_once('"').and_then(|(before, rest)| Some((before, rest.rsplit_once('"')?)));
    match parts {
        Some((before, (text, behind))) if may_hold_a_password(text) => format!("{before}…{behind}"),
        _ => what.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

/// As an address does before its `@`, and a list of upstreams.
fn may_hold_a_password(value: &str) -> bool {
    value.contains(['@', '[', '{'])
}
