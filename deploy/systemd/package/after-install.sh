#!/bin/sh
# After an installation or an upgrade, of the deb ("configure" and the version before) and of the rpm (how many versions are
# installed now). The service is not started: whoever installs it decides what it listens on first.
set -e

root=${DPKG_ROOT:-}
if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers ${root:+--root="$root"} registry-proxy.conf
elif ! getent passwd registry-proxy >/dev/null; then
    # Without systemd.
    useradd --system --no-create-home --home-dir /var/cache/registry-proxy --shell /usr/sbin/nologin registry-proxy
fi

if [ -z "$root" ] && [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    # Only where it runs already: an upgrade.
    systemctl try-restart registry-proxy.service || true
fi
