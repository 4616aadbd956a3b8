//! `[guard]`, the old name of `[quota]`: accepted with a warning.

use toml::Table;

use super::ConfigError;
use super::overlay::Overlay;

/// The old name.
pub(super) const OLD: &str = "guard";
/// The name of today.
pub(super) const NEW: &str = "quota";

/// The warning for a place that uses the old name.
pub(super) const WARNING: &str =
    "old name: write quota in place of guard, and QUOTA in a variable; a later version will not accept it";

/// Whether the section is there by its old name.
pub(super) fn is_in(table: &Table) -> bool {
    table.contains_key(OLD)
}

/// Gives the section its name of today, wherever it came from. Returns the places that use the old one: the section of the
/// file, and variables.
pub(super) fn rename(
    table: &mut Table,
    is_in_file: bool,
    overlays: &mut [Overlay],
) -> Result<Vec<String>, ConfigError> {
    let mut places: Vec<String> = is_in_file.then(|| OLD.to_owned()).into_iter().collect();
    places.extend(overlays.iter_mut().filter_map(|overlay| overlay.rename(OLD, NEW)));
    if let Some(section) = table.remove(OLD) {
        if table.contains_key(NEW) {
            let place = places.first().map_or(OLD, String::as_str);
            return Err(ConfigError::new(
                place,
                "the old name of quota, which is set too; move everything to quota, and in variables to REGISTRY_PROXY_QUOTA__",
            ));
        }
        table.insert(NEW.to_owned(), section);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, QuotaMode, Sources};
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Config::load(&Sources { text: Some(text), variables, read: &|path| Ok(path.to_owned()) })
    }

    #[test]
    fn the_old_name_of_quota_works_and_each_place_that_uses_it_is_warned_of() {
        let limits = "[guard.client]\nrequests_per_hour=300\n[guard.total]\nrequests_per_day=9";
        let config = load(limits, &[("REGISTRY_PROXY_GUARD__MODE", "off")]).unwrap();
        assert_eq!(config.quota.mode, QuotaMode::Off);
        assert_eq!(config.quota.client.requests_per_hour, Some(300));
        assert_eq!(config.quota.total.requests_per_day, Some(9));
        let warned: Vec<_> = config.warnings().into_iter().filter(|warning| warning.what == WARNING).collect();
        let places: Vec<_> = warned.iter().map(|warning| warning.place.as_str()).collect();
        assert_eq!(places, ["guard", "REGISTRY_PROXY_GUARD__MODE"]);
        assert!(load("[quota]\nmax_clients=5", &[]).unwrap().warnings().is_empty());
    }

    #[test]
    fn both_names_at_once_are_refused_wherever_they_stand() {
        let [old, new] = ["[guard]\nmode='on'", "[quota]\nmode='on'"];
        for (text, variables, place) in [
            (format!("{old}\n{new}"), vec![], "guard"),
            (new.to_owned(), vec![("REGISTRY_PROXY_GUARD__MODE", "closed")], "REGISTRY_PROXY_GUARD__MODE"),
            (old.to_owned(), vec![("REGISTRY_PROXY_QUOTA__MODE", "closed")], "guard"),
            (
                String::new(),
                vec![("REGISTRY_PROXY_GUARD__MODE", "on"), ("REGISTRY_PROXY_QUOTA__MAX_CLIENTS", "5")],
                "REGISTRY_PROXY_GUARD__MODE",
            ),
        ] {
            let error = load(&text, &variables).unwrap_err();
            assert_eq!(error.place, place, "{text}");
            assert!(error.what.contains("move everything to quota"), "{error}");
        }
    }

    #[test]
    fn an_error_of_a_variable_with_the_old_name_names_the_variable() {
        let error = load("", &[("REGISTRY_PROXY_GUARD__MAX_CLIENTS", "many")]).unwrap_err().to_string();
        assert!(error.starts_with("REGISTRY_PROXY_GUARD__MAX_CLIENTS=many: "), "{error}");
        let error = load("", &[("REGISTRY_PROXY_GUARD__CLIENTS", "5")]).unwrap_err().to_string();
        assert!(error.starts_with("REGISTRY_PROXY_GUARD__CLIENTS: unknown field `clients`"), "{error}");
    }
}
