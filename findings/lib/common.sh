# Read by every finding: a temporary folder that is removed at the end, pinned packages in it, a registry on loopback,
# and the comparison with what was seen. Nothing is installed outside the folder.

set -euo pipefail
shopt -s inherit_errexit
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TMP=$(mktemp -d)
USERS_HOME=$HOME
mkdir -p "$TMP/home"
: >"$TMP/started"
export HOME=$TMP/home PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1
clean_up() {
  while read -r pid; do kill "$pid" 2>/dev/null || true; done <"$TMP/started"
  chmod -R u+w "$TMP"
  rm -rf "$TMP"
}
trap clean_up EXIT

# claim TEXT: says what is checked.
claim() { printf '%s\n\n' "$1"; }

# pip_install NAME==VERSION...: into a virtual environment; `python` is then its Python.
pip_install() {
  echo "from PyPI: $*"
  python3 -m venv "$TMP/venv"
  HOME=$USERS_HOME "$TMP/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
  PATH=$TMP/venv/bin:$PATH
}

# npm_install NAME@VERSION...: without running install scripts; node_run then runs the script on standard input there.
npm_install() {
  echo "from npm: $*"
  mkdir -p "$TMP/npm"
  (cd "$TMP/npm" && export HOME=$USERS_HOME && npm init --yes >/dev/null &&
    npm install --ignore-scripts --no-audit --no-fund --silent "$@")
}
node_run() { (cd "$TMP/npm" && cat >run.js && node run.js "$@"); }

# deb_unpack NAME=VERSION...: downloads Debian 12 packages (amd64) and unpacks them, without installing them.
deb_unpack() {
  echo "from Debian 12: $*"
  mkdir -p "$TMP/debs"
  (cd "$TMP/debs" && apt-get download -qq "$@" 2>/dev/null && for file in *.deb; do dpkg -x "$file" "$TMP/deb"; done)
  PATH=$TMP/deb/usr/bin:$PATH
  export LD_LIBRARY_PATH=$TMP/deb/usr/lib/x86_64-linux-gnu:$TMP/deb/lib/x86_64-linux-gnu
}

# The packages that skopeo 1.9.3 of Debian 12 needs.
SKOPEO="skopeo=1.9.3+ds1-1+b10 libgpgme11=1.18.0-3+deb12u1 libassuan0=2.5.5-5 libdevmapper1.02.1=2:1.02.185-2"

# rust_run 'name = "=VERSION"'...: builds the main.rs on standard input with these crates and runs it.
rust_run() {
  mkdir -p "$TMP/crate/src"
  cat >"$TMP/crate/src/main.rs"
  printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n\n[dependencies]\n' >"$TMP/crate/Cargo.toml"
  printf '%s\n' "$@" >>"$TMP/crate/Cargo.toml"
  (cd "$TMP/crate" && HOME=$USERS_HOME CARGO_TARGET_DIR=$TMP/crate/target cargo run --quiet)
}

# start_registry [HOOK]: starts lib/registry.py; sets REGISTRY (host:port) and SEEN (the folder of its logs).
start_registry() {
  SEEN=$(mktemp -d "$TMP/registry.XXXX")
  PYTHONPATH=$LIB python3 "$LIB/registry.py" "$SEEN" "$@" >"$SEEN/log" 2>&1 &
  echo $! >>"$TMP/started"
  for _ in $(seq 100); do [ -e "$SEEN/port" ] && break; sleep 0.1; done
  REGISTRY=127.0.0.1:$(cat "$SEEN/port")
}

# requests: the requests that the registry got since the last call, with its address as HOST and digests as DIGEST.
requests() {
  tidy <"$SEEN/requests"
  : >"$SEEN/requests"
}
tidy() { sed -E "s/${REGISTRY:-127.0.0.1:0}/HOST/g; s/sha256(:|%3A)[0-9a-f]+/DIGEST/g"; }

# expect SEEN <WHAT_WAS_SEEN: prints both where they differ, and fails then.
expect() {
  local was
  was=$(cat)
  printf '\nseen now:\n%s\n' "$1"
  if [ "$1" != "$was" ]; then
    printf '\nCHANGED, it was:\n%s\n' "$was"
    exit 1
  fi
}
