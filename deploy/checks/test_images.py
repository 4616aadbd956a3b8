"""The functions as container images: each file is that of the zip, with the image in its place and nothing else changed."""

import unittest

from . import broken, read
from .test_functions import aliyun, sam, sam_rights

# What image.yaml has in place of lines of template.yaml.
AWS = [
    (
        "# registry-proxy on AWS Lambda. README.md beside this says how; the zip is made by `cargo xtask package aws`.\n",
        "# registry-proxy on AWS Lambda, as a container image. README.md beside this says how. This file is template.yaml with the\n"
        "# image in place of the zip; deploy/checks compares them.\n",
    ),
    (
        "Parameters:\n",
        "Parameters:\n"
        "  ImageUri:\n"
        "    Type: String\n"
        "    Description: >-\n"
        "      The image in your ECR, in this region, for one processor, such as\n"
        "      123456789012.dkr.ecr.eu-central-1.amazonaws.com/registry-proxy:0.1.0.\n",
    ),
    ("The processor that the zip was packaged for (--arch).", "The processor that the image is for."),
    (
        "      PackageType: Zip\n"
        "      CodeUri: registry-proxy.zip\n"
        "      Handler: bootstrap\n"
        "      Runtime: provided.al2023\n",
        "      PackageType: Image\n"
        "      ImageUri: !Ref ImageUri\n",
    ),
]
# What s.image.yaml has in place of lines of s.yaml.
ALIYUN = [
    (
        "# registry-proxy on Aliyun Function Compute 3.0. README.md beside this file says how to deploy, and explains each section.\n",
        "# registry-proxy on Aliyun Function Compute 3.0, as a container image: s deploy -t s.image.yaml. README.md beside this file\n"
        "# says how to push the image. But for what names it this file is s.yaml, which README.md explains; deploy/checks compares them.\n",
    ),
    ("# Fills ./code, and fails without PATH_SECRET.", "# Fails without PATH_SECRET and IMAGE."),
    ("sh ./pre-deploy.sh\n", "sh ./pre-deploy.sh image\n"),
    ("runtime: custom.debian12", "runtime: custom-container"),
    ("      code: ./code\n", ""),
    ('        PORT: "3000"\n', ""),
    (
        "      customRuntimeConfig:\n"
        "        command:\n"
        "          - ./registry-proxy\n"
        "        port: 3000\n",
        "      customContainerConfig:\n"
        "        # In Container Registry, in the same region: registry-vpc.cn-hongkong.aliyuncs.com/NAMESPACE/registry-proxy:0.1.0\n"
        "        image: ${env('IMAGE', 'IMAGE is not set')}\n"
        "        # The image finds out where it runs, and listens there.\n"
        "        port: 9000\n",
    ),
]


def with_image(text, pairs):
    for old, new in pairs:
        text = broken(text, old, new)
    return text


class Images(unittest.TestCase):
    def test_they_differ_from_those_of_the_zip_by_the_image_alone(self):
        self.assertEqual(read("aws/image.yaml"), with_image(read("aws/template.yaml"), AWS))
        self.assertEqual(read("aliyun/s.image.yaml"), with_image(read("aliyun/s.yaml"), ALIYUN))

    def test_they_are_right(self):
        self.assertEqual(sam(read("aws/image.yaml")), [])
        self.assertEqual(sam_rights(read("aws/image.yaml")), [])
        self.assertEqual(aliyun(read("aliyun/s.image.yaml")), [])

    def test_wrong_ones_are_found(self):
        self.assertNotEqual(sam(broken(read("aws/image.yaml"), "ImageUri: !Ref", "ImageUrl: !Ref")), [])
        for old, new in [
            ("port: 9000", "port: 3000"),
            ("        image: ", "        imageUrl: "),
            ("customContainerConfig", "customRuntimeConfig"),
        ]:
            with self.subTest(new):
                self.assertNotEqual(aliyun(broken(read("aliyun/s.image.yaml"), old, new)), [])
