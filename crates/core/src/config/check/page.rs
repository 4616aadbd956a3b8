//! `[page]`.

use super::super::{Auth, Config, ConfigError, UpstreamConfig};

pub(super) fn validate(config: &Config) -> Result<(), ConfigError> {
    let page = &config.page;
    let has_logins = page.login(config.clients.auth) != Auth::Open;
    if !page.admins.is_empty() && !has_logins {
        let what = "nobody logs in to the page: set page.auth = \"users\" and clients.users_file";
        return Err(ConfigError::new("page.admins", what));
    }
    if page.search && config.upstream.iter().any(|upstream| upstream.backend.is_some()) {
        let what = "with REGISTRY_BACKEND, /v1/search belongs to the storage";
        return Err(ConfigError::new("page.search", what));
    }
    if page.search && !config.upstream.iter().any(UpstreamConfig::is_docker_hub) {
        let what = "only Docker Hub can be searched: add an [[upstream]] named \"docker.io\"";
        return Err(ConfigError::new("page.search", what));
    }
    Ok(())
}
