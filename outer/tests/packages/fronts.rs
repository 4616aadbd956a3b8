//! Between other people's proxies: what goes through each of them is a row of the page about reverse proxies, and a row that
//! is another one fails.

use std::fs;
use std::path::Path;
use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::front::{Front, Nginx};
use registry_proxy_outer::image::Image;
use registry_proxy_outer::process::{Program, Tool};
use registry_proxy_outer::proxy::{Setup, free_port};
use registry_proxy_outer::registry::{Access, Registry, Seed, Storage};
use registry_proxy_outer::way_out::WayOut;
use registry_proxy_outer::{Context, Outcome};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/how-to/behind-a-reverse-proxy.md");
const PROBE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/probe/registry.py");
const DEADLINE: Duration = Duration::from_mins(3);
const USER: (&str, &str) = ("alice", "wonder-land");
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1/32\"]";

/// What the table says of one of them.
struct Row {
    name: &'static str,
    stands: &'static str,
    is_https: bool,
    cells: Vec<String>,
}

impl Row {
    fn line(&self) -> String {
        let tls = if self.is_https { "yes" } else { "no" };
        format!("| {} | {} | {tls} | {} |", self.name, self.stands, self.cells.join(" | "))
    }

    /// Fails unless the page has this row, and prints it then.
    fn is_in_page(&self) -> Outcome {
        let line = self.line();
        ensure(rows()?.contains(&line), format_args!("the page's row is not what was found:\n{line}"))
    }
}

/// The rows of the page's table.
fn rows() -> Outcome<Vec<String>> {
    let page = fs::read_to_string(PAGE).context(PAGE)?;
    let (_, rest) = page.split_once("<!-- tried: made by").context("the page has no table")?;
    let (table, _) = rest.split_once("<!-- tried: end -->").context("the table has no end")?;
    Ok(table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .map(str::to_owned)
        .collect())
}

/// `yes`, or `no`; why not goes to the test's output.
fn cell(what: &str, outcome: Outcome) -> String {
    match outcome {
        Ok(()) => "yes".to_owned(),
        Err(failure) => {
            eprintln!("{what}: {failure:?}");
            "no".to_owned()
        }
    }
}

fn seed() -> Outcome<Seed> {
    Seed::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))
}

/// What goes through to what is asked at this address: the images of the tests behind `reg.test`, and pushes of this one to
/// `empty.test`.
fn cells(base: &str, seed: &Seed, pushed: (&str, &Image)) -> Outcome<Vec<String>> {
    let address = base.split("://").nth(1).unwrap_or_default();
    let image = format!("{address}/reg.test/library/sample:v1");
    let target = format!("{address}/empty.test/library/copy:v1");
    let skopeo = Skopeo::new()?;
    let pull = || -> Outcome {
        skopeo.login(address, USER.0, USER.1)?.success()?;
        equal("sample", &skopeo.pull(&image, &[])?.digests()?, &seed.catalogue().sample.digests())
    };
    let push = || -> Outcome {
        let (name, image) = pushed;
        skopeo.push(&seed.layout(name), &target, &[])?;
        equal("the copy", &skopeo.pull(&target, &[])?.digests()?, &image.digests())
    };
    let login = || -> Outcome {
        Skopeo::new()?.login(address, USER.0, "wrong")?.refusal().map(drop)?;
        Ok(())
    };
    let mut cells = vec![cell("pull", pull()), cell("push", push())];
    let asked = probe(base, seed)?;
    let answer = |name: &str| -> Outcome {
        let line = asked.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        let said = line.context(format_args!("{name} was not asked: {asked}"))?;
        ensure(said == "yes", said)
    };
    cells.push(cell("push in chunks", answer("chunked")));
    cells.push(cell("login", login().and_then(|()| answer("login"))));
    cells.push(cell("range", answer("ranges")));
    cells.push(cell("HEAD", answer("head")));
    cells.push(cell("as sent", answer("plain")));
    Ok(cells)
}

/// What a raw client is answered.
fn probe(base: &str, seed: &Seed) -> Outcome<String> {
    let layer = &seed.catalogue().sample.amd64()?.layers.first().context("no layer")?.clone();
    let program = Program::tool(Tool::PYTHON)?.argument(PROBE).arguments([base, USER.0, USER.1]);
    let program = program.arguments(["reg.test/library/sample", layer, "empty.test/library/raw"]);
    program.run(DEADLINE)?.success()
}

