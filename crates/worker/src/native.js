// What the Worker does in JavaScript, because the bytes must not enter wasm: a layer goes from stream to stream here,
// and Rust only holds the streams. Everything else is decided in Rust.
//
// Headers travel as flat lists of text, [name, value, name, value, …]: fewer crossings than one call for each.

function headersFrom(list) {
  const headers = new Headers();
  for (let i = 0; i < list.length; i += 2) headers.append(list[i], list[i + 1]);
  return headers;
}

function flat(headers) {
  const list = [];
  for (const [name, value] of headers) list.push(name, value);
  return list;
}

/** A stream that says how long it is: without that the platform sends chunks, and no Content-Length. */
export function channel(length) {
  return length === undefined ? new IdentityTransformStream() : new FixedLengthStream(length);
}

/** One request out: redirects are returned, and nothing is decoded. */
export async function send(url, method, headers, body, signal) {
  const init = { method, headers: headersFrom(headers), redirect: "manual", encodeResponseBody: "manual", signal };
  if (body !== undefined) init.body = body;
  const response = await fetch(url, init);
  return [response.status, flat(response.headers), response.body ?? undefined];
}

/** A request, taken apart. */
export function parts(request) {
  return [request.method, request.url, flat(request.headers), request.body ?? undefined];
}

/** An answer. `encodeBody` because what is coded was coded by the upstream. */
export function respond(status, headers, body) {
  return new Response(body ?? null, { status, headers: headersFrom(headers), encodeBody: "manual" });
}

/** Nobody reads on. What another request opened cannot be ended from here, and ends with that request. */
export function end(stream) {
  try {
    stream.cancel().catch(() => {});
  } catch {}
}

/** The next piece for wasm, or nothing at the end. */
export async function pull(reader) {
  const { done, value } = await reader.read();
  return done ? undefined : value;
}

// How much is read at once. Each read costs a turn of the event loop, and the platform hands out what it has.
const PIECE_BYTES = 256 * 1024;

/**
 * Sends a body to the client and a copy to the bucket, at the pace of the slower one: tee() would hold what the slower
 * one has not read yet, and an isolate has 128 MB. The bucket holds the copy against its digest; the last piece for the
 * client waits for its verdict. Either side may fail without the other.
 *
 * Gives the client's body, and a promise: "kept", "wrong" (another digest), "short" (it did not arrive), or why the bucket
 * did not take it.
 */
export function keepPassing(bucket, key, algorithm, digest, length, source, idleMs) {
  const client = new FixedLengthStream(length);
  const copy = new FixedLengthStream(length);
  const put = bucket.put(key, copy.readable, { [algorithm]: digest }).then(
    (object) => (object === null ? "the bucket took nothing" : "kept"),
    (error) => (isMismatch(error) ? "wrong" : `the bucket failed: ${error}`),
  );
  return [client.readable, pump(source, client.writable.getWriter(), copy.writable.getWriter(), put, idleMs)];
}

// R2 says 10037, BadDigest.
function isMismatch(error) {
  return /\(10037\)/.test(String(error)) || /checksum/i.test(String(error));
}

async function pump(source, client, copy, put, idleMs) {
  const reader = source.getReader({ mode: "byob" });
  let clientHere = true;
  let copyHere = true;
  const toClient = async (bytes) => {
    if (clientHere) await client.write(bytes).catch(() => (clientHere = false));
  };
  const toCopy = async (bytes) => {
    if (copyHere) await copy.write(bytes).catch(() => (copyHere = false));
  };
  // One timer for the whole, not one for each piece. Only the upstream's silence counts: a slow client may be slow.
  let isReading = true;
  let silentFor = 0;
  const watch = setInterval(() => {
    silentFor += 1;
    if (isReading && silentFor > 1) reader.cancel("nothing arrived").catch(() => {});
  }, idleMs);
  // The closed promises reject as well, and nobody else listens to them.
  client.closed.catch(() => {});
  copy.closed.catch(() => {});
  try {
    let held;
    // Two buffers take turns: a written piece has been taken by the other end, and garbage would be as long as the blob.
    const free = [new ArrayBuffer(PIECE_BYTES), new ArrayBuffer(PIECE_BYTES)];
    for (;;) {
      isReading = true;
      silentFor = 0;
      const { done, value } = await reader.read(new Uint8Array(free.pop()));
      isReading = false;
      if (done) break;
      await Promise.all([toCopy(value), held && toClient(held)]);
      if (held) free.push(held.buffer);
      held = value;
      if (!clientHere && !copyHere) throw new Error("neither side takes it");
    }
    // What is short makes this fail, and with it the put.
    if (copyHere) await copy.close().catch(() => (copyHere = false));
    const verdict = await put;
    if (verdict === "wrong") throw new Error("the bytes do not match their digest");
    if (held) await toClient(held);
    if (clientHere) await client.close().catch(() => {});
    return verdict;
  } catch (error) {
    await Promise.all([client.abort(error).catch(() => {}), copy.abort(error).catch(() => {})]);
    await reader.cancel(error).catch(() => {});
    const verdict = await put;
    return verdict === "kept" || verdict === "wrong" ? verdict : "short";
  } finally {
    clearInterval(watch);
  }
}

// The bucket: an object's facts as a list, [length, etag, sha256, sha512, body], or nothing.

function facts(object) {
  if (object === null) return undefined;
  const sums = object.checksums?.toJSON?.() ?? {};
  return [object.size, object.etag, sums.sha256, sums.sha512, object.body ?? undefined];
}

export async function bucketHead(bucket, key) {
  return facts(await bucket.head(key));
}

export async function bucketGet(bucket, key, offset, length) {
  const options = offset === undefined ? undefined : { range: { offset, length } };
  return facts(await bucket.get(key, options));
}

export async function bucketRead(bucket, key) {
  const object = await bucket.get(key);
  return object === null ? undefined : new Uint8Array(await object.arrayBuffer());
}

export async function bucketWrite(bucket, key, value, ifAbsent) {
  const options = ifAbsent ? { onlyIf: new Headers({ "If-None-Match": "*" }) } : undefined;
  return (await bucket.put(key, value, options)) !== null;
}

export async function bucketDelete(bucket, key) {
  await bucket.delete(key);
}

/** One page: [cursor, key, size, uploaded (ms), key, size, uploaded, …]. */
export async function bucketList(bucket, prefix, cursor) {
  const page = await bucket.list({ prefix, cursor });
  const list = [page.truncated ? page.cursor : undefined];
  for (const object of page.objects) list.push(object.key, object.size, object.uploaded.getTime());
  return list;
}

/** Text of the environment: variables and secrets, as [name, value, …]. Bindings are objects, and are not among it. */
export function variables(env) {
  const list = [];
  for (const [name, value] of Object.entries(env)) {
    if (typeof value === "string") list.push(name, value);
    else if (typeof value === "boolean" || typeof value === "number") list.push(name, String(value));
  }
  return list;
}

export function say(isError, line) {
  if (isError) console.error(line);
  else console.log(line);
}

/** Wakes up later; the abort of `signal` forgets it. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => clearTimeout(timer));
  });
}

export function random(bytes) {
  const filled = new Uint8Array(bytes);
  crypto.getRandomValues(filled);
  return filled;
}

// After a panic the memory of the instance is as it was in its midst: the next request gets a new one.
let broken = false;

export function panicked(message) {
  console.error(message);
  broken = true;
}

export function takeBroken() {
  const was = broken;
  broken = false;
  return was;
}
