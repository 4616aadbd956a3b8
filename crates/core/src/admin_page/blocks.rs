//! What the page is made of. Every part is text until the template writes it, and there it is escaped.

use askama::Template;

use crate::page::STYLE;
use crate::page::negotiation::Language;

pub(super) const ADMIN_STYLE: &str = include_str!("../../templates/admin.css");

/// A piece of the page, from above to below.
pub(super) enum PageBlock {
    Heading(String),
    Text(String),
    /// Something is wrong.
    Alert(String),
    /// Lines as they are.
    Code(String),
    /// Links to choose from, with what the choice is about; the one that is shown is marked.
    Links(String, Vec<(PageLink, bool)>),
    Table(PageTable),
    Plot(PagePlot),
    Question(PageQuestion),
    Order(PageOrder),
    List(PageList),
}

pub(super) struct PageLink {
    pub(super) href: String,
    pub(super) text: String,
}

pub(super) struct PageTable {
    pub(super) caption: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<PageCell>>,
}

pub(super) enum PageCell {
    Text(String),
    Link(PageLink),
    Bar(ProgressBar),
    Order(PageOrder),
}

impl PageCell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
}

/// How much of a whole there is.
pub(super) struct ProgressBar {
    pub(super) label: String,
    pub(super) part: u64,
    pub(super) whole: u64,
}

/// A picture of numbers, and the numbers.
pub(super) struct PagePlot {
    /// What a glance would see, in words.
    pub(super) note: String,
    /// The series by their number, where there are several.
    pub(super) names: Vec<(usize, String)>,
    /// Bars of each series, as paths.
    pub(super) paths: Vec<(usize, String)>,
    /// What opens the table.
    pub(super) summary: String,
    pub(super) table: PageTable,
}

/// A form that asks, and changes nothing.
pub(super) struct PageQuestion {
    pub(super) action: String,
    pub(super) fields: Vec<PageField>,
    pub(super) button: String,
}

pub(super) struct PageField {
    pub(super) name: &'static str,
    pub(super) label: String,
    pub(super) value: String,
}

/// A form that changes something.
pub(super) struct PageOrder {
    pub(super) action: String,
    /// What it does, sealed for one login.
    pub(super) token: String,
    pub(super) button: String,
}

/// A box for many lines, that changes something.
pub(super) struct PageList {
    pub(super) name: &'static str,
    pub(super) label: String,
    pub(super) order: PageOrder,
}

/// The whole page, as the template takes it.
#[derive(Template)]
#[template(path = "admin.html")]
pub(super) struct AdminDocument<'a> {
    pub(super) language: Language,
    pub(super) title: String,
    pub(super) skip: &'static str,
    pub(super) reader: Option<&'a str>,
    /// The same page in the other language.
    pub(super) other: PageLink,
    pub(super) other_tag: &'static str,
    pub(super) parts_label: &'static str,
    pub(super) parts: Vec<(PageLink, bool)>,
    pub(super) blocks: &'a [PageBlock],
}
