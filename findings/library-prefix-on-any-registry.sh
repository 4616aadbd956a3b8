#!/usr/bin/env bash
# Expected: "library/" is a custom of Docker Hub alone. The grammar of distribution/reference adds it only where the host
# is docker.io, and the OCI distribution spec (section "Pulling manifests") knows no default namespace: the image
# r.example/x is asked for at /v2/x/.
# Seen: docker-parse-image and docker-registry-client-async put "library/" before every name of one part, on any host.
# The second sends localhost/x to Docker Hub as well, since "localhost" without a port is no host to it.
# Matters to a proxy: a request for library/x at an upstream that has no such folder comes from the client, and a rule
# "add library/ for Docker Hub" must not be the reason for it.
. "$(dirname "$0")/lib/common.sh"
claim "library/ is added to names of one part on registries other than Docker Hub"
npm_install docker-parse-image@3.0.1
pip_install docker-registry-client-async==1.0.3

seen=$(
  node_run <<'JS'
const parse = require("docker-parse-image");
for (const image of ["ubuntu", "r.example/x", "r.example:5000/x:1"])
  console.log("docker-parse-image:", image, "->", parse(image).fullname);
JS
  python - <<'PY'
from docker_registry_client_async import ImageName
for image in ("ubuntu", "r.example/x", "r.example:5000/x:1", "localhost/x"):
    name = ImageName.parse(image)
    print("docker-registry-client-async:", image, "->", name.resolve_endpoint(), name.resolve_image())
PY
)
expect "$seen" <<'WAS'
docker-parse-image: ubuntu -> library/ubuntu:latest
docker-parse-image: r.example/x -> r.example/library/x:latest
docker-parse-image: r.example:5000/x:1 -> r.example:5000/library/x:1
docker-registry-client-async: ubuntu -> index.docker.io library/ubuntu
docker-registry-client-async: r.example/x -> r.example library/x
docker-registry-client-async: r.example:5000/x:1 -> r.example:5000 library/x
docker-registry-client-async: localhost/x -> index.docker.io localhost/x
WAS
