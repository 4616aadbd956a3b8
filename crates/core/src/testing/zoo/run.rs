//! Runs the table: every registry, route and mode, on one store.

use std::fmt;

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;

use super::cells::{Expected, Mode, StoreMode, expected};
use super::ground::Ground;
use super::lab::{Lab, Seen};
use super::play::RequestLog;
use super::steps::Things;
use super::table::{RouteCase, Row, Table};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    registries: usize,
    routes: usize,
    modes: usize,
    store: &'static str,
    cells: usize,
    failures: Vec<String>,
}

impl Report {
    /// What did not come out as the table has it, one line for each cell.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// How many cells were run.
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// # Panics
    ///
    /// Where a cell failed, with all that did.
    pub fn assert_passed(&self) {
        let failed = self.failures.len();
        assert!(failed == 0, "{failed} of {} cells:\n  {}", self.cells, self.failures.join("\n  "));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registries, routes, modes, store, cells, .. } = self;
        write!(f, "{registries} registries x {routes} routes x {modes} modes x store {store}: {cells} cells")
    }
}

/// Runs all of it. Whatever fails is in the report, and does not end the run.
pub async fn run(table: &Table, ground: &Ground) -> Report {
    let things = Things::default();
    let mut report = Report {
        registries: table.registries.len(),
        routes: table.routes.len(),
        modes: Mode::ALL.len(),
        store: ground.store_name,
        ..Report::default()
    };
    let rows = stream::iter(&table.registries).map(|row| one_registry(table, ground, &things, row));
    let rows: Vec<(usize, Vec<String>)> = rows.buffered(ground.at_once).collect().await;
    report.cells = rows.iter().map(|(cells, _)| cells).sum();
    report.failures = rows.into_iter().flat_map(|(_, failures)| failures).collect();
    report
}

/// All cells of one registry: how many, and what failed.
async fn one_registry(table: &Table, ground: &Ground, things: &Things, row: &Row) -> (usize, Vec<String>) {
    let strangers = row.expect.keys().filter(|name| table.routes.iter().all(|route| route.name != **name));
    let mut failures: Vec<String> =
        strangers.map(|name| format!("{}: there is no route {name}", row.name)).collect();
    let mut cells = 0;
    for route in &table.routes {
        for mode in Mode::ALL.into_iter().filter(|mode| !route.push || mode.has_login()) {
            cells += 1;
            if let Err(why) = Box::pin(hold(table, ground, things, row, route, mode)).await {
                let place = format!("{} | {} | {mode} | {}", row.name, route.name, ground.store_name);
                failures.push(format!("{place}: {why}"));
            }
        }
    }
    (cells, failures)
}

/// One cell.
async fn hold(
    table: &Table,
    ground: &Ground,
    things: &Things,
    row: &Row,
    route: &RouteCase,
    mode: Mode,
) -> Result<(), String> {
    let store = (ground.store)();
    let kept = if store.is_some() { StoreMode::Content } else { StoreMode::Nothing };
    let expected = expected(table, row, route, mode, kept)?;
    let mut lab = Lab::new(ground, row, route, things, mode, store).await;
    for step in &route.before {
        lab.ask(step, things).await?;
    }
    lab.take_asked();
    let seen = lab.ask(&route.request, things).await?;
    let asked = of_content(&lab.take_asked())?;
    let is_head = route.request.starts_with("HEAD");
    if seen.status.as_u16() != expected.status || asked != expected.asked {
        let got = Expected { status: seen.status.as_u16(), content: None, asked };
        let told = String::from_utf8_lossy(seen.body.get(..seen.body.len().min(200)).unwrap_or_default());
        return Err(format!(
            "{expected} is expected, and it is {got} ({} {told})",
            seen.header("x-registry-proxy")
        ));
    }
    match &expected.content {
        None => Ok(()),
        Some(content) => is(&seen, content, is_head, things).map_err(|why| format!("{expected}: {why}")),
    }
}

/// What was asked besides the conversation about logins: tokens, and requests that were turned away for want of a login and
/// followed by a token or by themselves. Of these there may be one each.
fn of_content(asked: &RequestLog) -> Result<Vec<String>, String> {
    let is_token = |word: &str| word.ends_with(" token");
    let is_turned_away = |at: usize| {
        let next = asked.get(at + 1).map(|(word, _)| word);
        asked.get(at).is_some_and(|(word, status)| {
            *status == StatusCode::UNAUTHORIZED && next.is_some_and(|next| next == word || is_token(next))
        })
    };
    let tokens = asked.iter().filter(|(word, _)| is_token(word)).count();
    let turned_away = (0..asked.len()).filter(|at| is_turned_away(*at)).count();
    if tokens > 1 || turned_away > 1 {
        return Err(format!("{tokens} tokens, and {turned_away} requests turned away: {asked:?}"));
    }
    let content = asked.iter().enumerate().filter(|(at, (word, _))| !is_turned_away(*at) && !is_token(word));
    Ok(content.map(|(_, (word, _))| word.clone()).collect())
}

/// Whether what came is what the table names.
fn is(seen: &Seen, content: &str, is_head: bool, things: &Things) -> Result<(), String> {
    let part = |range: std::ops::Range<usize>| things.bytes("layer").get(range).map(<[u8]>::to_vec);
    let (digest, bytes) = match content {
        "part" => ("layer", part(10..20)),
        "rest" => ("layer", part(4000..5000)),
        "index" | "tags" => ("", None),
        name => (name, Some(things.bytes(name).to_vec())),
    };
    if !digest.is_empty() && seen.header("docker-content-digest") != things.digest(digest) {
        return Err(format!("its digest is {}", seen.header("docker-content-digest")));
    }
    let json = serde_json::from_slice::<serde_json::Value>(&seen.body).unwrap_or_default();
    match (content, bytes) {
        ("index", _) if json.get("manifests").is_none_or(|manifests| !manifests.is_array()) => {
            Err("it is no index".to_owned())
        }
        ("tags", _) if json.get("tags").is_none_or(|tags| !tags.is_array()) => {
            Err("it is no list of tags".to_owned())
        }
        // Of what was pushed or deleted nothing comes back.
        (_, Some(_)) if matches!(seen.status.as_u16(), 201 | 202) => Ok(()),
        (_, Some(bytes)) if is_head => {
            let length = seen.header("content-length");
            if length == bytes.len().to_string() { Ok(()) } else { Err(format!("its length is {length}")) }
        }
        (_, Some(bytes)) if seen.body != bytes || !seen.is_whole => {
            Err(format!("{} other bytes came", seen.body.len()))
        }
        _ => Ok(()),
    }
}
