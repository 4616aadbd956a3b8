#!/usr/bin/env bash
# Expected: a digest that the OCI image spec gives as an example ("Descriptor", section "Digests") may stand in a
# reference: implementations should let unknown algorithms pass as long as they fit the grammar
# (encoded ::= [a-zA-Z0-9=_-]+).
# Seen: skopeo, docker-image-py and @swimlane/docker-reference follow the older grammar of distribution/reference, where
# what follows the algorithm is hexadecimal: none of them takes two of the spec's own examples.
# Matters to a proxy: it may let such digests pass in a path, but no usual client can ask for them; the two grammars are
# not one, and a test of one is no test of the other.
. "$(dirname "$0")/lib/common.sh"
claim "the image spec's example digests are no digests to reference parsers"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
npm_install @swimlane/docker-reference@2.0.1
pip_install docker-image-py==0.2.0

examples="sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564 multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8"
seen=$(
  for digest in $examples; do
    skopeo inspect "docker://r.example/x@$digest" 2>&1 | sed -E 's/.*msg="(.*)"/skopeo: \1/' || true
  done
  node_run $examples <<'JS'
for (const digest of process.argv.slice(2)) {
  try {
    console.log("swimlane:", require("@swimlane/docker-reference").parseFamiliarName("r.example/x@" + digest).digest);
  } catch (error) {
    console.log("swimlane:", error.message);
  }
}
JS
  python - $examples <<'PY'
import sys
from docker_image import reference
for digest in sys.argv[1:]:
    try:
        print("docker-image-py:", reference.Reference.parse_normalized_named("r.example/x@" + digest)["digest"])
    except Exception as error:
        print("docker-image-py:", error)
PY
)
expect "$seen" <<'WAS'
skopeo: Error parsing image name \"docker://r.example/x@sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564\": invalid reference format
skopeo: Error parsing image name \"docker://r.example/x@multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8\": invalid reference format
swimlane: invalid reference format
swimlane: invalid reference format
docker-image-py: invalid reference format
docker-image-py: invalid reference format
WAS
