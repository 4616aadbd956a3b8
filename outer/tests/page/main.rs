//! The pages in a real browser, and what is copied from the one at `/` in the clients' hands.

use std::path::Path;

use registry_proxy_outer::browser::{self, AdminPart, AdminSite, Bar, Look};
use registry_proxy_outer::client::{Docker, Podman};
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Program, Tool};
use registry_proxy_outer::proxy::Setup;
use registry_proxy_outer::registry::{Faucet, Registry, Seed};
use registry_proxy_outer::{Context, Outcome, http};

const IMAGE: &str = "reg.test/library/sample:v1";
/// Another name of this machine, over plain HTTP: browsers have no clipboard for such pages.
const NAMED: &str = "proxy.test";
/// Who may purge.
const ADMIN: &str = "ann";
const PASSWORD: &str = "a-password-of-the-tests";
/// A blob that arrives for as long as the page is looked at: longer than the browser's deadline.
const SLOW_MEBIBYTES: u64 = 64;
const SLOW_BYTES_PER_SECOND: u64 = 200_000;
const DEADLINE: std::time::Duration = std::time::Duration::from_mins(1);

#[test]
fn people_read_and_use_the_page_and_what_they_copy_pulls() -> Outcome {
    let seed = Seed::prepare(Path::new(env!("CARGO_TARGET_TMPDIR")))?;
    let registry = Registry::seeded(&seed)?;
    let faucet = Faucet::start(SLOW_MEBIBYTES, SLOW_BYTES_PER_SECOND)?;
    let proxy = Setup::new()
        .upstream("reg.test", registry.address(), &["default = true"])
        .upstream("docker.io", registry.address(), &[])
        .upstream("ghcr.io", registry.address(), &[])
        .start()?;
    let address = proxy.address().to_string();
    let named = format!("http://{NAMED}:{}", proxy.address().port());
    let administered = Setup::new()
        .users(&[(ADMIN, PASSWORD)])
        .config(format!("[page]\nadmins = [\"{ADMIN}\"]"))
        .upstream("reg.test", registry.address(), &["default = true"])
        .upstream("slow.test", faucet.address(), &[])
        .start()?;
    let client = http::Client::new()?;
    // It goes on arriving after its client has left.
    let blob = administered.url(&format!("/v2/slow.test/library/crowd/blobs/{}", faucet.digest()));
    equal("a slow blob", &client.get(blob).basic(ADMIN, PASSWORD).begin()?.as_u16(), &200)?;
    for _ in 0..3 {
        let path = administered.url("/v2/reg.test/library/sample/manifests/v1");
        client.get(path).basic(ADMIN, PASSWORD).ask()?.expect_status(200)?;
    }
    let site = AdminSite { base: &administered.url(""), username: ADMIN, password: PASSWORD, image: IMAGE };
    let found = browser::read(&proxy.url(""), &named, IMAGE, &site)?;

    equal("languages and themes", &found.views.len(), &4)?;
    for view in &found.views {
        let what = format!("{} {} {} px", view.locale, view.theme, view.width);
        equal(&what, &view.language.as_str(), &if view.locale == "zh-CN" { "zh-CN" } else { "en" })?;
        let background = if view.theme == "dark" { "rgb(20, 24, 29)" } else { "rgb(255, 255, 255)" };
        equal(&what, &view.background.as_str(), &background)?;
        ensure(view.look.passes > 20, format_args!("{what}: axe-core has looked at {} rules", view.look.passes))?;
        equal(&what, &view.tabs.len(), &10)?;
        [&view.look, &view.fault]
            .into_iter()
            .chain(&view.tabs)
            .try_for_each(|look| is_for_everybody(&what, look))?;
    }

    let command = format!("docker pull {address}/{IMAGE}");
    equal("copied with the keyboard", &found.keyboard.copied, &command)?;
    equal("what a screen reader is told", &found.keyboard.said.as_str(), &"Copied")?;
    equal("the next client", &found.keyboard.panels, &vec!["containerd".to_owned()])?;
    for stop in &found.keyboard.stops {
        ensure(stop.what == "BODY" || stop.outline != "none", format_args!("no focus is found at {}", stop.what))?;
    }

    let podman = format!("podman pull --tls-verify=false {NAMED}:{}/{IMAGE}", proxy.address().port());
    equal("a context", &found.plain.is_secure, &false)?;
    equal("copied without a clipboard", &found.plain.copied, &podman)?;
    equal("what was shown", &found.plain.shown, &podman)?;

    equal("buttons that need scripts", &found.still.buttons, &0)?;
    equal("a command without scripts", &found.still.commands.first(), &Some(&command))?;
    equal("a tab without scripts", &found.still.panels, &vec!["Podman · skopeo · Buildah".to_owned()])?;
    equal("the switch without scripts", &found.still.language.as_str(), &"zh-CN")?;
    equal("what was typed, in the other language", &found.still.kept.as_str(), &IMAGE)?;

    equal("hostile names", &found.hostile.len(), &4)?;
    for hostile in &found.hostile {
        // The page's own script is one.
        equal("elements that run or load", &hostile.elements, &1)?;
        equal("a word that it is no name", &hostile.fault, &1)?;
        equal("the box", &hostile.value.as_str(), &"")?;
    }
    equal("parts, languages and themes of the administration page", &found.admin.parts.len(), &24)?;
    for part in &found.admin.parts {
        let language = if part.what.contains("zh-CN") { "zh-CN" } else { "en" };
        equal(&part.what, &part.language.as_str(), &language)?;
        ensure(part.look.passes > 15, format_args!("{}: axe-core has looked at {}", part.what, part.look.passes))?;
        is_for_everybody(&part.what, &part.look)?;
    }
    bars_grow(&found.admin.parts, faucet.length())?;
    ensure(!found.admin.stops.iter().any(|outline| outline == "none"), "no focus is found")?;
    let purged = &found.admin.purged;
    ensure(purged.contains(&format!("{IMAGE}: purged. 1 tags")), purged)?;
    ensure(found.admin.asked.contains("Images that are warmed: 1"), &found.admin.asked)?;
    ensure(found.admin.warmed.contains("1 / 1"), &found.admin.warmed)?;
    equal("what hostile names did", &found.admin.hostile, &0)?;
    let log = administered.service.log();
    ensure(log.contains("administrative action ended") && log.contains(ADMIN), "the log says who purged")?;

    let mut origins = found.requests.clone();
    origins.sort();
    let mut ours = vec![proxy.url(""), named, administered.url("")];
    ours.sort();
    equal("who was asked", &origins, &ours)?;
    equal("what the browser complained of", &found.complaints, &Vec::new())?;

    pastes(&found.still.commands, &seed)
}

