#!/usr/bin/env bash
# Expected: a proxy that ends a client's connection behind an answer says `Connection: close` in it (RFC 9112 section
# 9.6), since an HTTP/1.1 connection stays open where nothing is said (section 9.3).
# Seen: tinyproxy answers HTTP/1.1 in absolute form with a Content-Length and without `Connection`, and closes.
# Matters to whoever goes out through it with a pool of connections: the next request is sent on one that is about to
# end, and fails now and then. Such a client says `Connection: close` itself, or repeats what may be repeated.
. "$(dirname "$0")/lib/common.sh"
claim "tinyproxy closes a connection that its answer leaves open"
deb_unpack tinyproxy-bin=1.11.1-2.1+deb12u1
start_registry
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
printf 'Port %s\nListen 127.0.0.1\nTimeout 60\nMaxClients 10\n' "$PORT" >"$TMP/tinyproxy.conf"
tinyproxy -d -c "$TMP/tinyproxy.conf" >"$TMP/tinyproxy.log" 2>&1 &
echo $! >>"$TMP/started"
seen=$(
  python3 - "$PORT" "$REGISTRY" <<'PY'
import socket, sys, time
port, registry = int(sys.argv[1]), sys.argv[2]
for _ in range(100):
    try:
        client = socket.create_connection(("127.0.0.1", port))
        break
    except OSError:
        time.sleep(0.1)
client.settimeout(5)
client.sendall(f"GET http://{registry}/v2/ HTTP/1.1\r\nHost: {registry}\r\n\r\n".encode())
answer = client.makefile("rb")
print(answer.readline().decode().strip())
headers = {}
while (line := answer.readline().decode().strip()):
    name, _, value = line.partition(":")
    headers[name.lower()] = value.strip()
print("Connection:", headers.get("connection", "absent"))
print("Content-Length:", "there" if "content-length" in headers else "absent")
answer.read(int(headers.get("content-length", 0)))
try:
    print("then:", "closed" if answer.read(1) == b"" else "more bytes")
except TimeoutError:
    print("then: open for 5 s")
PY
)
expect "$seen" <<'WAS'
HTTP/1.1 200 OK
Connection: absent
Content-Length: there
then: closed
WAS
