//! Fakes for tests, tied to no runtime: whatever takes time here takes it from the [`Clock`](crate::platform::Clock)
//! that the test brings along.
//!
//! - [`Network`]: hosts in memory behind `Transport`, the faults that a test scripts, and a log of all that was sent
//! - [`Registry`]: a registry on that network, with its token server and its storage
//! - [`CountingEntropy`], [`Users`], [`TestKey`], [`TestSignatures`]: the rest of a platform
//! - [`HookedStore`]: a store that takes its time, counts or fails, as a test wants it
//! - [`contract`]: what every store promises
//! - [`zoo`]: registries as they are reported to be, and what is expected of each

mod body;
pub mod contract;
#[doc(hidden)]
pub mod fuzzing;
mod hooked;
mod network;
mod passing;
mod platform;
mod registry;
pub mod zoo;

pub use self::hooked::{Hook, HookedStore, Pause, Pauses, Step};
pub use self::network::{Answer, Fault, Network, Sent, Server};
pub use self::passing::{NativeBodies, PassingStore};
pub use self::platform::{CountingEntropy, TestBundles, TestKey, TestSignatures, Users, stored_nowhere};
pub use self::registry::{Gate, Registry, sha256};
