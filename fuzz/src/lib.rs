//! The fuzz targets are in the core (`testing::fuzzing`), where the parsers are. Here is what runs them: `main` with
//! libFuzzer, `tests/corpus` over what is kept.
