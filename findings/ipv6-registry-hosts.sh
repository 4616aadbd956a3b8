#!/usr/bin/env bash
# Expected: [::1]:5000/x:1 names the image x at the registry [::1]:5000: the grammar of distribution/reference has IPv6
# addresses in brackets as hosts, as URLs have them (RFC 3986, 3.2.2).
# Seen: skopeo 1.9.3 and three npm packages refuse the reference or give nothing; docker-image-py reads it.
# Matters to a proxy: listening on an IPv6 address alone is of no use to such clients; give it a name.
. "$(dirname "$0")/lib/common.sh"
claim "a registry at an IPv6 address can not be named"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
npm_install @swimlane/docker-reference@2.0.1 parse-docker-image-name@3.0.0 @sigstore/oci@0.7.2
pip_install docker-image-py==0.2.0

seen=$(
  skopeo inspect 'docker://[::1]:5000/x:1' 2>&1 | sed -E 's/.*msg="(.*)"/skopeo: \1/' || true
  node_run <<'JS'
const image = "[::1]:5000/x:1";
const show = (who, read) => {
  try { console.log(who + ":", JSON.stringify(read())); } catch (error) { console.log(who + ": error:", error.message); }
};
show("swimlane", () => require("@swimlane/docker-reference").parseFamiliarName(image));
const parse = require("parse-docker-image-name");
show("parse-docker-image-name", () => (parse.default || parse)(image));
show("sigstore", () => require("@sigstore/oci/dist/name.js").parseImageName("[::1]:5000/x"));
JS
  python -c 'from docker_image import reference
name = reference.Reference.parse_normalized_named("[::1]:5000/x:1")
print("docker-image-py:", *name.split_hostname(), name["tag"])'
)
expect "$seen" <<'WAS'
skopeo: Error parsing image name \"docker://[::1]:5000/x:1\": invalid reference format
swimlane: error: invalid reference format
parse-docker-image-name: {}
sigstore: error: Invalid image name: [::1]:5000/x
docker-image-py: [::1]:5000 x 1
WAS
