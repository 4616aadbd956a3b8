//! What all tests start from.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use registry_proxy_outer::proxy::{Proxy, Setup};
use registry_proxy_outer::registry::{Account, Registry, Seed, TokenServer};
use registry_proxy_outer::{Failure, Outcome};

/// May pull and push private/ and team/.
pub(crate) const ALICE: Account =
    Account { user: "alice", password: "wonder:land", repositories: &["private/", "team/"], may_push: true };

/// Has an account and no rights beyond everybody's.
pub(crate) const BOB: Account = Account { user: "bob", password: "builder", repositories: &[], may_push: false };

/// The images, made by whichever test comes first.
pub(crate) fn seed() -> Outcome<&'static Seed> {
    static SEED: OnceLock<Result<Seed, String>> = OnceLock::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let seed = SEED.get_or_init(|| Seed::prepare(folder).map_err(|failure| format!("{failure:?}")));
    seed.as_ref().map_err(|message| Failure::new(message.clone()))
}

/// Makes three tests of each of these: what is pushed, deleted or asked for in part must come out the same whatever the
/// proxy keeps content in.
macro_rules! with_every_store {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use registry_proxy_outer::Outcome;
            use registry_proxy_outer::proxy::Store;

            #[test]
            fn without_a_store() -> Outcome {
                super::$test(Store::None)
            }

            #[test]
            fn in_memory() -> Outcome {
                super::$test(Store::Memory)
            }

            #[test]
            fn in_files() -> Outcome {
                super::$test(Store::File)
            }
        })+
    };
}

pub(crate) use with_every_store;

/// Engines take a machine's whole attention: one of them at a time.
pub(crate) fn engine_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A user of the proxy's own password file.
pub(crate) const DAVE: (&str, &str) = ("dave", "open sesame");

/// DAVE, as `--creds` options want it.
pub(crate) const DAVE_PAIR: &str = "dave:open sesame";

/// ALICE, as `--creds` options want it.
pub(crate) const ALICE_PAIR: &str = "alice:wonder:land";

/// BOB, as `--creds` options want it.
pub(crate) const BOB_PAIR: &str = "bob:builder";

/// A proxy with one upstream, `reg.test`, that is also the default.
pub(crate) fn proxy_to(registry: &Registry) -> Outcome<Proxy> {
    Setup::new().upstream("reg.test", registry.address(), &["default = true"]).start()
}

/// Line of an upstream's section that lets its password go to the token server.
pub(crate) fn realms(tokens: &TokenServer) -> String {
    format!("realms = [\"{}\"]", tokens.realm())
}
