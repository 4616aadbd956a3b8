//! Whether the page is there. Pure.

use crate::config::{Auth, Config};

/// By which address a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// The proxy's.
    Main,
    /// The page's own: `page.listen`.
    Page,
}

/// Whether the page is at this address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PagePresence {
    Here,
    /// It has an address of its own.
    Elsewhere,
    /// Everybody could read it.
    WithoutLogins,
    /// Each request may meet another process, which has seen nothing of the others.
    NotOnPlatform,
}

impl PagePresence {
    pub(super) fn of(config: &Config, entrance: Entrance) -> Self {
        let login = config.page.login(config.clients.auth);
        match entrance {
            _ if config.platform.is_ephemeral() => Self::NotOnPlatform,
            Entrance::Page => Self::Here,
            Entrance::Main if config.page.listen.is_some() => Self::Elsewhere,
            Entrance::Main => match login {
                Auth::Open => Self::WithoutLogins,
                Auth::Users | Auth::Upstream => Self::Here,
            },
        }
    }

    /// Whether the page is at any address.
    pub(super) fn is_somewhere(config: &Config) -> bool {
        match Self::of(config, Entrance::Main) {
            Self::Here | Self::Elsewhere => true,
            Self::WithoutLogins | Self::NotOnPlatform => false,
        }
    }

    /// What is said in its place.
    pub(super) fn absence(self) -> Option<&'static str> {
        match self {
            Self::Here => None,
            Self::Elsewhere => Some("the administration page has an address of its own: page.listen\n"),
            Self::WithoutLogins => Some(
                "the administration page is off, because nobody logs in here: set page.auth = \"users\" and \
                 clients.users_file, or give the page an address of its own with page.listen\n",
            ),
            Self::NotOnPlatform => Some(
                "there is no administration page on this platform: its requests meet many short-lived processes, and \
                 none of them knows what the others do\n",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn the_page_is_where_readers_log_in_or_where_its_own_address_is() {
        use PagePresence::{Elsewhere, Here, NotOnPlatform, WithoutLogins};
        const OPEN: &str = "";
        const USERS: &str = "[clients]\nauth='users'\nusers_file='u'";
        const ACCOUNTS: &str = "[clients]\nauth='upstream'";
        const PAGE_USERS: &str = "[clients]\nusers_file='u'\n[page]\nauth='users'";
        const LISTENS: &str = "[page]\nlisten='127.0.0.1:1'";
        for (text, main, own) in [
            (OPEN, WithoutLogins, Here),
            (USERS, Here, Here),
            (ACCOUNTS, Here, Here),
            (PAGE_USERS, Here, Here),
            (LISTENS, Elsewhere, Here),
            (&format!("{USERS}\n{LISTENS}"), Elsewhere, Here),
            ("platform='aws-lambda'\nclients.auth='upstream'", NotOnPlatform, NotOnPlatform),
            ("platform='cloudflare-workers'\nclients.auth='upstream'", NotOnPlatform, NotOnPlatform),
        ] {
            let sources = Sources { text: Some(text), variables: Vec::new(), read: &|path| Ok(path.to_owned()) };
            let config = Config::load(&sources).unwrap();
            let found = [Entrance::Main, Entrance::Page].map(|entrance| PagePresence::of(&config, entrance));
            assert_eq!(found, [main, own], "{text}");
        }
    }
}
