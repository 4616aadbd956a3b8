//! Which expectation holds for a cell: route, registry, mode and whether anything is kept.

use std::fmt;

use super::table::{Cells, LoginScheme, Placement, RouteCase, Row, Table};

/// How clients and registries know each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nobody logs in anywhere.
    Open,
    /// We have an account at the registry, and everybody may use it.
    Account,
    /// Clients log in to us, and we are nobody to the registry.
    Users,
    /// Clients log in to us, and we have an account.
    UsersWithAccount,
    /// Clients log in with their own accounts at the registry.
    Upstream,
    /// The same, and this client has none.
    Nobody,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Account, Self::Users, Self::UsersWithAccount, Self::Upstream, Self::Nobody];

    /// Whether the registry is asked with a login.
    pub(super) fn has_login(self) -> bool {
        match self {
            Self::Account | Self::UsersWithAccount | Self::Upstream => true,
            Self::Open | Self::Users | Self::Nobody => false,
        }
    }

    /// Whether the registry tells clients apart.
    pub(super) fn is_by_login(self) -> bool {
        match self {
            Self::Upstream | Self::Nobody => true,
            Self::Open | Self::Account | Self::Users | Self::UsersWithAccount => false,
        }
    }

    /// The status of what a registry does not let us do. Only a client that could log in there is told to.
    fn refusal(self) -> u16 {
        match self {
            Self::Nobody => 401,
            Self::Open | Self::Account | Self::Users | Self::UsersWithAccount | Self::Upstream => 403,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Account => "open, with an account of ours",
            Self::Users => "users",
            Self::UsersWithAccount => "users, with an account of ours",
            Self::Upstream => "upstream, with a login",
            Self::Nobody => "upstream, without a login",
        })
    }
}

/// Whether anything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreMode {
    Nothing,
    Content,
}

/// What is expected of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) status: u16,
    /// Which content comes, by its name in the table.
    pub(super) content: Option<String>,
    /// What the registry is asked.
    pub(super) asked: Vec<String>,
}

impl Expected {
    /// Reads `200 layer: GET blob, GET cdn`; `None`: it is no expectation.
    fn read(text: &str, mode: Mode) -> Option<Self> {
        let (answer, asked) = text.split_once(':').unwrap_or((text, ""));
        let mut words = answer.split_whitespace();
        let status = match words.next()? {
            "refused" => mode.refusal(),
            status => status.parse().ok()?,
        };
        let content = words.next().map(str::to_owned);
        let asked = asked.split(',').map(str::trim).filter(|asked| !asked.is_empty()).map(str::to_owned);
        Some(Self { status, content, asked: asked.collect() })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(content) = &self.content {
            write!(f, " {content}")?;
        }
        if self.asked.is_empty() { Ok(()) } else { write!(f, ": {}", self.asked.join(", ")) }
    }
}

/// The expectation of a cell.
///
/// # Errors
///
/// There is none, or it cannot be read: such a cell fails.
pub(super) fn expected(
    table: &Table,
    row: &Row,
    route: &RouteCase,
    mode: Mode,
    kept: StoreMode,
) -> Result<Expected, &'static str> {
    const NONE: &str = "no expectation";
    const UNREADABLE: &str = "an expectation that cannot be read";
    if row.login == LoginScheme::Basic
        && !mode.has_login()
        && let Some(asked) = &route.refused
    {
        return Expected::read(&format!("refused: {asked}"), mode).ok_or(UNREADABLE);
    }
    if let Some(own) = row.expect.get(&route.name) {
        return Expected::read(pick(own, mode, kept).ok_or(NONE)?, mode).ok_or(UNREADABLE);
    }
    let usual = Cells { none: route.none.clone(), kept: route.kept.clone(), by_login: route.by_login.clone() };
    let usual = Expected::read(pick(&usual, mode, kept).ok_or(NONE)?, mode).ok_or(UNREADABLE)?;
    // Blobs that are not there are redirected nowhere.
    let is_placed = row.placement != Placement::Cdn || usual.status < 400;
    let Some(placed) = table.placement.get(&row.placement).filter(|_| is_placed) else { return Ok(usual) };
    let asked = usual.asked.iter().flat_map(|word| {
        let placed = placed.get(word).unwrap_or(word);
        placed.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>()
    });
    Ok(Expected { asked: asked.collect(), ..usual })
}

fn pick(cells: &Cells, mode: Mode, kept: StoreMode) -> Option<&str> {
    let by_login = cells.by_login.as_deref().filter(|_| mode.is_by_login());
    match kept {
        StoreMode::Nothing => cells.none.as_deref(),
        StoreMode::Content => by_login.or(cells.kept.as_deref()),
    }
}
