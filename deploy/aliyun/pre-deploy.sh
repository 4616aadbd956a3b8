#!/bin/sh
# `s deploy` runs this first: it fills ./code with what is uploaded. With the argument `image` it only checks the variables.
# In a clone it builds the package; in a folder that was downloaded or packaged it takes what lies in ./code.
set -eu
cd "$(dirname "$0")"

fail() {
    echo "$1" >&2
    exit 1
}

if [ -z "${PATH_SECRET:-}" ]; then
    fail 'PATH_SECRET is not set: without it everybody who finds the address pulls at your expense.
Set one, keep it, and deploy again:  export PATH_SECRET=$(openssl rand -hex 16); echo "$PATH_SECRET"'
fi

if [ "${1:-}" = image ]; then
    [ -n "${IMAGE:-}" ] || fail 'IMAGE is not set: push the image to Container Registry in the same region, and say its name:
export IMAGE=registry-vpc.cn-hongkong.aliyuncs.com/NAMESPACE/registry-proxy:0.1.0'
    exit 0
fi

if [ -f ../../xtask/Cargo.toml ] && command -v cargo >/dev/null; then
    (cd ../.. && cargo xtask package aliyun --install)
    mkdir -p code
    cp ../../dist/aliyun/code/registry-proxy code/registry-proxy
elif [ ! -x code/registry-proxy ]; then
    fail 'There is no ./code/registry-proxy to upload. In a clone of the repository install Rust (https://rustup.rs) and
deploy again; or put the static binary there, with mode 755.'
fi
