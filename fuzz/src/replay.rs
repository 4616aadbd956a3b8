//! Every kept input, and what comes of changing them: without counting coverage, it finds what was found once, and what
//! is near. The changes are the same in every run, so that a failure comes from the code that changed; with
//! `REGISTRY_PROXY_FUZZ_SECONDS` they are others each time, for as long as it says.

use std::cell::Cell;
use std::fs;
use std::panic::{RefUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::PathBuf;
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const VARIABLE: &str = "REGISTRY_PROXY_FUZZ_SECONDS";

/// Numbers that look random (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).expect("less than the limit")
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\0\n\r\t \"%&'()*+,-./09:;=?@AZ[\\]_az{}\x7f\xff";
        if self.below(2) == 0 { TELLING[self.below(TELLING.len())] } else { self.0.to_le_bytes()[3] }
    }

    /// Another input, made of those there are.
    fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = at + self.below((input.len() - at).min(8) + 1);
            match self.below(5) {
                0 => drop(input.drain(at..end)),
                1 => input.insert(at, self.byte()),
                2 if at < input.len() => input[at] = self.byte(),
                3 => {
                    let again = input[at..end].to_vec();
                    input.splice(at..at, again);
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
            }
        }
        input
    }
}

thread_local! {
    /// Panics of this thread so far, those that a runtime catches among them.
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

fn count_panics() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            before(panic);
        }));
    });
}

fn check(name: &str, target: &(impl Fn(&[u8]) + RefUnwindSafe), input: &[u8]) {
    let before = PANICS.get();
    let is_well = catch_unwind(|| target(input)).is_ok() && PANICS.get() == before;
    // The panic has said what is wrong; this says of what.
    assert!(is_well, "{name} fails at b\"{}\"", input.escape_ascii());
}

/// Gives a target all that `fuzz/corpus` keeps for it, and so many changed inputs, if the environment says nothing else.
///
/// # Panics
///
/// Where the target fails, or nothing is kept for it.
pub fn replay(name: &str, target: impl Fn(&[u8]) + RefUnwindSafe, changes: usize) {
    count_panics();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).expect("its bytes")).collect();
    assert!(!corpus.is_empty(), "nothing is kept in {}", folder.display());
    for input in &corpus {
        check(name, &target, input);
    }
    let Ok(seconds) = std::env::var(VARIABLE) else {
        let mut dice = Dice(SEED);
        for _ in 0..changes {
            check(name, &target, &dice.change(&corpus));
        }
        return;
    };
    let until = Instant::now() + Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is set");
    let mut dice = Dice(since.as_secs() ^ (u64::from(since.subsec_nanos()) << 32) | 1);
    while Instant::now() < until {
        for _ in 0..100 {
            check(name, &target, &dice.change(&corpus));
        }
    }
}
