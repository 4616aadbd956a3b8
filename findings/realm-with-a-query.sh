#!/usr/bin/env bash
# Expected: the realm of a Bearer challenge is a URL, and a URL may have a query; the client adds service and scope to it
# with "&" (distribution, "Token Authentication Specification"; RFC 3986, 3.4).
# Seen: crpy, aioregistry, oci-registry-client and Renovate's client put a second "?" behind the query, so that the token
# server reads tenant = "a?service=s" and no service; containerimage-py throws the realm's own query away. oras is right.
# Matters to a proxy that hands out challenges: keep its realm free of a query, put what it must know into the path.
. "$(dirname "$0")/lib/common.sh"
claim "the realm http://HOST/token?tenant=a is asked for as if it had no query, or without it"
npm_install @renovatebot/docker-registry-client@3.3.0 oci-registry-client@0.2.0
pip_install oras==0.2.43 crpy==0.4.0 aioregistry==0.7.3 containerimage-py==1.1.4
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    if request.path == "/token":
        return 200, [("Content-Type", "application/json")], b'{"token":"T","access_token":"T"}'
    if request.headers.get("Authorization") == "Bearer T":
        return usual(request)
    realm = f"http://127.0.0.1:{request.port}/token?tenant=a"
    return 401, [("WWW-Authenticate", f'Bearer realm="{realm}",service="s",scope="repository:rr/aa:pull"')], b"{}"
PY
start_registry "$TMP/hook.py"

asked() { requests | sed -n "s|^GET /token|$1: |p" | sort -u; }
seen=$(
  python -c "import oras.client
oras.client.OrasClient(hostname='$REGISTRY', insecure=True).get_manifest('$REGISTRY/rr/aa:t')"
  asked oras
  python -m crpy.cmd pull "http://$REGISTRY/rr/aa:t" "$TMP/crpy.tar" >"$TMP/log" 2>&1
  asked crpy
  python - "$REGISTRY" <<'PY'
import asyncio, sys
from aioregistry import AsyncRegistryClient, Registry, RegistryManifestRef
host, port = sys.argv[1].split(":")
async def main():
    async with AsyncRegistryClient() as client:
        registry = Registry(host=host, port=int(port), prot="http")
        await client.manifest_download(RegistryManifestRef(registry=registry, repo=["rr", "aa"], ref="t"))
asyncio.run(main())
PY
  asked aioregistry
  python -c "from image.containerimage import ContainerImage
ContainerImage('$REGISTRY/rr/aa:t').get_manifest({}, skip_verify=True, http=True)"
  asked containerimage-py
  node_run "$REGISTRY" <<'JS'
const { RegistryClientV2 } = require("oci-registry-client");
new RegistryClientV2({ name: process.argv[2] + "/rr/aa", insecure: true }).getManifest({ ref: "t", acceptOCIManifests: true });
JS
  asked oci-registry-client
  node_run "$REGISTRY" <<'JS'
const { createClientV2 } = require("@renovatebot/docker-registry-client");
const client = createClientV2({ name: process.argv[2] + "/rr/aa", insecure: true, acceptOCIManifests: true, maxSchemaVersion: 2 });
client.getManifest({ ref: "t" }, () => client.close());
JS
  asked renovate
)
expect "$seen" <<'WAS'
oras: ?tenant=a&service=s&scope=repository%3Arr%2Faa%3Apull
crpy: ?tenant=a?service=s&scope=repository:rr/aa:pull
aioregistry: ?tenant=a?service=s&scope=repository:rr/aa:pull
containerimage-py: ?service=s&scope=repository%3Arr%2Faa%3Apull
oci-registry-client: ?tenant=a?service=s&scope=repository%3Arr%2Faa%3Apull
renovate: ?tenant=a?service=s&scope=repository%3Arr%2Faa%3Apull
WAS
