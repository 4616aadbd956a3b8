//! The core as its users see it: requests into `Proxy::handle`, answers out, on fakes and a virtual clock. Every
//! answer of every test is held against the invariants.

mod auth;
mod blob;
mod budget;
mod cache;
mod clock;
mod coded;
mod evidence;
mod explain;
mod failures;
mod fills;
mod fixture;
mod graphs;
mod guard;
mod guesses;
mod hostile;
mod invariants;
mod isolate;
mod janitor;
mod limited;
mod lists;
mod login_upstream;
mod manifest;
mod original;
mod overload;
mod platforms;
mod push;
mod pushed;
mod record;
mod redirects;
mod refused;
mod routing;
mod stale;
mod stores;
mod tokens;
mod troubles;
