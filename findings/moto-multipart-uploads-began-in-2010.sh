#!/usr/bin/env bash
# Expected: ListMultipartUploads of S3 says when each upload was initiated (Amazon S3 API reference, "MultipartUpload"),
# so that whoever cleans a bucket up can leave alone what is under way.
# Seen: moto says of every upload that it was initiated on 10 November 2010, however new it is.
# Matters to a cache that keeps layers in a bucket and aborts uploads that were left behind: against moto it aborts what
# another process is sending at that moment. A test of that sweep cannot run on moto.
. "$(dirname "$0")/lib/common.sh"
claim "an upload that has just begun is sixteen years old to moto"
pip_install 'moto[s3]==5.2.5' boto3==1.44.8
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 TZ=UTC
seen=$(
  python - <<'PY'
import boto3, datetime, moto
with moto.mock_aws():
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="layers")
    for key in ("first", "second"):
        s3.create_multipart_upload(Bucket="layers", Key=key)
    for upload in s3.list_multipart_uploads(Bucket="layers")["Uploads"]:
        print(upload["Key"], upload["Initiated"].astimezone(datetime.timezone.utc).isoformat())
PY
)
expect "$seen" <<'WAS'
first 2010-11-10T20:48:33+00:00
second 2010-11-10T20:48:33+00:00
WAS
