#!/usr/bin/env bash
# Expected: a client that follows 301, 302 and 307 follows 308 as well (RFC 9110, 15.4.9: the permanent twin of 307), and
# a Location that is a path alone stays at the host and port that were asked (10.2.2).
# Seen: two npm clients of one family do not. Renovate's registry client takes the 308 for the blob: its stream ends
# without an error after the redirect's empty body; oci-registry-client fails ("Unexpected HTTP 308"). Renovate's client
# also loses the registry's port at a path alone: it connects to port 80. The Snyk client follows both.
# Matters to a proxy that redirects (to storage, or from http to https): 307 with a whole URL is what all understand.
. "$(dirname "$0")/lib/common.sh"
claim "308 to a blob gives an empty blob, or an error; a path alone loses the port"
npm_install @renovatebot/docker-registry-client@3.3.0 oci-registry-client@0.2.0 @snyk/docker-registry-v2-client@4.0.5
cat >"$TMP/hook.py" <<'PY'
import os
def answer(request, usual):
    if "/blobs/" in request.path and request.path.startswith("/v2/rr/"):
        return int(os.environ["STATUS"]), [("Location", request.path.replace("/rr/aa/", "/store/"))], b""
    return usual(request)
PY
layer=$(PYTHONPATH=$LIB python3 -c 'import registry; print(registry.digest(registry.LAYER_BYTES))')
size=$(PYTHONPATH=$LIB python3 -c 'import registry; print(len(registry.LAYER_BYTES))')
seen=$(
  for status in 307 308; do
    STATUS=$status start_registry "$TMP/hook.py"
    node_run "$REGISTRY" "$layer" "$status" <<'JS' | sed "s/ $size bytes/ the blob/"
const [registry, digest, status] = process.argv.slice(2);
const name = registry + "/rr/aa";
const renovate = () => new Promise((resolve) => {
  const client = require("@renovatebot/docker-registry-client").createClientV2({ name, insecure: true });
  client.createBlobReadStream({ digest }, (error, stream) => {
    if (error) return resolve(error.message);
    let bytes = 0;
    stream.on("data", (part) => (bytes += part.length)).on("error", (e) => resolve(e.message));
    stream.on("end", () => { client.close(); resolve(bytes + " bytes"); });
  });
});
const balena = async () => {
  const { RegistryClientV2 } = require("oci-registry-client");
  const { stream } = await new RegistryClientV2({ name, insecure: true }).createBlobReadStream({ digest });
  let bytes = 0;
  for await (const part of stream) bytes += part.length;
  return bytes + " bytes";
};
const snyk = async () => {
  const { getLayer } = require("@snyk/docker-registry-v2-client");
  return (await getLayer(registry, "rr/aa", digest, undefined, undefined, { protocol: "http:" })).length + " bytes";
};
const text = (error) => error.message.replace(/ from .*/, "");
(async () => {
  console.log(status, "renovate:", await renovate());
  console.log(status, "oci-registry-client:", await balena().catch(text));
  console.log(status, "snyk:", await snyk().catch(text));
  process.exit(0);
})();
JS
  done
)
expect "$seen" <<'WAS'
307 renovate: connect ECONNREFUSED 127.0.0.1:80
307 oci-registry-client: the blob
307 snyk: the blob
308 renovate: 0 bytes
308 oci-registry-client: Unexpected HTTP 308
308 snyk: the blob
WAS
