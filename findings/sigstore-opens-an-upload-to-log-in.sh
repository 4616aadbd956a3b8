#!/usr/bin/env bash
# Expected: whoever asks for the digest of a tag sends GET or HEAD of the manifest, with a challenge from GET /v2/ or from
# that request (OCI distribution spec, "Pulling manifests"; distribution, "Token Authentication Specification").
# Seen: @sigstore/oci begins every call that has credentials, reading ones too, with POST /v2/<name>/blobs/uploads/, to
# get a challenge. The upload that a registry without login opens then (202) is left behind, and the call fails: the
# answer has no challenge ("Invalid challenge"); only 200, which no registry answers there, counts as "already logged in".
# Matters to a proxy: a read-only one has to answer this POST with 401 and a challenge where it knows challenges, before it
# says that it takes no uploads; and one that passes the POST on opens an upload at the upstream for each reading.
. "$(dirname "$0")/lib/common.sh"
claim "getDigest of @sigstore/oci opens an upload, and does not work with a registry without login"
npm_install @sigstore/oci@0.7.2
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    if request.method == "POST":
        return 202, [("Location", request.path + "u1")], b""
    return usual(request)
PY
cat >"$TMP/with-login.py" <<'PY'
def answer(request, usual):
    if request.path == "/token":
        return 200, [("Content-Type", "application/json")], b'{"token":"T"}'
    if request.headers.get("Authorization") == "Bearer T":
        return usual(request)
    realm = f"http://127.0.0.1:{request.port}/token"
    return 401, [("WWW-Authenticate", f'Bearer realm="{realm}",service="s",scope="repository:r/a:pull"')], b"{}"
PY
get_digest() {
  node_run "$REGISTRY" <<'JS'
const { getImageDigest } = require("@sigstore/oci");
const credentials = { username: "user", password: "password" };
getImageDigest({ imageName: process.argv[2] + "/r/a", imageTag: "t", credentials })
  .then((digest) => console.log(digest), (error) => console.log(error.message + ": " + error.cause.message));
JS
}
seen=$(
  start_registry "$TMP/hook.py"
  echo "without login:"
  get_digest | tidy
  requests
  start_registry "$TMP/with-login.py"
  echo "with login:"
  get_digest | tidy
  requests
)
expect "$seen" <<'WAS'
without login:
Error retrieving image digest from container registry: Invalid challenge: 
POST /v2/r/a/blobs/uploads/
with login:
DIGEST
POST /v2/r/a/blobs/uploads/
GET /token?service=s&scope=repository%3Ar%2Fa%3Apull
HEAD /v2/r/a/manifests/t
WAS
