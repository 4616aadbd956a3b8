//! What a client asks to do: one action on one repository.

/// One action on one repository, by the client's name for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The repository, as the client calls it.
    pub(crate) name: &'a str,
    /// `pull`, `push` or `delete`.
    pub(crate) action: &'static str,
}

/// What a token is used for: it reads for longer than it writes (P-42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
}

impl Scope<'_> {
    pub(super) fn wanted(self) -> Use {
        if self.action == "pull" { Use::Read } else { Use::Write }
    }
}

impl std::fmt::Display for Scope<'_> {
    /// As a challenge names it: a push needs `pull`, too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let actions = if self.action == "push" { "pull,push" } else { self.action };
        write!(f, "repository:{}:{actions}", self.name)
    }
}
