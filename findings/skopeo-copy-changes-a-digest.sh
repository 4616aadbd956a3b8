#!/usr/bin/env bash
# Expected: copying an image that is OCI already from one OCI layout to another copies its bytes, and the digest of the
# manifest stays; "skopeo copy" converts only where the target needs another format.
# Seen: a layer that is a plain tar (application/vnd.oci.image.layer.v1.tar) is packed with gzip on the way, so the
# manifest and its digest are others at the target. A gzip layer, and a manifest with unusual white space, are kept.
# Matters to a proxy: two registries, one filled from the other by skopeo, can differ in the digest of one tag; a proxy
# that asks one after the other must compare digests, never assume that a copy is the same image. (--preserve-digests
# makes skopeo refuse instead.)
. "$(dirname "$0")/lib/common.sh"
claim "skopeo copy changes the digest of an OCI image with a plain tar layer"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
layout() { # layout FOLDER LAYER-KIND INDENT: an OCI layout with one image; prints the digest of its manifest
  PYTHONPATH=$LIB python3 - "$@" <<'PY'
import json, os, sys
import registry as r
folder, kind, indent = sys.argv[1:]
media_type, layer = {"tar": (r.LAYER.removesuffix("+gzip"), r.TAR), "gzip": (r.LAYER, r.LAYER_BYTES)}[kind]
os.makedirs(folder + "/blobs/sha256")
manifest = json.dumps(r.IMAGE | {"layers": [r.descriptor(media_type, layer)]}, indent=int(indent) or None).encode()
for data in (layer, r.CONFIG_BYTES, manifest):
    open(f"{folder}/blobs/sha256/{r.digest(data)[7:]}", "wb").write(data)
name = {"annotations": {"org.opencontainers.image.ref.name": "t"}}
open(folder + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
open(folder + "/index.json", "wb").write(r.as_json({"schemaVersion": 2, "manifests": [r.descriptor(r.MANIFEST, manifest) | name]}))
print(r.digest(manifest))
PY
}
seen=$(
  cd "$TMP"
  for image in "gzip 0" "gzip 7" "tar 0"; do
    rm -rf from to
    # shellcheck disable=SC2086
    before=$(layout from $image)
    skopeo --insecure-policy copy -q oci:from:t oci:to:t
    python3 - "$before" "$image" <<'PY'
import json, sys
after = json.load(open("to/index.json"))["manifests"][0]["digest"]
layer = json.load(open("to/blobs/sha256/" + after[7:]))["layers"][0]["mediaType"]
print(sys.argv[2], "same digest" if after == sys.argv[1] else "another digest", layer)
PY
  done
)
expect "$seen" <<'WAS'
gzip 0 same digest application/vnd.oci.image.layer.v1.tar+gzip
gzip 7 same digest application/vnd.oci.image.layer.v1.tar+gzip
tar 0 another digest application/vnd.oci.image.layer.v1.tar+gzip
WAS
