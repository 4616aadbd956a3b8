//! What a fuzzer feeds the parsers with, and what must hold of whatever they take: not only that nothing panics.
//!
//! Each target is a function of bytes. `fuzz/` runs them: with libFuzzer for minutes, and over the kept corpus in every
//! test run.

mod asked;
mod kept;

/// A parser under test.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 9] = [
    ("challenge", asked::challenge),
    ("config", asked::config),
    ("digest", asked::digest),
    ("key", kept::key),
    ("manifest", kept::manifest),
    ("name", asked::name),
    ("range", asked::range),
    ("record", kept::record),
    ("route", asked::route),
];
