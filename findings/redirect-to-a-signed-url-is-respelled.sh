#!/usr/bin/env bash
# Expected: the client asks for the URL of Location as it is spelled: "a%2Fb" and "a/b" are two spellings, and a server
# that signed the one need not accept the other (RFC 3986, 2.2: percent-encoded reserved characters are not equivalent).
# Seen: crpy, through aiohttp, decodes %2F, %3A, %27, %28 and %29 in the query of a redirect. oras sends it unchanged.
# Matters to a proxy that redirects to storage with a signature over the URL's text: characters that a client may respell
# do not belong into the signed query; base64url has none of them.
. "$(dirname "$0")/lib/common.sh"
claim "the query of a redirect reaches its target with other escapes"
pip_install crpy==0.4.0 oras==0.2.43
cat >"$TMP/hook.py" <<'PY'
def answer(request, usual):
    if "/blobs/" in request.path and request.path.startswith("/v2/r/a/"):
        query = "?c=a%2Fb%3Ac%2Bd%3De%20f&t=2026-11-30T03%3A00%3A00Z&q=%27%28%29"
        return 307, [("Location", request.path.replace("/r/a/", "/store/") + query)], b""
    return usual(request)
PY
start_registry "$TMP/hook.py"
seen=$(
  python -m crpy.cmd pull "http://$REGISTRY/r/a:t" "$TMP/crpy.tar" >"$TMP/log" 2>&1
  echo crpy: $(requests | grep -o '?c=.*' | sort -u)
  python -c "import oras.client
client = oras.client.OrasClient(hostname='$REGISTRY', insecure=True)
client.get_blob('$REGISTRY/r/a', client.get_manifest('$REGISTRY/r/a:t')['layers'][0]['digest'])"
  echo oras: $(requests | grep -o '?c=.*' | sort -u)
)
expect "$seen" <<'WAS'
crpy: ?c=a/b:c%2Bd%3De%20f&t=2026-11-30T03:00:00Z&q='()
oras: ?c=a%2Fb%3Ac%2Bd%3De%20f&t=2026-11-30T03%3A00%3A00Z&q=%27%28%29
WAS
