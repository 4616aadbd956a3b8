#!/usr/bin/env bash
# Expected: in a file of registry logins the most specific key counts: r.example/other is for the images below that name,
# r.example for the rest (containers-auth.json(5), "the most specific entry").
# Seen: @sigstore/oci cuts every key down to its host and takes the first that fits: for r.example/r/a it uses the login
# of r.example/other where that stands before r.example in the file. Docker's SDK for Python takes a key with a path for
# the whole host too, but prefers the plain host.
# Matters to a proxy: a login that belongs to another repository of the same host arrives; 401 or 403 to it says nothing
# about the login that the user meant.
. "$(dirname "$0")/lib/common.sh"
claim "the order of the keys in config.json decides which login @sigstore/oci sends"
npm_install @sigstore/oci@0.7.2
pip_install docker==7.2.0
mkdir -p "$HOME/.docker"
login() { printf '"%s":{"auth":"%s"}' "$1" "$(printf '%s:password' "$2" | base64)"; }
ask() {
  echo "{\"auths\":{$2}}" >"$HOME/.docker/config.json"
  echo "$1:"
  node_run <<'JS'
const { getRegistryCredentials } = require("@sigstore/oci");
console.log("  sigstore:", getRegistryCredentials("r.example/r/a").username);
JS
  python -c 'import docker.auth
login = docker.auth.resolve_authconfig(docker.auth.load_config(), "r.example")
print("  docker:", login and login["username"])'
}
seen=$(
  ask "path, then host" "$(login r.example/other one),$(login r.example two)"
  ask "host, then path" "$(login r.example two),$(login r.example/other one)"
  ask "path of another repository alone" "$(login r.example/other one)"
)
expect "$seen" <<'WAS'
path, then host:
  sigstore: one
  docker: two
host, then path:
  sigstore: two
  docker: two
path of another repository alone:
  sigstore: one
  docker: one
WAS