/// In front of the product, whose clients are its own users.
fn in_front(front: Front) -> Outcome {
    let seed = seed()?;
    let (registry, empty) = (Registry::seeded(&seed)?, Registry::fresh()?);
    let port = free_port()?;
    let base = front.base(port);
    let folder = tempfile::tempdir()?;
    let config = if front.is_before_https() {
        Front::proxy_protocol_config(folder.path(), &base)?
    } else {
        format!("public_url = \"{base}\"\n{TRUSTED}")
    };
    let proxy = Setup::new()
        .config(config)
        .users(&[USER])
        .upstream("reg.test", registry.address(), &["default = true"])
        .upstream("empty.test", empty.address(), &["push = true"]);
    // Where every connection begins with a header it cannot be asked whether it is well.
    let proxy = if front.is_before_https() { proxy.start_unasked()? } else { proxy.start()? };
    let running = front.start(port, proxy.address())?;
    // Layers of any size go up, and come down again.
    let cells = cells(running.base(), &seed, ("large", &seed.catalogue().large))?;
    Row { name: front.name(), stands: "in front", is_https: front.is_https(), cells }.is_in_page()?;
    let log = proxy.service.log();
    ensure(!log.contains("upstream gave no answer") && !log.contains("PROXY protocol"), log)
}

/// On the way to registries where clients have accounts of their own.
fn on_the_way_out(way_out: WayOut) -> Outcome {
    let seed = seed()?;
    let registry = Registry::start(&Storage::Seeded(&seed), &Access::Basic(&[USER]))?;
    let empty = Registry::start(&Storage::Fresh, &Access::Basic(&[USER]))?;
    let running = way_out.start()?;
    let through = format!("proxy = \"http://{}\"", running.address());
    let port = free_port()?;
    let base = format!("http://127.0.0.1:{port}");
    let proxy = Setup::new()
        .config(format!("public_url = \"{base}\""))
        .port(port)
        .upstream_accounts()
        .upstream("reg.test", registry.address(), &["default = true", &through])
        .upstream("empty.test", empty.address(), &["push = true", &through])
        .start()?;
    // squid resets what comes faster than the registry takes it, from anybody: the page says so.
    let cells = cells(&base, &seed, ("sample", &seed.catalogue().sample))?;
    Row { name: way_out.name(), stands: "on the way out", is_https: false, cells }.is_in_page()?;
    // A plain-http registry is asked as clients ask a proxy (RFC 9112 section 3.2.2): no tunnel, which stock ones refuse.
    let asked = running.asked();
    ensure(asked.contains(&format!("http://{}/v2/", registry.address())), &asked)?;
    ensure(!asked.contains("CONNECT 127.0.0.1"), &asked)?;
    let log = proxy.service.log();
    ensure(!log.contains("upstream gave no answer"), log)
}

#[test]
fn through_nginx() -> Outcome {
    in_front(Front::Nginx)
}

#[test]
fn through_caddy() -> Outcome {
    in_front(Front::Caddy)
}

#[test]
fn through_haproxy() -> Outcome {
    in_front(Front::Haproxy)
}

#[test]
fn through_haproxy_that_passes_bytes_on() -> Outcome {
    in_front(Front::HaproxyTcp)
}

#[test]
fn through_varnish() -> Outcome {
    in_front(Front::Varnish)
}

#[test]
fn out_through_squid() -> Outcome {
    on_the_way_out(WayOut::Squid)
}

#[test]
fn out_through_tinyproxy() -> Outcome {
    on_the_way_out(WayOut::Tinyproxy)
}

#[test]
fn the_page_has_a_row_for_each_and_no_other() -> Outcome {
    let fronts = Front::ALL.into_iter().map(Front::name);
    let names: Vec<String> = fronts.chain(WayOut::ALL.into_iter().map(WayOut::name)).map(str::to_owned).collect();
    let found: Vec<String> =
        rows()?.iter().map(|row| row.split(" | ").next().unwrap_or_default()[2..].to_owned()).collect();
    equal("rows", &found, &names)
}

#[test]
fn a_cache_that_keeps_every_200_keeps_no_ones_login() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(&seed)?;
    let port = free_port()?;
    let proxy = Setup::new()
        .config(format!("public_url = \"{}\"\n{TRUSTED}", Front::Nginx.base(port)))
        .users(&[USER])
        .upstream("reg.test", registry.address(), &["default = true"])
        .start()?;
    let nginx = Nginx::default().that_keeps_what_it_sees().start(port, proxy.address())?;
    Skopeo::new()?.login(nginx.address(), USER.0, USER.1)?.success()?;
    Skopeo::new()?.login(nginx.address(), USER.0, "wrong")?.refusal()?;
    let asked = probe(nginx.base(), &seed)?;
    for question in ["login", "head", "plain"] {
        ensure(asked.contains(&format!("{question}\tyes\n")), &asked)?;
    }
    // Of ranges nginx asks for the whole where it has a cache, and gives the whole: the page says so.
    ensure(asked.contains("ranges\tAssertionError bytes=1000-1999: (200, "), &asked)
}
