//! Real clients pull and push through the finished binary.
//!
//! The binary is named by `PROXY_UNDER_TEST`; `cargo xtask test` builds it and sets that. The
//! images are made once and kept in the build folder. Every test has registries, a proxy and
//! clients of its own, so the tests may run in any order and side by side.

mod stage;

mod fixtures;

mod configured;
mod containerd;
mod docker;
mod near_cache;
mod podman;
mod skopeo;

mod accounts;
mod bucket;
mod bundles;
mod cache;
mod cloud_logins;
mod conformance;
mod crowd;
mod deletions;
mod held;
mod lifecycle;
mod monitoring;
mod original_variables;
mod pushes;
mod ranges;
mod redirects;
mod reported;
mod scanned;
mod signed;
mod v6;
mod warm;
