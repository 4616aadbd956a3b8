//! As much of an HTTP/2 client (RFC 9113) as the measurements need: one that reads nothing, and one that downloads.

mod download;
mod frame;
mod unread;

pub(crate) use self::download::download;
pub(crate) use self::unread::Unread;
