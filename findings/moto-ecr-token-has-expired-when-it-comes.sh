#!/usr/bin/env bash
# Expected: GetAuthorizationToken of ECR gives a token that is good for 12 hours, and expiresAt says until when (Amazon
# ECR API reference, "AuthorizationData").
# Seen: moto's expiresAt is the beginning of 2015, whenever it is asked.
# Matters to a proxy that keeps ECR tokens until they expire: against moto it asks for a token before every request. An
# expiry in the past should be told in a log once, and the fresh token used all the same.
. "$(dirname "$0")/lib/common.sh"
claim "the login for ECR that moto hands out expired in 2015"
pip_install 'moto[ecr]==5.2.5' boto3==1.44.8
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 TZ=UTC
seen=$(
  python - <<'PY'
import base64, boto3, datetime, moto
with moto.mock_aws():
    data = boto3.client("ecr").get_authorization_token()["authorizationData"][0]
    print("expires:", data["expiresAt"].astimezone(datetime.timezone.utc).isoformat())
    print("login:", base64.b64decode(data["authorizationToken"]).decode().split(":")[0])
PY
)
expect "$seen" <<'WAS'
expires: 2015-01-01T00:00:00+00:00
login: AWS
WAS
