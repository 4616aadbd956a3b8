//! Requests per second, counted by `wrk`, for one path after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

const SCRIPT: &str = "rotate.lua";
const PATHS: &str = "paths";

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) requests: u32,
}

/// What is asked for.
pub(crate) struct Load {
    room: PathBuf,
}

impl Load {
    /// These paths, in turn.
    pub(crate) fn new(room: &Path, paths: &[String]) -> Result<Self> {
        fs::write(room.join(SCRIPT), include_str!("rotate.lua"))?;
        fs::write(room.join(PATHS), paths.join("\n"))?;
        Ok(Self { room: room.to_owned() })
    }

    /// Sends requests to an origin, such as `http://127.0.0.1:80`, over 32 connections for some seconds.
    pub(crate) fn run(&self, origin: &str, seconds: u32) -> Result<Run> {
        let output = Command::new("wrk")
            .current_dir(&self.room)
            .args(["-t2", "-c32", "--timeout", "5s", "-s", SCRIPT])
            .arg(format!("-d{seconds}s"))
            .args([origin, "--", PATHS])
            .output()
            .map_err(|error| format!("wrk: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("wrk failed: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        read(&text)
    }
}

fn read(text: &str) -> Result<Run> {
    // A fast failure must never pass for a fast answer.
    for sign in ["Non-2xx", "Socket errors"] {
        if let Some(line) = text.lines().find(|line| line.contains(sign)) {
            return Err(format!("wrk saw failures: {}", line.trim()).into());
        }
    }
    let per_second = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:")?.trim().parse().ok());
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    per_second
        .zip(requests)
        .map(|(per_second, requests)| Run { per_second, requests })
        .ok_or_else(|| format!("wrk said nothing usable:\n{text}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 5s test @ http://127.0.0.1:1/
  2 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.15ms    1.02ms  21.46ms   91.30%
  152034 requests in 5.02s, 266.81MB read
Requests/sec:  30285.66
Transfer/sec:     53.15MB
";

    #[test]
    fn a_good_run() {
        let run = read(TEXT).unwrap();
        assert_eq!(run, Run { per_second: 30285.66, requests: 152_034 });
    }

    #[test]
    fn failures_are_not_figures() {
        let text = format!("{TEXT}  Non-2xx or 3xx responses: 3\n");
        assert!(read(&text).is_err());
        assert!(read("").is_err());
    }
}
