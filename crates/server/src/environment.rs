//! The environment, as libraries of clouds read it.

use std::collections::HashMap;
use std::path::PathBuf;

use reqsign_core::{Env, OsEnv};

/// The environment, without empty variables: Compose passes an unset variable as `AWS_ACCESS_KEY_ID=`, which would be taken
/// for a key.
#[derive(Debug)]
pub(crate) struct Environment;

impl Env for Environment {
    fn var(&self, key: &str) -> Option<String> {
        OsEnv.var(key).filter(|value| !value.is_empty())
    }

    fn vars(&self) -> HashMap<String, String> {
        let mut all = OsEnv.vars();
        all.retain(|_, value| !value.is_empty());
        all
    }

    fn home_dir(&self) -> Option<PathBuf> {
        OsEnv.home_dir()
    }
}
