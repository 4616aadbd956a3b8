//! The fuzz targets of the parsers are in the core (`testing::fuzzing`), where the parsers are; [`answers`] runs the whole
//! core. Here is what runs them: `main` with libFuzzer, `tests/corpus` over what is kept. HTTP/2 frames are a target of the
//! server, which runs its own tests with [`replay`].

pub mod answers;
mod replay;

use registry_proxy_core::testing::fuzzing::{TARGETS, Target};

pub use self::replay::replay;

/// All targets of this crate, by name.
pub fn targets() -> Vec<(&'static str, Target)> {
    let mut targets = TARGETS.to_vec();
    targets.push(("answers", answers::answers));
    targets
}
