#!/usr/bin/env bash
# Expected: the next page of a list is at the URL of the Link with rel="next" (OCI distribution spec, "Listing tags":
# "the client SHOULD use the Link header"; RFC 8288), wherever that is.
# Seen: @snyk/docker-registry-v2-client takes the Link's query alone and puts it behind the path that it had asked first.
# Matters to a proxy: a Link with another path than the request's (a prefix that was not rewritten, or a page's own path)
# is not noticed by such a client: it asks the old path with the new query. Keep the path of the request in the Link.
. "$(dirname "$0")/lib/common.sh"
claim "of the next page's URL only the query is used"
npm_install @snyk/docker-registry-v2-client@4.0.5
cat >"$TMP/hook.py" <<'PY'
import json
def answer(request, usual):
    headers = [("Content-Type", "application/json")]
    if request.path == "/pages/r/a":
        return 200, headers, b'{"tags":["from-the-link"]}'
    if "cursor" in request.query:
        return 200, headers, b'{"tags":["from-the-old-path"]}'
    headers.append(("Link", '</pages/r/a?cursor=2>; rel="next"'))
    return 200, headers, b'{"tags":["first"]}'
PY
start_registry "$TMP/hook.py"
seen=$(
  node_run "$REGISTRY" <<'JS'
const { getTags } = require("@snyk/docker-registry-v2-client");
getTags(process.argv[2], "r/a", undefined, undefined, 2, undefined, { protocol: "http:" }).then((tags) => console.log(tags.join(" ")));
JS
  requests
)
expect "$seen" <<'WAS'
first from-the-old-path
GET /v2/r/a/tags/list?n=2
GET /v2/r/a/tags/list?cursor=2
WAS
