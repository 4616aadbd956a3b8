#!/bin/sh
# Installs the registry-proxy of a release for one user. It needs no root, and installs nothing unless its SHA-256 is the
# one in the release's SHA256SUMS.
#
#   curl -fsSL https://github.com/registry-proxy/registry-proxy/releases/latest/download/install.sh | sh
#
# INSTALL_REGISTRY_PROXY_VERSION    the version, such as 0.1.0; otherwise the latest
# INSTALL_REGISTRY_PROXY_BIN        the folder for the program; otherwise ~/.local/bin
# INSTALL_REGISTRY_PROXY_RELEASES   where the files are, for a mirror: a URL that has SHA256SUMS below it
set -eu

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# What this machine's archive is called, without .tar.gz.
archive_name() {
    system=$(uname -s) processor=$(uname -m)
    case $processor in
        x86_64 | amd64) processor=x86_64 ;;
        aarch64 | arm64) processor=arm64 ;;
        *) fail "there is no binary for the processor $processor; build it from the sources: CONTRIBUTING.md" ;;
    esac
    case $system in
        Linux) printf '%s\n' "registry-proxy-linux-$processor" ;;
        Darwin) printf '%s\n' "registry-proxy-macos-$processor-not-tried" ;;
        *) fail "there is no binary for $system; use the container image" ;;
    esac
}

# download URL FILE
download() {
    if has curl; then
        curl -fsSL --retry 2 --connect-timeout 20 --max-time 600 -o "$2" "$1"
    elif has wget; then
        wget -q --tries=3 --timeout=60 -O "$2" "$1"
    else
        fail "curl or wget is needed"
    fi || fail "$1 cannot be downloaded; is this the right version, and is the address reachable from here?"
}

sum_of() {
    if has sha256sum; then
        sha256sum "$1"
    elif has shasum; then
        shasum -a 256 "$1"
    elif has openssl; then
        openssl dgst -sha256 -r "$1"
    else
        fail "sha256sum, shasum or openssl is needed to verify the download"
    fi | cut -d ' ' -f 1
}

# Everything is in a function, so that half a script that a broken connection delivers does nothing.
main() {
    home=https://github.com/registry-proxy/registry-proxy/releases
    version=${INSTALL_REGISTRY_PROXY_VERSION:-}
    if [ -n "$version" ]; then
        from=$home/download/v${version#v}
    else
        from=$home/latest/download
    fi
    from=${INSTALL_REGISTRY_PROXY_RELEASES:-$from}
    folder=${INSTALL_REGISTRY_PROXY_BIN:-${HOME:?HOME is not set; set INSTALL_REGISTRY_PROXY_BIN}/.local/bin}
    name=$(archive_name)

    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    trap 'exit 1' HUP INT TERM
    download "$from/SHA256SUMS" "$temporary/SHA256SUMS"
    expected=$(awk -v file="$name.tar.gz" '$2 == file || $2 == "*" file { print $1 }' "$temporary/SHA256SUMS")
    [ -n "$expected" ] || fail "this release has no $name.tar.gz"
    download "$from/$name.tar.gz" "$temporary/archive"
    actual=$(sum_of "$temporary/archive")
    [ "$actual" = "$expected" ] ||
        fail "$name.tar.gz has the SHA-256 $actual, and SHA256SUMS says $expected; nothing was installed"

    tar -xzf "$temporary/archive" -C "$temporary"
    mkdir -p "$folder"
    # Under another name first: a program that runs cannot be overwritten, but it can be replaced.
    cp "$temporary"/registry-proxy-*/registry-proxy "$folder/.registry-proxy.new"
    chmod 755 "$folder/.registry-proxy.new"
    mv -f "$folder/.registry-proxy.new" "$folder/registry-proxy"
    "$folder/registry-proxy" --version || fail "$folder/registry-proxy does not run on this machine"
    printf 'Installed as %s/registry-proxy.\n' "$folder"
    case $name in *-not-tried) echo "Nobody has tried this binary on macOS: the tests run on Linux." ;; esac
    case ":$PATH:" in *":$folder:"*) ;; *) printf 'Add %s to PATH.\n' "$folder" ;; esac
    printf 'Next: %s/registry-proxy serves Docker Hub and eleven other registries on 127.0.0.1:3000.\n' "$folder"
}

main
