#!/usr/bin/env bash
# Expected: an option that `skopeo copy --help` lists without a word of warning works. skopeo 1.9 signs in cosign's format
# with --sign-by-sigstore-private-key (containers/image 5.22, "sigstore").
# Seen: Debian 12 removes the signing and leaves the option: the image is copied, its tag included, and then the command
# fails. What is at the target then is the image without a signature.
# Matters to a proxy: whoever tells users how to sign images for a policy cannot name skopeo on Debian 12, and a signature
# for tests has to be made otherwise.
. "$(dirname "$0")/lib/common.sh"
claim "Debian's skopeo lists an option to sign as sigstore does, and refuses to do it"
# shellcheck disable=SC2086
deb_unpack $SKOPEO
start_registry
seen=$(
  cd "$TMP"
  skopeo copy --help 2>&1 | grep -o -- '--sign-by-sigstore-private-key PATH .*' | tr -s ' '
  # What is in the files does not matter: they are not read.
  echo key >key
  echo words >words
  skopeo --insecure-policy copy -q --dest-tls-verify=false --src-tls-verify=false \
    --sign-by-sigstore-private-key key --sign-passphrase-file words \
    "docker://$REGISTRY/a/b:t" "docker://$REGISTRY/a/copy:t" 2>&1 | sed 's/.*msg=//' | tidy || true
  requests | grep -E '^(POST|PUT|PATCH) ' || true
)
expect "$seen" <<'WAS'
--sign-by-sigstore-private-key PATH Sign the image using a sigstore private key at PATH
"creating signature: Debian-local change: sigstore disabled"
PUT /v2/a/copy/manifests/t
WAS
