//! One fuzz target under libFuzzer, named by `REGISTRY_PROXY_FUZZ_TARGET`. Started by `cargo xtask fuzz`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use registry_proxy_core::testing::fuzzing::Target;
use registry_proxy_fuzz::targets;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("REGISTRY_PROXY_FUZZ_TARGET").expect("REGISTRY_PROXY_FUZZ_TARGET names a target");
    let targets = targets();
    let found = targets.iter().find(|(name, _)| *name == wanted);
    let names = || targets.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    found.unwrap_or_else(|| panic!("there is no target `{wanted}`: {:?}", names())).1
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
