//! podman: pulls and unpacks without a daemon.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::{Inspected, Unpacked, helper};
use crate::Outcome;
use crate::image::tiers::patience;
use crate::process::{Finished, Program, Tool};

const DEADLINE: Duration = Duration::from_mins(3);

/// podman with storage and configuration of its own.
pub struct Podman {
    folder: TempDir,
}

impl Podman {
    /// `registries` is its registries.conf: mirrors are set there.
    pub fn new(registries: &str) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let settings = folder.path().join("home/.config/containers");
        fs::create_dir_all(&settings)?;
        fs::create_dir_all(folder.path().join("scratch"))?;
        fs::write(folder.path().join("registries.conf"), registries)?;
        // Without recommended packages there is no policy on the machine, and podman wants one.
        fs::write(folder.path().join("auth.json"), "{}")?;
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(settings.join("policy.json"), policy)?;
        Ok(Self { folder })
    }

    pub fn pull(&self, image: &str, options: &[&str]) -> Outcome<Unpacked> {
        self.try_pull(image, options)?.success()?;
        let output = self.program()?.arguments(["image", "inspect", image]).run(DEADLINE)?.success()?;
        Inspected::parse(&output)
    }

    /// Tries to pull.
    pub fn try_pull(&self, image: &str, options: &[&str]) -> Outcome<Finished> {
        self.program()?
            .arguments(["pull", "--quiet", "--platform", "linux/amd64"])
            .arguments(options)
            .argument(image)
            .run(patience(DEADLINE))
    }

    /// Loads an archive; what is there by this name then.
    pub fn load(&self, archive: &Path, image: &str) -> Outcome<Unpacked> {
        self.program()?.arguments(["load", "--quiet", "--input"]).argument(archive).run(DEADLINE)?.success()?;
        let output = self.program()?.arguments(["image", "inspect", image]).run(DEADLINE)?.success()?;
        Inspected::parse(&output)
    }

    /// Saves what was pulled, as a `docker-archive` or an `oci-archive`.
    pub fn save(&self, image: &str, format: &str, archive: &Path) -> Outcome {
        self.program()?
            .arguments(["save", "--quiet", "--format", format, "--output"])
            .argument(archive)
            .argument(image)
            .run(DEADLINE)?
            .success()?;
        Ok(())
    }

    /// Pushes what was pulled to `ADDRESS/REPOSITORY:TAG`.
    pub fn push(&self, image: &str, target: &str) -> Outcome {
        self.program()?
            .arguments(["push", "--quiet", "--tls-verify=false", image])
            .argument(format!("docker://{target}"))
            .run(patience(DEADLINE))?
            .success()?;
        Ok(())
    }

    /// Logs in; later pulls through this value use the login.
    pub fn login(&self, registry: &str, user: &str, password: &str) -> Outcome<Finished> {
        self.program()?
            .arguments(["login", "--tls-verify=false", "--username", user])
            .arguments(["--password-stdin", registry])
            .input(password)
            .run(DEADLINE)
    }

    /// Gets its logins at `registry` from our credential helper.
    pub fn with_helper(self, registry: &str) -> Outcome<Self> {
        helper::install(&self.folder.path().join("home"), &self.folder.path().join("auth.json"), registry)?;
        Ok(self)
    }

    /// What the helper has stored.
    pub fn stored_logins(&self) -> Outcome<String> {
        helper::stored(&self.folder.path().join("home"))
    }

    /// Logs out.
    pub fn logout(&self, registry: &str) -> Outcome {
        self.program()?.arguments(["logout", registry]).run(DEADLINE)?.success()?;
        Ok(())
    }

    fn program(&self) -> Outcome<Program> {
        let folder = self.folder.path();
        let inside = |name: &str| folder.join(name);
        Ok(Program::tool(Tool::PODMAN)?
            .variable("PATH", helper::path(&inside("home"))?)
            .argument("--root")
            .argument(inside("root"))
            .argument("--runroot")
            .argument(inside("run"))
            .argument("--tmpdir")
            .argument(inside("state"))
            .arguments(["--storage-driver", "vfs", "--events-backend", "none"])
            .arguments(["--cgroup-manager", "cgroupfs", "--log-level", "warn"])
            .variable("HOME", inside("home"))
            .variable("TMPDIR", inside("scratch"))
            .variable("XDG_RUNTIME_DIR", inside("run"))
            .variable("REGISTRY_AUTH_FILE", inside("auth.json"))
            .variable("CONTAINERS_REGISTRIES_CONF", inside("registries.conf")))
    }
}
