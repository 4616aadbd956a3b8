#!/bin/sh
# After the package is gone. The cache stays, also after a purge: it may be hundreds of gigabytes that take days to fetch
# again, and whoever wants it gone has one command for it. Its owner stays with it, or another user could get that number.
set -e

if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
case ${1:-} in
    purge | 0)
        cache=${DPKG_ROOT:-}/var/cache/registry-proxy
        if [ -d "$cache" ]; then
            echo "The cache stays in $cache, and the user registry-proxy with it. rm -r $cache removes it."
        fi
        ;;
esac
