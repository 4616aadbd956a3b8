//! `docs/reference/registries.md`.

use std::fmt::Write as _;

use super::table::{Behaviour, Cells, LoginScheme, Placement, RouteCase, Row, Table};

const HEAD: &str = "# Registries as they are

Made from `crates/core/src/testing/zoo/registries.toml` by `cargo xtask docs`; do not edit.

What registries are publicly reported to do, each with its source, and how this proxy handles it. The reports come from other
people, and registries change: this page says what the proxy is tested against, not what we have measured. Each test run puts
a registry with the reported behaviour behind the proxy, and sends every request below in every mode (open, users and
upstream; with and without an account of the proxy), without a cache, with a cache in memory and with one on disk.

An expectation reads `200 layer: HEAD blob, GET blob bytes=0-0`: the status that the client gets; the content that it gets,
whose bytes are compared with the digest (`image`, `layer`, `part` and `rest` of the layer, `pushed`, `new`; `index` and
`tags`); and after the colon the proxy's requests to the registry, in this order. `GET tag` requests a manifest by tag,
`GET manifest` by digest; `cdn` is the storage host that blobs are redirected to. Nothing after the colon: no request is sent.
Requests for logins are left out: besides the listed ones at most one request is refused and repeated, and at most one token
is fetched. `refused` is 403, and 401 with a challenge for a client that could log in.

The proxy does not trust a refusal of HEAD before GET has confirmed it (P-146 of the [protocol rules](protocol.md)). After GET
has contradicted HEAD three times, the proxy sends no HEAD for ten minutes; each row below starts anew.

";

/// The page.
pub fn page(table: &Table) -> String {
    let mut page = HEAD.to_owned();
    any_registry(&mut page, table);
    for row in &table.registries {
        registry(&mut page, row);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn any_registry(page: &mut String, table: &Table) {
    page.push_str(
        "## Any registry\n\nExpected unless a registry's own section says otherwise. If it redirects blobs, ",
    );
    page.push_str("`GET cdn` follows each `GET blob` of an\nexisting blob; if it redirects everything, `GET elsewhere …`.\n\n");
    page.push_str("| client's request | without a cache | with a cache |\n|---|---|---|\n");
    for route in &table.routes {
        let RouteCase { name, none, kept, by_login, .. } = route;
        let cells = Cells { none: none.clone(), kept: kept.clone(), by_login: by_login.clone() };
        line(page, name, &cells);
    }
    page.push('\n');
}

fn registry(page: &mut String, row: &Row) {
    let login = match row.login {
        LoginScheme::Open => "requires no login",
        LoginScheme::Bearer => "requires tokens and issues them to everybody",
        LoginScheme::Basic => "requires a user name and a password",
    };
    let placement = match row.placement {
        Placement::Own => "It serves blobs itself",
        Placement::Cdn => "It redirects blobs to a storage host",
        Placement::Elsewhere => "It redirects everything to another registry",
    };
    let _ = write!(page, "## {}\n\nIn the tests it {login}. {placement}.\n\n", row.name);
    for Behaviour { says, sources, .. } in &row.behaviours {
        let sources: Vec<String> = sources.iter().map(|url| format!("[{}]({url})", short(url))).collect();
        let _ = writeln!(page, "* It {says} ({}).", sources.join(", "));
    }
    page.push('\n');
    if row.expect.is_empty() {
        page.push_str("Expected: the same as of any registry.\n\n");
        return;
    }
    page.push_str("| client's request | without a cache | with a cache |\n|---|---|---|\n");
    for (name, cells) in &row.expect {
        line(page, name, cells);
    }
    page.push('\n');
}

fn line(page: &mut String, name: &str, cells: &Cells) {
    let code = |text: &Option<String>| text.as_ref().map(|text| format!("`{text}`")).unwrap_or_default();
    let by_login = match &cells.by_login {
        Some(by_login) => format!("; with a login of the client's own `{by_login}`"),
        None => String::new(),
    };
    let _ = writeln!(page, "| {name} | {} | {}{by_login} |", code(&cells.none), code(&cells.kept));
}

/// `owner/repository#7` for an issue or a pull request, and the file's name for a file.
fn short(url: &str) -> String {
    let path = url.trim_start_matches("https://github.com/");
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        [owner, repository, "issues" | "pull", number] => format!("{owner}/{repository}#{number}"),
        [owner, repository, "blob", .., file] => format!("{owner}/{repository} {file}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_shown_as_people_write_it() {
        for (url, expected) in [
            ("https://github.com/goharbor/harbor/issues/22609", "goharbor/harbor#22609"),
            ("https://github.com/quay/quay/pull/3071", "quay/quay#3071"),
            ("https://github.com/a/b/blob/main/docs/x.md", "a/b x.md"),
            ("https://example.com/page", "https://example.com/page"),
        ] {
            assert_eq!(short(url), expected);
        }
    }

    #[test]
    fn the_page_is_made_from_the_table() {
        let page = page(&Table::checked_in());
        let kept = include_str!("../../../../../docs/reference/registries.md");
        assert!(page == kept, "docs/reference/registries.md is stale: cargo xtask docs");
    }

    #[test]
    fn every_behaviour_has_a_source_on_the_web() {
        for row in &Table::checked_in().registries {
            assert!(!row.behaviours.is_empty(), "{}", row.name);
            for behaviour in &row.behaviours {
                let has_sources = !behaviour.sources.is_empty();
                let on_the_web = behaviour.sources.iter().all(|url| url.starts_with("https://"));
                assert!(has_sources && on_the_web, "{}: {}", row.name, behaviour.says);
            }
        }
    }
}
