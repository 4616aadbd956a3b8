//! `login` of an upstream, and the keys that belong to it.

use super::super::{CloudLogin, ConfigError, UpstreamConfig};

fn refuse(place: String, what: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::new(place, what))
}

pub(super) fn validate(upstream: &UpstreamConfig, at: &dyn Fn(&str) -> String) -> Result<(), ConfigError> {
    let login = upstream.login;
    for (key, value, clouds) in [
        ("role_arn", &upstream.role_arn, &[CloudLogin::Ecr][..]),
        ("audience", &upstream.audience, &[CloudLogin::Gar, CloudLogin::Acr]),
        ("tenant", &upstream.tenant, &[CloudLogin::Acr]),
    ] {
        let Some(value) = value else { continue };
        if !login.is_some_and(|login| clouds.contains(&login)) {
            let names: Vec<String> = clouds.iter().map(|cloud| format!("login = \"{cloud}\"")).collect();
            return refuse(at(key), format!("used only with {}", names.join(" or ")));
        }
        // They become parts of addresses and forms.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/@+=,".contains(&b);
        if value.is_empty() || value.len() > 1024 || !value.bytes().all(is_plain) {
            return refuse(at(key), format!("{value:?} has characters that it cannot have"));
        }
    }
    if let Some(role) = upstream.role_arn.as_ref().filter(|role| !role.starts_with("arn:")) {
        return refuse(
            at("role_arn"),
            format!("{role:?} is no role; expected arn:aws:iam::123456789012:role/name"),
        );
    }
    if upstream.tenant.as_ref().is_some_and(|tenant| tenant.contains('/')) {
        return refuse(at("tenant"), "expected the id or the domain of a tenant, without a slash");
    }
    let other = [
        ("username", upstream.username.is_some()),
        ("credentials", !upstream.credentials.is_empty()),
        ("docker_config", upstream.docker_config.is_some()),
    ];
    match other.iter().find(|(_, is_set)| *is_set && login.is_some()) {
        Some((key, _)) => refuse(at("login"), format!("set together with {key}; keep one of them")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Config, Sources};

    /// The key that is refused; `None`: all is well.
    fn refused(keys: &str) -> Option<String> {
        let text = format!("[[upstream]]\nname='x.test'\nurls=['https://x.test']\n{keys}");
        let read = |path: &str| Ok(path.to_owned());
        Config::load(&Sources { text: Some(&text), variables: Vec::new(), read: &read })
            .err()
            .map(|error| error.place)
    }

    #[test]
    fn keys_of_another_cloud_and_a_second_account_are_refused() {
        let role = "role_arn='arn:aws:iam::123456789012:role/pull'";
        for keys in [
            "login='ecr'".to_owned(),
            format!("login='ecr'\n{role}"),
            "login='gar'\naudience='//iam.googleapis.com/projects/1/locations/global/x'".to_owned(),
            "login='acr'\ntenant='contoso.onmicrosoft.com'\naudience='https://management.azure.com'".to_owned(),
        ] {
            assert_eq!(refused(&keys), None, "{keys}");
        }
        for (keys, key) in [
            ("login='dockerhub'".to_owned(), "upstream[0].login"),
            (role.to_owned(), "upstream[0].role_arn"),
            (format!("login='gar'\n{role}"), "upstream[0].role_arn"),
            ("login='ecr'\nrole_arn='pull'".to_owned(), "upstream[0].role_arn"),
            ("login='ecr'\nrole_arn='arn:aws:iam::1:role/a b'".to_owned(), "upstream[0].role_arn"),
            ("login='ecr'\naudience='a'".to_owned(), "upstream[0].audience"),
            ("login='acr'\naudience=''".to_owned(), "upstream[0].audience"),
            ("login='gar'\ntenant='a'".to_owned(), "upstream[0].tenant"),
            ("login='acr'\ntenant='../x'".to_owned(), "upstream[0].tenant"),
            ("login='ecr'\nusername='u'\npassword='p'".to_owned(), "upstream[0].login"),
            ("login='ecr'\ncredentials=[{prefix='a/',username='u',password='p'}]".to_owned(), "upstream[0].login"),
            ("login='ecr'\ndocker_config='f'".to_owned(), "upstream[0].login"),
        ] {
            assert_eq!(refused(&keys).as_deref(), Some(key), "{keys}");
        }
    }
}
