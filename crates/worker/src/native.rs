//! The functions of `native.js`, for Rust.

use js_sys::{Array, Promise};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};

#[wasm_bindgen(module = "/src/native.js")]
extern "C" {
    pub(crate) fn channel(length: Option<f64>) -> JsValue;
    pub(crate) fn send(url: &str, method: &str, headers: Array, body: JsValue, signal: JsValue) -> Promise;
    pub(crate) fn parts(request: &JsValue) -> Array;
    pub(crate) fn respond(status: u16, headers: Array, body: JsValue) -> JsValue;
    pub(crate) fn end(stream: &JsValue);
    pub(crate) fn pull(reader: &JsValue) -> Promise;

    #[wasm_bindgen(js_name = keepPassing)]
    pub(crate) fn keep_passing(
        bucket: &JsValue,
        key: &str,
        algorithm: &str,
        digest: &str,
        length: f64,
        source: JsValue,
        idle_ms: f64,
    ) -> Array;

    #[wasm_bindgen(js_name = bucketHead)]
    pub(crate) fn bucket_head(bucket: &JsValue, key: &str) -> Promise;
    #[wasm_bindgen(js_name = bucketGet)]
    pub(crate) fn bucket_get(bucket: &JsValue, key: &str, offset: Option<f64>, length: Option<f64>) -> Promise;
    #[wasm_bindgen(js_name = bucketRead)]
    pub(crate) fn bucket_read(bucket: &JsValue, key: &str) -> Promise;
    #[wasm_bindgen(js_name = bucketWrite)]
    pub(crate) fn bucket_write(bucket: &JsValue, key: &str, value: JsValue, if_absent: bool) -> Promise;
    #[wasm_bindgen(js_name = bucketDelete)]
    pub(crate) fn bucket_delete(bucket: &JsValue, key: &str) -> Promise;
    #[wasm_bindgen(js_name = bucketList)]
    pub(crate) fn bucket_list(bucket: &JsValue, prefix: &str, cursor: JsValue) -> Promise;

    pub(crate) fn variables(env: &JsValue) -> Array;
    pub(crate) fn say(is_error: bool, line: &str);
    pub(crate) fn sleep(ms: f64, signal: JsValue) -> Promise;
    pub(crate) fn random(bytes: u32) -> js_sys::Uint8Array;
    pub(crate) fn panicked(message: &str);
}

/// Functions and types of the platform.
#[wasm_bindgen]
extern "C" {
    pub(crate) type AbortController;
    #[wasm_bindgen(constructor)]
    pub(crate) fn new() -> AbortController;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn signal(this: &AbortController) -> JsValue;
    #[wasm_bindgen(method)]
    pub(crate) fn abort(this: &AbortController);

    /// A `ReadableStream`.
    #[derive(Clone)]
    pub(crate) type Readable;
    #[wasm_bindgen(method, js_name = getReader)]
    pub(crate) fn reader(this: &Readable) -> Reader;

    /// Its reader.
    #[derive(Clone)]
    pub(crate) type Reader;

    /// A stream with two ends.
    pub(crate) type Channel;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn readable(this: &Channel) -> Readable;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn writable(this: &Channel) -> Writable;

    /// A `WritableStream`.
    pub(crate) type Writable;
    #[wasm_bindgen(method, js_name = getWriter)]
    pub(crate) fn writer(this: &Writable) -> Writer;

    /// Its writer.
    pub(crate) type Writer;
    #[wasm_bindgen(method)]
    pub(crate) fn write(this: &Writer, bytes: js_sys::Uint8Array) -> Promise;
    #[wasm_bindgen(method)]
    pub(crate) fn close(this: &Writer) -> Promise;
    #[wasm_bindgen(method)]
    pub(crate) fn abort(this: &Writer, why: &str) -> Promise;

    /// The context of one request.
    #[derive(Clone)]
    pub(crate) type Context;
    #[wasm_bindgen(method, js_name = waitUntil)]
    pub(crate) fn wait_until(this: &Context, work: Promise);
}

/// A thrown value as text.
pub(crate) fn said(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{error:?}"),
    }
}

/// A JavaScript number as an integer.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
pub(crate) fn integer(value: &JsValue) -> Option<u64> {
    value.as_f64().filter(|number| (0.0..=9_007_199_254_740_992.0).contains(number)).map(|number| number as u64)
}

/// A flat list of names and values.
pub(crate) fn pairs(list: &Array) -> Vec<(String, String)> {
    let texts: Vec<String> = list.iter().filter_map(|value| value.as_string()).collect();
    texts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}
