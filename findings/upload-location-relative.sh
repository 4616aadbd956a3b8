#!/usr/bin/env bash
# Expected: the Location of an upload "MAY be a relative or absolute URL" (OCI distribution spec, "POST then PUT"), and a
# relative one is resolved against the URL that was asked (RFC 9110, 10.2.2): after POST /v2/r/n/blobs/uploads/, the
# Location "u1" means /v2/r/n/blobs/uploads/u1.
# Seen: skopeo resolves it. python-dxf asks for /u1, oras and containerify put it right behind the port and fail: they
# know absolute URLs and paths that begin with "/" only.
# Matters to a proxy that rewrites Location: write the whole URL, or a path from the root; never a path from here.
. "$(dirname "$0")/lib/common.sh"
claim "a Location relative to the path is resolved by one of four clients"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
npm_install containerify@4.1.0
pip_install oras==0.2.43 python-dxf==12.1.1
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    if request.method == "POST":
        return 202, [("Location", "u1")], b""
    if request.method == "PATCH":
        return 202, [("Location", "u1"), ("Range", f"0-{len(request.body) - 1}")], b""
    if request.method == "PUT":
        return 201, [], b""
    if "/r/n/" in request.path:
        return 404, [], b""
    return usual(request)
PY
start_registry "$TMP/hook.py"

cd "$TMP"
echo hello >f.txt
mkdir -p app/node_modules
echo '{"name":"x"}' >app/package.json
echo '{"name":"x","lockfileVersion":2}' >app/package-lock.json
puts() { echo "$1:"; requests | grep -E '^(PUT|PATCH) .*(DIGEST|u1)' | sort -u | sed 's/^/  /' || echo "  no upload"; }
seen=$(
  skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false \
    "docker://$REGISTRY/r/a:t" "docker://$REGISTRY/r/n:t" >log 2>&1 || true
  puts skopeo
  python -c "from dxf import DXF
DXF('$REGISTRY', 'r/n', insecure=True).push_blob('f.txt')" >log 2>&1 || true
  puts python-dxf
  python -c "import oras.client
oras.client.OrasClient(hostname='$REGISTRY', insecure=True).push('$REGISTRY/r/n:t', files=['f.txt'])" >log 2>&1 || true
  puts oras
  node npm/node_modules/.bin/containerify --fromImage r/a:t --fromRegistry "http://$REGISTRY/v2/" --toImage r/n:1 \
    --toRegistry "http://$REGISTRY/v2/" --toToken x --folder app --allowInsecureRegistries >log 2>&1 || true
  puts containerify
)
expect "$seen" <<'WAS'
skopeo:
  PATCH /v2/r/n/blobs/uploads/u1
  PUT /v2/r/n/blobs/uploads/u1?digest=DIGEST
python-dxf:
  PUT /u1?digest=DIGEST
oras:
  no upload
containerify:
  no upload
WAS
