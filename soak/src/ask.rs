//! Small requests of the conductor itself: is it there, and what are its metrics.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use registry_proxy_outer::{Context as _, Outcome};

const PATIENCE: Duration = Duration::from_secs(2);
/// Below the ports that the kernel gives to connections: these are freed and taken again during the run.
const FIRST_PORT: u16 = 20_000;

/// Status and body of an answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Outcome<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// The sum of a metric over all its labels.
pub(crate) fn metric(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let lines = lines.filter(|rest| rest.starts_with(['{', ' ']));
    lines.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).fold(0.0, |sum, value| sum + value)
}

/// So many ports that nobody listens on.
pub(crate) fn ports<const COUNT: usize>() -> Outcome<[SocketAddr; COUNT]> {
    let is_free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    let addresses = (FIRST_PORT..).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let addresses: Vec<SocketAddr> = addresses.filter(is_free).take(COUNT).collect();
    addresses.try_into().ok().context("no free port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# TYPE a_total counter\na_total{kind=\"x\"} 2\na_total{kind=\"y\"} 3\na_total_more 5\nb 7\n";
        assert!((metric(text, "a_total") - 5.0).abs() < 0.1);
        assert!((metric(text, "b") - 7.0).abs() < 0.1);
    }
}
