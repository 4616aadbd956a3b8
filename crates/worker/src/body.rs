//! Converts streams of the platform to bodies of the core, and back.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use js_sys::Uint8Array;
use js_sys::futures::JsFuture;
use registry_proxy_core::Body;
use registry_proxy_core::body::BodyError;
use send_wrapper::SendWrapper;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::native::{self, Channel, Readable, Reader};
use crate::runtime;

/// A body over a stream of the platform. Reading it copies its bytes into wasm, which suits a manifest; passing it on with
/// [`into_native`] copies nothing.
pub(crate) fn from_native(stream: Readable, length: Option<u64>) -> Body {
    let is_claimed = Rc::new(Cell::new(false));
    let handle = Handle { stream: stream.clone(), is_claimed: Rc::clone(&is_claimed) };
    let reading = Reading(SendWrapper::new(State { stream, is_claimed, reader: None, pending: None, length }));
    Body::native(reading, length, SendWrapper::new(handle))
}

/// A body as a value for `Request` and `Response`.
pub(crate) fn into_native(body: Body) -> JsValue {
    match body {
        Body::Empty => JsValue::UNDEFINED,
        Body::Full(whole) => Uint8Array::from(&*whole.take()).into(),
        Body::Native(native) => match native.handle().downcast_ref::<SendWrapper<Handle>>() {
            Some(handle) => {
                handle.is_claimed.set(true);
                let stream = JsValue::from(handle.stream.clone());
                let body = Body::Native(native);
                let length = body.length();
                if let Body::Native(native) = body
                    && let (_, Some(mut observer)) = native.take()
                {
                    // The platform sends it unseen: count all of it as sent now.
                    observer.arrived(length.unwrap_or(0));
                }
                stream
            }
            None => pumped(Body::Native(native)),
        },
        stream @ Body::Stream(_) => pumped(stream),
    }
}

/// The stream of a body made by [`from_native`]; any other body unchanged.
pub(crate) fn stream_of(body: Body) -> Result<Readable, Body> {
    match body {
        Body::Native(native) if native.handle().is::<SendWrapper<Handle>>() => {
            Ok(into_native(Body::Native(native)).unchecked_into())
        }
        other => Err(other),
    }
}

/// A stream that wasm writes chunk by chunk. No layer goes this way.
#[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
fn pumped(mut body: Body) -> JsValue {
    let channel: Channel = native::channel(body.length().map(|length| length as f64)).unchecked_into();
    let writer = channel.writable().writer();
    runtime::go_on(async move {
        while let Some(piece) = body.chunk().await {
            let sent = match piece {
                Ok(bytes) => JsFuture::from(writer.write(Uint8Array::from(&*bytes))).await,
                Err(error) => JsFuture::from(writer.abort(&error.to_string())).await.and(Err(JsValue::UNDEFINED)),
            };
            if sent.is_err() {
                return;
            }
        }
        // This fails if the reader has gone.
        let _ = JsFuture::from(writer.close()).await;
    });
    channel.readable().into()
}

/// The platform's handle of a body.
struct Handle {
    stream: Readable,
    is_claimed: Rc<Cell<bool>>,
}

/// A body that reads a stream in wasm.
struct Reading(SendWrapper<State>);

struct State {
    stream: Readable,
    is_claimed: Rc<Cell<bool>>,
    reader: Option<Reader>,
    pending: Option<JsFuture>,
    length: Option<u64>,
}

impl http_body::Body for Reading {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self.0;
        if this.is_claimed.get() {
            return Poll::Ready(None);
        }
        let reader = this.reader.get_or_insert_with(|| this.stream.reader());
        let pending = this.pending.get_or_insert_with(|| JsFuture::from(native::pull(reader)));
        let pulled = ready!(Pin::new(pending).poll(cx));
        this.pending = None;
        Poll::Ready(match pulled {
            Ok(value) if value.is_undefined() => {
                this.is_claimed.set(true);
                None
            }
            Ok(value) => Some(Ok(Frame::data(Bytes::from(value.unchecked_into::<Uint8Array>().to_vec())))),
            Err(error) => {
                this.is_claimed.set(true);
                Some(Err(BodyError::Broken(native::said(&error).into())))
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.0.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for State {
    /// Cancels a stream that nobody reads: a Worker has only six connections at a time.
    fn drop(&mut self) {
        if self.is_claimed.get() {
            return;
        }
        match &self.reader {
            Some(reader) => native::end(reader),
            None => native::end(&self.stream),
        }
    }
}
