//! HTTP for fixtures: small servers on a runtime of their own, and a client that shows what the
//! real clients hide (status codes, redirects, headers).

mod client;
mod pace;
mod server;

pub use client::{Answer, Client, Question};
pub use pace::Pace;
pub use server::{Body, Handler, Server, connector, empty, text};
