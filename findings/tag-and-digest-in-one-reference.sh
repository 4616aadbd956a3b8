#!/usr/bin/env bash
# Expected: name:tag@digest is one reference with three parts (grammar of distribution/reference; "reference := name
# [":" tag] ["@" digest]"), and the digest decides what is pulled.
# Seen: docker (Docker's SDK for Python) leaves the tag in the name; docker-parse-image makes one tag of tag and digest,
# and gives null where the name has three parts; Renovate's registry client refuses it as a bad name.
# @swimlane/docker-reference takes it apart as the grammar says.
# Matters to a proxy: a name with a colon, or a tag with "@sha256:", reaches it as a path. It is no attack and no wrong
# configuration, but a client that could not read its user's reference; the answer should say which part is wrong.
. "$(dirname "$0")/lib/common.sh"
claim "name:tag@digest is taken apart wrongly by three of four parsers"
npm_install docker-parse-image@3.0.1 @renovatebot/docker-registry-client@3.3.0 @swimlane/docker-reference@2.0.1
pip_install docker==7.2.0

seen=$(
  node_run <<'JS'
const digest = "sha256:" + "0123456789abcdef".repeat(4);
const image = `r.example/ns/x:1@${digest}`;
const show = (who, read) => {
  let text;
  try { text = JSON.stringify(read()); } catch (error) { text = "error: " + error.message; }
  console.log(who + ": " + text.replaceAll(digest, "DIGEST"));
};
const parts = require("docker-parse-image");
show("docker-parse-image", () => { const { repository, tag } = parts(image); return { repository, tag }; });
show("docker-parse-image, three parts", () => parts(image.replace("ns/", "a/ns/")));
show("renovate", () => require("@renovatebot/docker-registry-client").parseRepoAndRef(image));
const { domain, repository, tag, digest: hash } = require("@swimlane/docker-reference").parseFamiliarName(image);
show("swimlane", () => ({ domain, repository, tag, digest: hash }));
JS
  python - <<'PY'
from docker.utils import parse_repository_tag
digest = "sha256:" + "0123456789abcdef" * 4
name, rest = parse_repository_tag(f"r.example/ns/x:1@{digest}")
print("docker:", name, "and", rest.replace(digest, "DIGEST"))
PY
)
expect "$seen" <<'WAS'
docker-parse-image: {"repository":"x","tag":"1@DIGEST"}
docker-parse-image, three parts: null
renovate: error: invalid repository name, may only contain [a-z0-9_/.-] characters: x:1
swimlane: {"domain":"r.example","repository":"ns/x","tag":"1","digest":"DIGEST"}
docker: r.example/ns/x:1 and DIGEST
WAS