/// Each overview has the bar of the blob that arrives, and a later one shows more of it.
fn bars_grow(parts: &[AdminPart], length: u64) -> Outcome {
    let overviews = parts.iter().filter(|part| part.what.starts_with(' '));
    let bars: Vec<&Bar> = overviews.flat_map(|part| &part.bars).collect();
    equal("bars", &bars.len(), &4)?;
    for bar in &bars {
        equal("the whole", &bar.whole.to_string(), &length.to_string())?;
        ensure(bar.part < bar.whole && bar.width > 0.0 && bar.label.contains(" / "), format_args!("{bar:?}"))?;
    }
    ensure(bars.is_sorted_by(|one, next| one.part <= next.part), format_args!("{bars:?}"))?;
    ensure(bars.last().is_some_and(|last| last.part > 0.0), format_args!("{bars:?}"))
}

fn is_for_everybody(what: &str, look: &Look) -> Outcome {
    ensure(look.violations.is_empty(), format_args!("{what}: axe-core found {:#?}", look.violations))?;
    ensure(!look.is_wide, format_args!("{what}: one must scroll sideways"))
}

/// Runs the commands as they are.
fn pastes(commands: &[String], seed: &Seed) -> Outcome {
    let find = |program: &str| {
        let beginning = format!("{program} ");
        let command = commands.iter().find_map(|command| command.strip_prefix(&beginning));
        command.context(format_args!("no command for {program} in {commands:?}"))
    };
    let words: Vec<&str> = find("docker")?.split(' ').collect();
    Docker::start(&[])?.run(&words)?.success()?;
    let skopeo = Program::tool(Tool::SKOPEO)?.arguments(find("skopeo")?.split(' ')).run(DEADLINE)?.success()?;
    ensure(skopeo.contains("\"Architecture\""), skopeo)?;
    let (options, image) = find("podman")?.rsplit_once(' ').context("podman's words")?;
    let options: Vec<&str> = options.split(' ').filter(|word| *word != "pull").collect();
    Podman::new("")?.pull(image, &options)?.expect(seed.catalogue().sample.amd64()?)
}
