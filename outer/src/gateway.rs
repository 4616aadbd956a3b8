//! The platforms' limits, enforced: a gateway stands between the clients and the function, as the platform does.
//!
//! Read in this order. [`rules`] says what each platform allows, as data. [`relay`] holds every exchange to the rules,
//! and [`ledger`] writes down what passed and what was broken. [`turnstile`] freezes the process when nobody waits for
//! it. [`lambda`] adds the emulator of AWS Lambda's own interfaces.
//!
//! Where a document leaves room, the stricter reading is enforced: a megabyte is a million bytes.

pub mod lambda;
pub mod ledger;
mod relay;
pub mod rules;
pub mod turnstile;

pub use ledger::{Breach, Exchange, Ledger, Limit};
pub use relay::Gateway;
pub use rules::Rules;
pub use turnstile::Turnstile;
