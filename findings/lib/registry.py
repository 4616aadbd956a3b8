"""A registry on loopback with one image, r/a:t, whose answers a finding may change.

usage: registry.py FOLDER [HOOK]

It writes FOLDER/port once it listens, and a line for each request to FOLDER/requests (its method and target). HOOK is a
Python file with answer(request, usual), which returns (status, headers, body); headers is a list of pairs. The finding
may import this module for the image's parts.
"""

import gzip, hashlib, http.server, io, json, os, runpy, sys, tarfile, threading
from types import SimpleNamespace


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(name, content):
    """A tar with one file, always of the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return plain.getvalue()


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def as_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


TAR = tar_of("hello", b"hello\n")
LAYER_BYTES = gzip.compress(TAR, mtime=0)
CONFIG_BYTES = as_json({"architecture": "amd64", "os": "linux", "config": {},
                        "rootfs": {"type": "layers", "diff_ids": [digest(TAR)]}})
IMAGE = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, CONFIG_BYTES),
         "layers": [descriptor(LAYER, LAYER_BYTES)]}
BLOBS = {digest(data): data for data in (LAYER_BYTES, CONFIG_BYTES)}
MANIFESTS = {}


def put_manifest(tag, media_type, value):
    """Stores a manifest or index under its tag and its digest; gives its bytes."""
    data = as_json(value)
    MANIFESTS[tag] = MANIFESTS[digest(data)] = (media_type, data)
    return data


IMAGE_BYTES = put_manifest("t", MANIFEST, IMAGE)


def usual(request):
    """What a plain, open registry answers."""
    what, _, reference = request.path.rpartition("/")
    if request.path.rstrip("/") == "/v2":
        return 200, [("Content-Type", "application/json")], b"{}"
    if what.endswith("/manifests") and reference in MANIFESTS:
        media_type, data = MANIFESTS[reference]
        return 200, [("Content-Type", media_type), ("Docker-Content-Digest", digest(data))], data
    if what.endswith("/blobs") and reference in BLOBS:
        data = BLOBS[reference]
        return 200, [("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", reference)], data
    if request.path.endswith("/tags/list"):
        return 200, [("Content-Type", "application/json")], b'{"name":"r/a","tags":["t"]}'
    return 404, [("Content-Type", "application/json")], b'{"errors":[{"code":"NOT_FOUND","message":"not here"}]}'


def main(folder, hook=None):
    answer = runpy.run_path(hook)["answer"] if hook else (lambda request, usual: usual(request))
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self):
            length = int(self.headers.get("Content-Length") or 0)
            path, _, query = self.path.partition("?")
            request = SimpleNamespace(method=self.command, path=path, query=query, headers=self.headers,
                                      body=self.rfile.read(length), port=self.server.server_port)
            with lock:
                with open(f"{folder}/requests", "a") as log:
                    print(self.command, self.path, file=log)
            status, headers, body = answer(request, usual)
            self.send_response_only(status)
            names = {name.lower() for name, _ in headers}
            for name, value in headers:
                self.send_header(name, value)
            if not names & {"content-length", "transfer-encoding"} and status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            """A client that breaks off is no error here."""

    server = Server(("127.0.0.1", 0), Handler)
    with open(f"{folder}/port.new", "w") as port:
        port.write(str(server.server_port))
    os.rename(f"{folder}/port.new", f"{folder}/port")
    server.serve_forever()


if __name__ == "__main__":
    import registry  # the module that a hook imports, so that both see one MANIFESTS

    registry.main(*sys.argv[1:])
