//! Two upstreams of one proxy, of which one lies: it says that it has what only the other has, says what that is, is
//! slow with it, and gives lengths and bytes that are wrong. What each lie may bring is written down here, case by case,
//! for every way in which clients and upstreams know each other.
//!
//! Every expectation is written by hand, from the rules of docs/reference/protocol.md, and none is computed by the code
//! that decides.

mod claims;
mod gets;
mod manifests;
mod slow;
mod town;
mod truths;
mod types;
mod wrong;
