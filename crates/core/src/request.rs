//! One request on its way through the proxy: how its client sees us, what its handler works with, what the handler returns,
//! and what is logged of it.
//!
//! - [`env`]: what all requests share
//! - [`context`]: one admitted request
//! - [`client_view`] `o`: scheme and host for realm and Location; who the client is behind a reverse proxy
//! - [`own`]: a request of our own in a client's name
//! - [`response`]: what a handler returns
//! - [`fit`]: adapts a response to what the platform lets through
//! - [`access_log`]: one log line and one count for each request
//! - [`refusals`] `o`: which refusals an operator wants to hear of
//! - [`invoke`]: invocations that are begun for this request's blobs
//! - [`id`] `o`: names of requests, in the log and in the answer

pub(crate) mod access_log;
pub(crate) mod client_view;
pub(crate) mod context;
pub(crate) mod env;
pub(crate) mod fit;
pub(crate) mod id;
pub(crate) mod invoke;
mod own;
pub(crate) mod refusals;
pub(crate) mod response;
mod short_text;

pub(crate) use self::context::RequestContext;
pub(crate) use self::env::{Env, Settings, Visibility};
pub(crate) use self::own::OwnRequest;
pub(crate) use self::response::{HandlerResponse, HeldHeader};
