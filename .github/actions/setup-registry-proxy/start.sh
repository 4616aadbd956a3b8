#!/bin/sh
# Installs registry-proxy, starts it, and writes what Docker and BuildKit need. action.yml calls it with the inputs in the
# environment; RUNNER_TEMP, GITHUB_OUTPUT and GITHUB_PATH are the runner's.
set -eu

folder=$RUNNER_TEMP/registry-proxy
url=http://127.0.0.1:$ACTION_PORT
mkdir -p "$folder/bin" "$folder/cache" "$folder/client"

INSTALL_REGISTRY_PROXY_BIN=$folder/bin sh "$ACTION_FOLDER/../../../install.sh"
program=$folder/bin/registry-proxy
echo "$folder/bin" >>"$GITHUB_PATH"

# In the environment, because it wins over the file: the client below is told the same address.
export REGISTRY_PROXY_LISTEN="127.0.0.1:$ACTION_PORT"
export REGISTRY_PROXY_CACHE__STORE="file://$folder/cache"
if [ -n "$ACTION_CONFIG" ]; then
    export REGISTRY_PROXY_CONFIG="$ACTION_CONFIG"
fi
"$program" check >/dev/null
nohup "$program" >"$folder/log" 2>&1 &
process=$!

# It listens within milliseconds; a slow runner gets half a minute.
tries=0
until "$program" health >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ] || ! kill -0 "$process" 2>/dev/null; then
        echo "::error::registry-proxy did not start; its log follows"
        cat "$folder/log"
        exit 1
    fi
    sleep 0.5
done

"$program" client buildkit --url "$url" --root "$folder/client" --write
if [ "$ACTION_DOCKER" = true ]; then
    sudo "$program" client docker --url "$url" --write
    sudo systemctl reload docker
fi
{
    echo "url=$url"
    echo "buildkitd-config=$folder/client/etc/buildkit/buildkitd.toml"
} >>"$GITHUB_OUTPUT"
