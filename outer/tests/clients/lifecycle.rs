//! How the process ends, and how it is told of a new configuration.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use registry_proxy_outer::client::Skopeo;
use registry_proxy_outer::failure::{ensure, equal};
use registry_proxy_outer::process::{Signal, wait_until};
use registry_proxy_outer::proxy::Proxy;
use registry_proxy_outer::registry::Registry;
use registry_proxy_outer::{Context, Outcome, digest, http};

use crate::stage::{proxy_to, seed};

const DEADLINE: Duration = Duration::from_mins(1);

#[test]
fn a_termination_signal_ends_it_well() -> Outcome {
    let registry = Registry::seeded(seed()?)?;
    let mut proxy = proxy_to(&registry)?;
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    Skopeo::new()?.pull(&image, &[])?;
    proxy.service.signal(Signal::Terminate)?;
    let status = proxy.service.wait(DEADLINE)?;
    equal("exit status", &status.code(), &Some(0))
}

#[test]
fn a_transfer_under_way_is_finished_before_the_end() -> Outcome {
    let seed = seed()?;
    let registry = Registry::seeded(seed)?;
    let mut proxy = proxy_to(&registry)?;
    let layer = seed.catalogue().large.amd64()?.layers.last().context("no layer")?;
    let mut connection = TcpStream::connect(proxy.address())?;
    connection.set_read_timeout(Some(DEADLINE))?;
    write!(
        connection,
        "GET /v2/reg.test/library/large/blobs/{layer} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        proxy.address()
    )?;
    let mut received = vec![0; 100_000];
    connection.read_exact(&mut received)?;
    proxy.service.signal(Signal::Terminate)?;
    connection.read_to_end(&mut received)?;
    let head_end = received.windows(4).position(|four| four == b"\r\n\r\n").context("no head")?;
    equal("the layer", &digest::of_bytes(&received[head_end + 4..]), layer)?;
    equal("exit status", &proxy.service.wait(DEADLINE)?.code(), &Some(0))
}

#[test]
fn a_new_configuration_counts_after_a_hangup() -> Outcome {
    let registry = Registry::seeded(seed()?)?;
    let proxy = proxy_to(&registry)?;
    let client = http::Client::new()?;
    let named = |name: &str| proxy.url(&format!("/v2/{name}/library/sample/manifests/v1"));
    client.get(named("reg.test")).header("accept", "*/*").ask()?.expect_status(200)?;
    proxy.rewrite_config(&format!(
        "[[upstream]]\nname = \"new.test\"\nurls = [\"http://{}\"]\ninsecure = true\n",
        registry.address()
    ))?;
    proxy.service.signal(Signal::Hangup)?;
    wait_until("the new upstream should be known", DEADLINE, || {
        let answer = client.get(named("new.test")).header("accept", "*/*").ask()?;
        Ok((answer.status == 200).then_some(()))
    })
}

#[test]
fn a_broken_configuration_changes_nothing() -> Outcome {
    let registry = Registry::seeded(seed()?)?;
    let mut proxy = proxy_to(&registry)?;
    let before = proxy.service.log().len();
    proxy.rewrite_config("[[upstream]]\nname = \"a/b\"\n")?;
    proxy.service.signal(Signal::Hangup)?;
    // The message names the key that is wrong.
    wait_until("the mistake should be logged", DEADLINE, || {
        let log = proxy.service.log();
        let since = log.get(before..).unwrap_or_default();
        Ok(since.contains("upstream[0].name").then_some(()))
    })?;
    ensure(proxy.service.is_running()?, "it has ended")?;
    still_pulls(&proxy)
}

fn still_pulls(proxy: &Proxy) -> Outcome {
    let image = format!("{}/reg.test/library/sample:v1", proxy.address());
    let copied = Skopeo::new()?.pull(&image, &[])?;
    equal("sample", &copied.digests()?, &seed()?.catalogue().sample.digests())
}
