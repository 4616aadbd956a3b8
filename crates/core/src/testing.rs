//! Fakes for tests, tied to no runtime: whatever takes time here takes it from the [`Clock`](crate::platform::Clock)
//! that the test brings along.
//!
//! - [`Network`]: hosts in memory behind `Transport`, the faults that a test scripts, and a log of all that was sent
//! - [`Registry`]: a registry on that network, with its token server and its storage
//! - [`CountingEntropy`], [`Users`]: the rest of a platform
//! - [`SlowStore`]: a store that takes its time
//! - [`contract`]: what every store promises

mod body;
pub mod contract;
#[doc(hidden)]
pub mod fuzzing;
mod network;
mod passing;
mod platform;
mod registry;
mod slow;

pub use self::network::{Answer, Fault, Network, Sent, Server};
pub use self::passing::{NativeBodies, PassingStore};
pub use self::platform::{CountingEntropy, Users, stored_nowhere};
pub use self::registry::{Gate, Registry, sha256};
pub use self::slow::{Pause, SlowStore};
