//! One thing to do to set a client up, and what it follows from.

use super::lookup::Offer;
use super::negotiation::Words;
use crate::client_snippets::ProxyAddress;
use crate::config::Auth;

/// Something to do, and the lines for it.
pub(super) struct SetupStep {
    pub(super) words: Words,
    /// The file that the lines belong into, where they are no command.
    pub(super) file: Option<&'static str>,
    pub(super) lines: String,
}

/// What the steps follow from.
pub(super) struct SetupContext<'a> {
    pub(super) address: ProxyAddress<'a>,
    pub(super) offer: &'a Offer<'a>,
    pub(super) auth: Auth,
}

impl SetupContext<'_> {
    pub(super) fn needs_login(&self) -> bool {
        needs_login(self.auth)
    }

    /// A flag that a command needs over plain HTTP, with a space behind it.
    pub(super) fn plain(&self, flag: &'static str) -> &'static str {
        if self.address.is_https { "" } else { flag }
    }

    /// `command` for each example, a line each.
    pub(super) fn for_examples(&self, command: &str) -> String {
        self.offer.examples(&self.address).iter().flat_map(|image| [command, image.as_str(), "\n"]).collect()
    }

    /// The step of logging in, where that is needed.
    pub(super) fn login(&self, command: &str) -> Option<SetupStep> {
        let words = match self.auth {
            Auth::Open => return None,
            Auth::Users => Words {
                english: "Log in once. Whoever runs this proxy gives you the user name and the password.",
                chinese: "先登录一次。用户名和密码请向本代理的管理员索取。",
            },
            Auth::Upstream => Words {
                english: "Log in once, with your own account at the registry that you pull from.",
                chinese: "先登录一次，使用你在上游镜像仓库的账号。",
            },
        };
        Some(command_step(words, format!("{command} {}\n", self.address.host_in_names())))
    }
}

/// Whether clients log in at all.
pub(super) fn needs_login(auth: Auth) -> bool {
    match auth {
        Auth::Open => false,
        Auth::Users | Auth::Upstream => true,
    }
}

pub(super) fn command_step(words: Words, lines: String) -> SetupStep {
    SetupStep { words, file: None, lines }
}

pub(super) fn file_step(file: &'static str, words: Words, lines: String) -> SetupStep {
    SetupStep { words, file: Some(file), lines }
}

pub(super) const PULL: Words = Words {
    english: "Put this proxy's address before the image's full name:",
    chinese: "在完整镜像名前加上本代理的地址：",
};
