#!/bin/sh
# Before the package goes: the deb says "remove", the rpm 0. On an upgrade the service runs on, and is restarted afterwards.
set -e

case ${1:-} in
    remove | 0)
        if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
            systemctl disable --now registry-proxy.service || true
        fi
        ;;
esac
