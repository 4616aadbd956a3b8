//! One fill with more and more clients: what the upstream sends, and memory.

use std::time::Duration;

use crate::http::Connection;
use crate::lab::Lab;
use crate::line::{Line, Way};
use crate::pull::at_once;
use crate::report::{Report, Row, Target};
use crate::service::nginx::AccessLog;
use crate::{Result, process};

const CLIENTS: [u32; 3] = [1, 64, 1_000];

const MEBIBYTES: u32 = 32;

/// Bytes a second from the upstream, so that all clients come while the blob arrives.
const RATE: u64 = 16 << 20;

/// Bytes of the upstream over those of the blob: what the responses' heads add is far less.
const TARGET_BYTES: f64 = 1.005;

/// In mebibytes, with most clients.
const TARGET_MEMORY: f64 = 64.0;

pub(super) fn run(lab: &Lab, report: &mut Report) -> Result<()> {
    process::open_many()?;
    let upstream = lab.upstream(MEBIBYTES)?;
    for clients in CLIENTS {
        let line = Line::start(upstream.address, Way { rate: RATE, is_each: false, delay: Duration::ZERO })?;
        let service = lab.subject_caching(line.address, AccessLog::Off)?;
        let took = at_once(clients, |client| {
            let length = Connection::open_as(client, service.address)?.download(&upstream.blob)?;
            if length == upstream.length { Ok(()) } else { Err(format!("the blob has {length} bytes").into()) }
        })?;
        let kibibytes = |bytes: u64| u32::try_from(bytes >> 10).map(f64::from);
        let fetched = kibibytes(line.bytes())? / kibibytes(upstream.length)?;
        let what = format!("growth, {clients} clients of one fill of {MEBIBYTES} MiB");
        let mut row = |measure: &str, ours: String, target| {
            report.row(Row { measure: format!("{what}: {measure}"), ours, target, ..Row::default() });
        };
        let is_met = Target { text: "1.00".to_owned(), met: fetched < TARGET_BYTES };
        row("bytes of the upstream over its length", format!("{fetched:.2}"), Some(is_met));
        let peak = service.peak()?;
        row("memory at its peak, MiB", format!("{peak:.1}"), Some(Target::under(TARGET_MEMORY, "MiB", peak)));
        row("until the last has it, s", format!("{:.2}", took.as_secs_f64()), None);
    }
    Ok(())
}
