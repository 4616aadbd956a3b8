//! Every kept input, and changed ones, in every test run.

use registry_proxy_fuzz::{replay, targets};

/// How many changed inputs each target is given.
const CHANGES: usize = 20_000;
/// The same for a target that runs the whole proxy for each.
const CHANGES_OF_ANSWERS: usize = 2_000;

fn run(name: &str) {
    let (_, target) = *targets().iter().find(|(known, _)| *known == name).expect("a target");
    replay(name, target, if name == "answers" { CHANGES_OF_ANSWERS } else { CHANGES });
}

macro_rules! names {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
    };
}

names!(answers challenge config digest key manifest name range record route);

#[test]
fn no_target_is_left_out() {
    let mut names: Vec<&str> = targets().iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(NAMES, names);
}
