//! Real clients pull real images through each serverless platform's limits.
//!
//! A gateway between the clients and the finished binary enforces what the platform enforces; see
//! `registry_proxy_outer::gateway`. [`gateway`] tests that gateway, [`limits`] that a proxy which knows nothing of a
//! platform's limits breaks them, and [`pulls`] and [`answers`] that ours does not. [`image`] pulls through the packaged
//! image, started as it is. In [`held`] a tag moves that a rule holds.

mod answers;
mod gateway;
mod held;
mod image;
mod limits;
mod pulls;
mod stage;
