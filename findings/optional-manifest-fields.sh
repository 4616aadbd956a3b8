#!/usr/bin/env bash
# Expected: a manifest may leave its field mediaType out ("this property SHOULD be used", OCI image spec, "Image Manifest
# Property Descriptions"): the Content-Type says what it is. An index entry may leave out its platform ("OPTIONAL", "Image
# Index Property Descriptions").
# Seen: skopeo reads both. python-dxf and crpy raise KeyError: 'mediaType' and KeyError: 'platform'; containerify takes an
# index without mediaType for an image, and stops at a missing platform.
# Matters to a proxy: passing such a document on as it is, is right, and changing its bytes would change its digest; but
# "the upstream's image can not be pulled through the proxy" can be the client's doing. Try it at the upstream itself.
. "$(dirname "$0")/lib/common.sh"
claim "optional fields of manifest and index are needed by three of four clients"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
npm_install containerify@4.1.0
pip_install python-dxf==12.1.1 crpy==0.4.0
cat >"$TMP/hook.py" <<'PY'
import registry
image = {key: value for key, value in registry.IMAGE.items() if key != "mediaType"}
registry.put_manifest("image-without-mediatype", registry.MANIFEST, image)
platform = {"platform": {"architecture": "amd64", "os": "linux"}}
entry = registry.descriptor(registry.MANIFEST, registry.IMAGE_BYTES)
registry.put_manifest("index-without-mediatype", registry.INDEX, {"schemaVersion": 2, "manifests": [entry | platform]})
registry.put_manifest("entry-without-platform", registry.INDEX,
                      {"schemaVersion": 2, "mediaType": registry.INDEX, "manifests": [entry]})
def answer(request, usual):
    return usual(request)
PY
start_registry "$TMP/hook.py"

cd "$TMP"
mkdir -p app/node_modules
echo '{"name":"x"}' >app/package.json
echo '{"name":"x","lockfileVersion":2}' >app/package-lock.json
try() { # try NAME COMMAND...: says whether the command ends well, and the error that it names
  if "${@:2}" >log 2>&1; then echo "  $1: fine"; else echo "  $1: $(grep -oE '(Key|Type)?Error: .*|ERROR .*' log | tail -1)"; fi
}
seen=$(
  for tag in image-without-mediatype index-without-mediatype entry-without-platform; do
    echo "$tag"
    try skopeo skopeo --insecure-policy copy -q --src-tls-verify=false "docker://$REGISTRY/r/a:$tag" "dir:$TMP/out"
    try python-dxf python -c "from dxf import DXF
DXF('$REGISTRY', 'r/a', insecure=True).get_alias('$tag')"
    try crpy python -m crpy.cmd pull "http://$REGISTRY/r/a:$tag" "$TMP/crpy.tar"
    try containerify node npm/node_modules/.bin/containerify --fromImage "r/a:$tag" --fromRegistry "http://$REGISTRY/v2/" \
      --toTar "$TMP/o.tar" --toImage x:1 --folder app --allowInsecureRegistries
  done
)
expect "$seen" <<'WAS'
image-without-mediatype
  skopeo: fine
  python-dxf: KeyError: 'mediaType'
  crpy: KeyError: 'mediaType'
  containerify: ERROR Error: undefined not recognized.
index-without-mediatype
  skopeo: fine
  python-dxf: KeyError: 'mediaType'
  crpy: KeyError: 'mediaType'
  containerify: ERROR TypeError: Cannot read properties of undefined (reading 'digest')
entry-without-platform
  skopeo: fine
  python-dxf: KeyError: 'platform'
  crpy: KeyError: 'platform'
  containerify: ERROR TypeError: Cannot read properties of undefined (reading 'architecture')
WAS
