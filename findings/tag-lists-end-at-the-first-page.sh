#!/usr/bin/env bash
# Expected: a tag list may come in pages that the registry chose, even to a client that named no number: the Link with
# rel="next" leads on (OCI distribution spec, "Listing tags").
# Seen: four clients give the first page as the whole list, without a word: regshape, aioregistry, containerimage-py and
# oci-registry-client. oras, as a control, gives all.
# Matters to a proxy: paging a list that the upstream sent whole, or a smaller page than was asked for, hides tags from
# such clients; a limit of its own on the size of a list is not free.
. "$(dirname "$0")/lib/common.sh"
claim "four clients list the first page of the tags only"
npm_install oci-registry-client@0.2.0
pip_install regshape==0.1.1 oras==0.2.43 aioregistry==0.7.3 containerimage-py==1.1.4
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    headers = [("Content-Type", "application/json")]
    if request.path.endswith("/tags/list") and "last=b" in request.query:
        return 200, headers, b'{"name":"rr/aa","tags":["c"]}'
    if request.path.endswith("/tags/list"):
        headers.append(("Link", f'<{request.path}?last=b&n=2>; rel="next"'))
        return 200, headers, b'{"name":"rr/aa","tags":["a","b"]}'
    return usual(request)
PY
start_registry "$TMP/hook.py"
seen=$(
  echo "regshape:" $(regshape --insecure tag list -i "$REGISTRY/rr/aa")
  python - "$REGISTRY" <<'PY'
import asyncio, sys, oras.client
from aioregistry import AsyncRegistryClient, Registry
from image.containerimage import ContainerImage
host, port = sys.argv[1].split(":")
async def main():
    async with AsyncRegistryClient() as client:
        registry = Registry(host=host, port=int(port), prot="http")
        print("aioregistry:", await client.registry_repo_tags(registry, ["rr", "aa"]))
asyncio.run(main())
print("containerimage-py:", ContainerImage(sys.argv[1] + "/rr/aa:t").list_tags({}, skip_verify=True, http=True)["tags"])
print("oras:", oras.client.OrasClient(hostname=sys.argv[1], insecure=True).get_tags(sys.argv[1] + "/rr/aa"))
PY
  node_run "$REGISTRY" <<'JS'
const { RegistryClientV2 } = require("oci-registry-client");
new RegistryClientV2({ name: process.argv[2] + "/rr/aa", insecure: true }).listTags()
  .then((list) => console.log("oci-registry-client:", JSON.stringify(list.tags)));
JS
)
expect "$seen" <<'WAS'
regshape: a b
aioregistry: ['a', 'b']
containerimage-py: ['a', 'b']
oras: ['a', 'b', 'c']
oci-registry-client: ["a","b"]
WAS
