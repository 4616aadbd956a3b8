#!/usr/bin/env bash
# Expected: an image's digest is the hash of its manifest's bytes (OCI image spec, "Descriptor", "Digests"), in ECR's
# PutImage too; another spelling of the same JSON is another image, and a wrong imageDigest is refused
# (ImageDigestDoesNotMatchException).
# Seen: moto's ECR gives a digest that is not the sha256 of the manifest; two spellings share it; a wrong imageDigest is
# accepted and ignored; BatchGetImage hands out a type that acceptedMediaTypes does not name.
# Matters to the tests of a proxy for ECR: moto can stand in for its API, not for its digests.
. "$(dirname "$0")/lib/common.sh"
claim "the digest of an image in moto's ECR is not the sha256 of its manifest"
pip_install 'moto[ecr]==5.2.5' boto3==1.44.8
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1
seen=$(
  python - <<'PY'
import boto3, hashlib, json, moto
oci = "application/vnd.oci.image.manifest.v1+json"
blob = lambda kind, letter: {"mediaType": kind, "digest": "sha256:" + letter * 64, "size": 2}
manifest = {"schemaVersion": 2, "mediaType": oci, "config": blob("application/vnd.oci.image.config.v1+json", "a"),
            "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", "b")]}
with moto.mock_aws():
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="r/a")
    put = lambda text, tag, **more: ecr.put_image(repositoryName="r/a", imageManifest=text, imageTag=tag, **more)["image"]
    plain, spaced = json.dumps(manifest), json.dumps(manifest, indent=1)
    one, two = put(plain, "one"), put(spaced, "two")
    real = "sha256:" + hashlib.sha256(plain.encode()).hexdigest()
    print("digest is that of the bytes:", one["imageId"]["imageDigest"] == real)
    print("another spelling has another digest:", one["imageId"]["imageDigest"] != two["imageId"]["imageDigest"])
    wrong = put(plain, "three", imageDigest="sha256:" + "0" * 64)
    print("imageDigest of zeros gives that of before:", wrong["imageId"]["imageDigest"] == one["imageId"]["imageDigest"])
    docker = "application/vnd.docker.distribution.manifest.v2+json"
    got = ecr.batch_get_image(repositoryName="r/a", imageIds=[{"imageTag": "one"}], acceptedMediaTypes=[docker])
    print("asked for Docker's type, got:", got["images"][0]["imageManifestMediaType"])
PY
)
expect "$seen" <<'WAS'
digest is that of the bytes: False
another spelling has another digest: False
imageDigest of zeros gives that of before: True
asked for Docker's type, got: application/vnd.oci.image.manifest.v1+json
WAS
