#!/usr/bin/env bash
# Expected: Content-Type is a media type with parameters, and type and subtype do not depend on case (RFC 9110, 8.3.1):
# "...manifest.v1+json; charset=utf-8" is the type of a manifest.
# Seen: aioregistry compares the whole text and raises "Unknown media type"; oras, as a control, reads it.
# Matters to a proxy: some servers and frameworks add charset to all JSON. Passing it on is lawful, but a proxy that keeps
# the type beside the manifest serves more clients with the type alone.
. "$(dirname "$0")/lib/common.sh"
claim "a manifest whose Content-Type has charset=utf-8 has an unknown type"
pip_install aioregistry==0.7.3 oras==0.2.43
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    status, headers, body = usual(request)
    return status, [(n, v + "; charset=utf-8" if n == "Content-Type" else v) for n, v in headers], body
PY
start_registry "$TMP/hook.py"
seen=$(
  python - "$REGISTRY" <<'PY'
import asyncio, sys, oras.client
from aioregistry import AsyncRegistryClient, Registry, RegistryManifestRef
host, port = sys.argv[1].split(":")
async def main():
    async with AsyncRegistryClient() as client:
        registry = Registry(host=host, port=int(port), prot="http")
        await client.manifest_download(RegistryManifestRef(registry=registry, repo=["r", "a"], ref="t"))
try:
    asyncio.run(main())
    print("aioregistry: fine")
except ValueError as error:
    print("aioregistry:", error)
client = oras.client.OrasClient(hostname=sys.argv[1], insecure=True)
print("oras: layers:", len(client.get_manifest(sys.argv[1] + "/r/a:t")["layers"]))
PY
)
expect "$seen" <<'WAS'
aioregistry: Unknown media type 'application/vnd.oci.image.manifest.v1+json; charset=utf-8'
oras: layers: 1
WAS
