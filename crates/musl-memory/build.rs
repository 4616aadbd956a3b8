//! Compiles `memory.c` where it takes the place of musl's functions.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=src/memory.c");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_wanted = is("CARGO_CFG_TARGET_ENV", "musl") || env::var_os("CARGO_FEATURE_EVERYWHERE").is_some();
    if !is_wanted || !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    cc::Build::new()
        .file("src/memory.c")
        // Whatever the profile: without optimisation these would be slower than musl's.
        .opt_level(2)
        .debug(false)
        // A compiler must not turn their loops into calls of themselves.
        .flag("-ffreestanding")
        .flag("-fno-builtin")
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        .compile("registry_proxy_musl_memory");
}
