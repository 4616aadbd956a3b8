//! skopeo: copies images without unpacking them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::helper;
use crate::digest::{self, Digests};
use crate::failure::ensure;
use crate::image::tiers::patience;
use crate::process::{Finished, Program, Tool};
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_mins(6);

/// skopeo with a home of its own.
pub struct Skopeo {
    home: TempDir,
}

/// An image that skopeo has copied to a folder.
pub struct Copied {
    folder: TempDir,
}

impl Skopeo {
    pub fn new() -> Outcome<Self> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("registries.conf"), "")?;
        Ok(Self { home })
    }

    /// Copies every platform of an image, `ADDRESS/REPOSITORY:TAG` or `@DIGEST`, to a folder.
    pub fn pull(&self, image: &str, options: &[&str]) -> Outcome<Copied> {
        let folder = tempfile::tempdir()?;
        self.copy(
            &format!("docker://{image}"),
            &format!("dir:{}", folder.path().display()),
            &[&["--src-tls-verify=false"], options].concat(),
        )?
        .success()?;
        Ok(Copied { folder })
    }

    /// Copies every platform from any source to a folder.
    pub fn copy_out(&self, source: &str) -> Outcome<Copied> {
        let folder = tempfile::tempdir()?;
        self.copy(source, &format!("dir:{}", folder.path().display()), &[])?.success()?;
        Ok(Copied { folder })
    }

    /// Copies every platform of an image, `ADDRESS/REPOSITORY:TAG`, to any target.
    pub fn copy_to(&self, image: &str, target: &str) -> Outcome {
        self.copy(&format!("docker://{image}"), target, &["--src-tls-verify=false"])?.success()?;
        Ok(())
    }

    /// Tries the same and gives the message if it fails as it should.
    pub fn pull_refused(&self, image: &str, options: &[&str]) -> Outcome<String> {
        let folder = tempfile::tempdir()?;
        self.copy(
            &format!("docker://{image}"),
            &format!("dir:{}", folder.path().display()),
            &[&["--src-tls-verify=false"], options].concat(),
        )?
        .refusal()
    }

    /// Copies every platform from any source to `ADDRESS/REPOSITORY:TAG`.
    pub fn push(&self, source: &str, image: &str, options: &[&str]) -> Outcome {
        self.try_push(source, image, options)?.success()?;
        Ok(())
    }

    /// Tries the same.
    pub fn try_push(&self, source: &str, image: &str, options: &[&str]) -> Outcome<Finished> {
        self.copy(source, &format!("docker://{image}"), &[&["--dest-tls-verify=false"], options].concat())
    }

    /// The bytes of what a name leads to, which skopeo does not try to understand.
    pub fn raw_manifest(&self, image: &str) -> Outcome<String> {
        self.program()?
            .arguments(["inspect", "--raw", "--tls-verify=false"])
            .argument(format!("docker://{image}"))
            .run(DEADLINE)?
            .success()
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> Outcome<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            tags: Vec<String>,
        }
        let output = self
            .program()?
            .arguments(["list-tags", "--tls-verify=false"])
            .argument(format!("docker://{repository}"))
            .run(DEADLINE)?
            .success()?;
        Ok(serde_json::from_str::<Listed>(&output)?.tags)
    }

    /// Deletes what a name leads to; skopeo asks for its digest first, and deletes that.
    pub fn delete(&self, image: &str) -> Outcome {
        self.program()?
            .arguments(["delete", "--tls-verify=false"])
            .argument(format!("docker://{image}"))
            .run(DEADLINE)?
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
        helper::install(self.home.path(), &self.home.path().join("auth.json"), registry)?;
        Ok(self)
    }

    /// What the helper has stored.
    pub fn stored_logins(&self) -> Outcome<String> {
        helper::stored(self.home.path())
    }

    /// Logs out.
    pub fn logout(&self, registry: &str) -> Outcome {
        self.program()?.arguments(["logout", registry]).run(DEADLINE)?.success()?;
        Ok(())
    }

    fn copy(&self, source: &str, target: &str, options: &[&str]) -> Outcome<Finished> {
        self.program()?
            .arguments(["--insecure-policy", "copy", "--all", "--preserve-digests"])
            .arguments(options)
            .arguments([source, target])
            .run(patience(DEADLINE))
    }

    fn program(&self) -> Outcome<Program> {
        let home = self.home.path();
        Ok(Program::tool(Tool::SKOPEO)?
            .variable("PATH", helper::path(home)?)
            .arguments(["--registries-conf", &home.join("registries.conf").display().to_string()])
            .variable("HOME", home)
            .variable("XDG_RUNTIME_DIR", home)
            .variable("REGISTRY_AUTH_FILE", home.join("auth.json"))
            .variable("TMPDIR", home))
    }
}

impl Copied {
    /// The digests of all files, hashed again, each of which must be in its file's name.
    pub fn digests(&self) -> Outcome<Digests> {
        let mut digests = Digests::new();
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            let name = file_name(&path)?;
            if name == "version" {
                continue;
            }
            let found = digest::of_file(&path)?;
            let named = name.strip_suffix(".manifest.json").unwrap_or(name);
            ensure(
                named == "manifest.json" || named == digest::hex(&found),
                format_args!("the file {name} has the digest {found}"),
            )?;
            digests.insert(found);
        }
        Ok(digests)
    }

    /// The digest of the manifest or index that the name led to.
    pub fn manifest(&self) -> Outcome<String> {
        digest::of_file(&self.folder.path().join("manifest.json"))
    }
}

fn file_name(path: &Path) -> Outcome<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.context("a file name without letters")
}
