# What a raw client asks of a registry: for the outer tests, where their own client speaks no TLS.
#
#   python3 registry.py <base URL> <user> <password> <repository> <digest of a blob> <repository to push to>
#
# Prints one line for each of its questions: its name, a tab, and "yes" or what was wrong.
import base64, hashlib, http.client, json, ssl, sys
from urllib.parse import urlsplit, quote

base, user, password, repository, blob, pushed = sys.argv[1:]
url = urlsplit(base)


def connect():
    if url.scheme == "http":
        return http.client.HTTPConnection(url.netloc, timeout=60)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(url.netloc, timeout=60, context=context)


def ask(method, target, headers=None, body=None, chunked=False):
    connection = connect()
    connection.request(method, target, body=body, headers=headers or {}, encode_chunked=chunked)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def basic(secret):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


def token(secret, name, actions):
    scope = quote(f"repository:{name}:{actions}")
    return ask("GET", f"/token?service=x&scope={scope}", basic(secret))


def bearer(name, actions):
    status, _, body = token(password, name, actions)
    expect("the token's status", status, 200)
    return {"Authorization": "Bearer " + json.loads(body)["token"]}


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, not {expected!r}")


def login():
    """A right login is taken, and behind it neither a wrong one nor none is."""
    status, headers, _ = ask("GET", "/v2/", bearer(repository, "pull"))
    expect("with a token", (status, headers["Cache-Control"]), (200, "no-store"))
    expect("with a wrong password", token("wrong", repository, "pull")[0], 401)
    expect("without a login", ask("GET", "/v2/")[0], 401)
    expect("with a wrong token", ask("GET", "/v2/", {"Authorization": "Bearer wrong"})[0], 401)
    status, headers, _ = ask("GET", "/v2/")
    challenge = headers["WWW-Authenticate"] or ""
    if not challenge.startswith(f'Bearer realm="{base}/token",'):
        raise AssertionError(f"the realm is elsewhere: {challenge}")


def head():
    """Length and digest of a blob, without its bytes."""
    status, headers, body = ask("HEAD", f"/v2/{repository}/blobs/{blob}", bearer(repository, "pull"))
    whole = ask("GET", f"/v2/{repository}/blobs/{blob}", bearer(repository, "pull"))[2]
    found = (status, headers["Content-Length"], headers["Docker-Content-Digest"], body)
    expect("HEAD", found, (200, str(len(whole)), blob, b""))


def ranges():
    """Parts of a blob are parts of it."""
    login = bearer(repository, "pull")
    status, headers, whole = ask("GET", f"/v2/{repository}/blobs/{blob}", login)
    expect("the blob", "sha256:" + hashlib.sha256(whole).hexdigest(), blob)
    total = len(whole)
    for first, end, asked in [(1000, 2000, "bytes=1000-1999"), (5000, total, "bytes=5000-"), (total - 100, total, "bytes=-100")]:
        status, headers, part = ask("GET", f"/v2/{repository}/blobs/{blob}", {**login, "Range": asked})
        found = (status, headers["Content-Range"], part == whole[first:end])
        expect(asked, found, (206, f"bytes {first}-{end - 1}/{total}", True))


def chunked():
    """A blob of unknown length goes up in chunks, and comes back."""
    content = hashlib.sha256(base.encode()).digest() * 100_000
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    login = bearer(pushed, "pull,push")
    status, headers, _ = ask("POST", f"/v2/{pushed}/blobs/uploads/", {**login, "Content-Length": "0"})
    expect("POST", status, 202)
    pieces = (content[at : at + 65536] for at in range(0, len(content), 65536))
    kind = {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
    status, headers, body = ask("PATCH", target(headers["Location"]), {**login, **kind}, pieces, chunked=True)
    expect("PATCH", (status, body[:500]), (202, b""))
    location = target(headers["Location"])
    joint = "&" if "?" in location else "?"
    status, headers, body = ask("PUT", f"{location}{joint}digest={digest}", {**login, "Content-Length": "0"})
    expect("PUT", (status, body[:500]), (201, b""))
    expect("GET", ask("GET", f"/v2/{pushed}/blobs/{digest}", login)[2] == content, True)


def target(location):
    parts = urlsplit(location)
    if parts.netloc not in ("", url.netloc):
        raise AssertionError(f"an upload goes on elsewhere: {location}")
    return parts.path + (f"?{parts.query}" if parts.query else "")


def plain():
    """Nothing is compressed, whatever is asked for."""
    login = bearer(repository, "pull")
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    asked = {**login, "Accept": accept, "Accept-Encoding": "gzip, br, zstd"}
    status, headers, body = ask("GET", f"/v2/{repository}/manifests/v1", asked)
    found = (status, headers["Content-Encoding"], headers["Docker-Content-Digest"])
    expect("the manifest", found, (200, None, "sha256:" + hashlib.sha256(body).hexdigest()))
    status, headers, body = ask("GET", f"/v2/{repository}/manifests/none", asked)
    expect("an error", (status, json.loads(body)["errors"][0]["code"]), (404, "MANIFEST_UNKNOWN"))


for question in (login, head, ranges, chunked, plain):
    try:
        question()
        print(f"{question.__name__}\tyes")
    except Exception as error:
        print(f"{question.__name__}\t{type(error).__name__} {error}".replace("\n", " "))
