//! Debian packages, installed without starting the services that come with some of them.
//!
//! The tests start what they need themselves. A registry on port 5000 or a Docker engine that
//! somebody did not ask for should not run afterwards; in a container they could not even start,
//! and their packages would count as broken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{find, is_root};
use crate::run::Shown;

/// Debian's way to forbid services: invoke-rc.d asks it and takes 101 for "do not".
const POLICY: &str = "/usr/sbin/policy-rc.d";
const REFUSE: &str = "#!/bin/sh\nexit 101\n";

pub(super) fn install(names: &[&str]) -> Result<(), String> {
    if find("apt-get").is_none() {
        return Err("there is no apt-get here; install the programs your own way".to_owned());
    }
    let policy = Policy::put()?;
    apt(&["update"]).run()?;
    let installed = apt(&[&["install", "-y", "--no-install-recommends"], names].concat()).run();
    drop(policy);
    if let Err(message) = installed {
        // A package whose service would not start has its programs all the same; whether they
        // are there is looked at next.
        eprintln!("xtask: {message}");
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Shown {
    let words = [&["DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    if is_root() { Shown::new("env", &words) } else { Shown::new("sudo", &words) }
}

/// Forbids services while it lives. One that is there already stays, and stays.
struct Policy {
    is_ours: bool,
}

impl Policy {
    fn put() -> Result<Self, String> {
        let path = Path::new(POLICY);
        // Without root we cannot write it; then services start, which is untidy but no error.
        let is_ours = is_root() && !path.exists();
        if is_ours {
            let written = fs::write(path, REFUSE)
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
            written.map_err(|error| format!("{POLICY}: {error}"))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if self.is_ours {
            // It has done its work; a failure here is the next package manager's to report.
            let _ = fs::remove_file(POLICY);
        }
    }
}
