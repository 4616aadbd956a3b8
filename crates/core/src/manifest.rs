//! GET and HEAD of a manifest: its bytes are checked against its digest, and never changed (P-77 … P-90).
//!
//! - [`lookup_error`]: why there is no manifest to serve
//! - [`upstream`]: asking the registry, and verifying what it sends
//! - [`plan`]: what the cache has, and what to do about it; [`stale`]: whether a stale tag may be served
//! - [`fetch`]: fetching a manifest into the cache once, however many clients ask
//! - [`by_digest`]: a manifest by its digest that the upstream confirms or sends
//! - [`cached`]: the handler's work with a cache; [`revalidate`]: the part of it for a tag that is due; [`held`]: for
//!   a tag whose rule holds new digests
//! - [`moved`]: tells the operator of tags that moved
//! - [`find`]: all of these together
//! - [`signatures`]: the signatures of a manifest; [`judge`]: whether it has the one that its policy wants; [`ask_service`]:
//!   what the policy's service says of it; [`admission`]: whether it, or a blob, may leave then
//! - [`blocked`]: whether only blocked manifests name a blob
//! - [`handler`]: the answer to the client
//! - [`signed`] `o`: the digest of a manifest of schema 1

mod admission;
mod ask_service;
mod blocked;
mod by_digest;
mod cached;
mod fetch;
mod find;
mod handler;
mod held;
mod judge;
mod lookup_error;
mod moved;
mod plan;
mod revalidate;
mod signatures;
mod signed;
mod stale;
mod upstream;

pub(crate) use self::admission::{admit_blob, denied, unverified};
pub(crate) use self::ask_service::known_service_verdict;
pub(crate) use self::handler::get;
pub(crate) use self::held::{why_held, withheld_digest};
pub(crate) use self::judge::known_verdict;
pub(crate) use self::plan::{CacheLookup, Plan, known};
pub(crate) use self::stale::may_be_stale;
