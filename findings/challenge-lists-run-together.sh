#!/usr/bin/env bash
# Expected: one WWW-Authenticate line may hold several challenges, and a quoted string may be empty or hold escaped quotes
# (RFC 9110, 11.6.1 and 5.6.4).
# Seen: the npm packages www-authenticate, oci-registry-client (which holds a copy) and auth-header read one challenge per
# line: of "Basic, then Bearer" the first makes a parameter named "Bearer realm", the last a list of two realms. PyPI's
# www-authenticate reads lists, but refuses an empty string (service="") and leaves the backslashes of escaped quotes.
# PyPI's authchallenge reads all of them.
# Matters to a proxy: one challenge, in one line, every value filled and without quotes, is what all clients can read.
. "$(dirname "$0")/lib/common.sh"
claim "five parsers read the challenges of a 401 in four ways"
npm_install www-authenticate@0.6.3 auth-header@1.0.0 oci-registry-client@0.2.0
pip_install www-authenticate==0.9.2 authchallenge==1.0.0
cat >"$TMP/challenges" <<'TXT'
Basic realm="x", Bearer realm="https://r.example/token",service="s"
Bearer realm="https://r.example/token",service=""
Bearer realm="https://r.example/token",service="a \"b\""
TXT
seen=$(
  node_run "$TMP/challenges" <<'JS'
const parsers = {
  "www-authenticate (npm)": require("www-authenticate").parsers.WWW_Authenticate,
  "oci-registry-client": require("oci-registry-client/build/www-authenticate.js").Parse_WWW_Authenticate,
};
for (const line of require("fs").readFileSync(process.argv[2], "utf8").trim().split("\n")) {
  console.log(line);
  for (const [name, Parser] of Object.entries(parsers)) {
    const { scheme, parms, err } = new Parser(line);
    console.log(`  ${name}:`, err || scheme + " " + JSON.stringify(parms));
  }
  const { scheme, params } = require("auth-header").parse(line);
  console.log("  auth-header:", scheme, JSON.stringify(params));
}
JS
  python - "$TMP/challenges" <<'PY'
import authchallenge, json, sys, www_authenticate
for line in open(sys.argv[1]).read().splitlines():
    print(line)
    try:
        print("  www-authenticate (PyPI):", json.dumps(www_authenticate.parse(line)))
    except ValueError as error:
        print("  www-authenticate (PyPI):", error)
    print("  authchallenge:", json.dumps({c.scheme: dict(c.params) for c in authchallenge.parse_challenges(line)}))
PY
)
expect "$seen" <<'WAS'
Basic realm="x", Bearer realm="https://r.example/token",service="s"
  www-authenticate (npm): Basic {"realm":"x","Bearer realm":"https://r.example/token","service":"s"}
  oci-registry-client: Basic {"realm":"x","Bearer realm":"https://r.example/token","service":"s"}
  auth-header: Basic {"realm":["x","https://r.example/token"],"service":"s"}
Bearer realm="https://r.example/token",service=""
  www-authenticate (npm): Bearer {"realm":"https://r.example/token","service":""}
  oci-registry-client: Bearer {"realm":"https://r.example/token","service":""}
  auth-header: Bearer {"realm":"https://r.example/token","service":""}
Bearer realm="https://r.example/token",service="a \"b\""
  www-authenticate (npm): Unexpected token (b\) after a \"
  oci-registry-client: Unexpected token (b\) after a \"
  auth-header: Bearer {"realm":"https://r.example/token","service":"a \"b\""}
Basic realm="x", Bearer realm="https://r.example/token",service="s"
  www-authenticate (PyPI): {"basic": {"realm": "x"}, "bearer": {"realm": "https://r.example/token", "service": "s"}}
  authchallenge: {"Basic": {"realm": "x"}, "Bearer": {"realm": "https://r.example/token", "service": "s"}}
Bearer realm="https://r.example/token",service=""
  www-authenticate (PyPI): Failed to parse value
  authchallenge: {"Bearer": {"realm": "https://r.example/token", "service": ""}}
Bearer realm="https://r.example/token",service="a \"b\""
  www-authenticate (PyPI): {"bearer": {"realm": "https://r.example/token", "service": "a \\\"b\\\""}}
  authchallenge: {"Bearer": {"realm": "https://r.example/token", "service": "a \"b\""}}
WAS
