#!/usr/bin/env bash
# Expected: in 127.0.0.1:5000/a/b/c:1 the part before the first "/" has a ":" and is the registry (distribution/reference);
# a repository name may have any number of parts (OCI distribution spec, "Pulling manifests": <name> is a pattern with a
# repeated "/"-part).
# Seen: docker-parse-image knows registry, one namespace and one name. Where there are more parts, the registry's port
# becomes the tag: the repository is "127.0.0.1" of Docker Hub, the tag "5000/a/b/c:1".
# Matters to a proxy that puts the upstream's name in the path (/v2/<upstream>/<name>): names get one part longer, and with
# it such clients can not ask for images that they could ask for at the upstream itself.
. "$(dirname "$0")/lib/common.sh"
claim "a repository name of three parts is not understood, and its registry's port is taken for a tag"
npm_install docker-parse-image@3.0.1

seen=$(
  node_run <<'JS'
const parse = require("docker-parse-image");
for (const image of ["127.0.0.1:5000/ab/cd:1", "127.0.0.1:5000/ab/cd/ef:1"]) {
  const { registry, namespace, repository, tag } = parse(image);
  console.log(image, JSON.stringify({ registry, namespace, repository, tag }));
}
JS
)
expect "$seen" <<'WAS'
127.0.0.1:5000/ab/cd:1 {"registry":"127.0.0.1:5000","namespace":"ab","repository":"cd","tag":"1"}
127.0.0.1:5000/ab/cd/ef:1 {"registry":null,"namespace":null,"repository":"127.0.0.1","tag":"5000/ab/cd/ef:1"}
WAS
