"""The Terraform modules: aws, aliyun, tencent. They are parsed, and held against what the providers document."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import hcl2

from . import DEPLOY, broken, providers, read
from .providers import plain
from .test_functions import around_the_bucket, resources

KNOWN = providers.AWS | providers.ALICLOUD | providers.TENCENTCLOUD | providers.TERRAFORM_DATA
MODULES = ["aws/terraform", "aliyun/terraform", "tencent"]
FUNCTIONS = ("aws_lambda_function", "alicloud_fcv3_function", "tencentcloud_scf_function")


def terraform(folder):
    """Parsed; the arguments those of the provider's documentation; formatted, where Terraform is at hand to say so."""
    found, names, used = [], set(), set()
    for path in sorted(folder.glob("*.tf")):
        try:
            with path.open() as file:
                document = hcl2.load(file)
        except Exception as error:  # the parser's own, of many kinds
            return [f"{path.name}: {error}"]
        names |= {plain(name) for block in document.get("variable", []) for name in block}
        for block in document.get("resource", []):
            for kind, named in block.items():
                for name, body in named.items():
                    used.add(f"{plain(kind)}.{plain(name)}")
                    found += resource(plain(kind), plain(name), body)
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    found += [f"var.{name} is not declared" for name in sorted(set(re.findall(r"\bvar\.(\w+)", text)) - names)]
    found += [f"var.{name} is not used" for name in sorted(names - set(re.findall(r"\bvar\.(\w+)", text)))]
    mentioned = set(re.findall(r"(?<![\w.])((?:aws|alicloud|tencentcloud|terraform)_\w+\.\w+)", without_data(text)))
    found += [f"{name} is not created" for name in sorted(mentioned - used)]
    tool = shutil.which("terraform") or shutil.which("tofu")
    if tool:
        done = subprocess.run([tool, "fmt", "-check", "-diff", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(done.stdout + done.stderr)
    return found


def without_data(text):
    """Without what is read and not created."""
    return re.sub(r"\bdata\.\w+\.\w+", "", text)


def resource(kind, name, body):
    place = f"{kind}.{name}"
    if kind not in KNOWN:
        return [f"{kind}: not a resource that was looked up"]
    found = providers.faults(place, body, KNOWN[kind])
    if kind in FUNCTIONS:
        found += around_the_bucket(str(body))
    if kind == "tencentcloud_scf_function" and "terraform_data.package" not in str(body.get("zip_file")):
        found.append(f"{place}: a zip of the same name is not deployed anew")
    return found


def rights(text):
    """What it allows."""
    return set(re.findall(r"\b((?:s3|oss|lambda|sts):[A-Z]\w+)", text))


class Modules(unittest.TestCase):
    def test_they_are_right(self):
        for module in MODULES:
            with self.subTest(module):
                self.assertEqual(terraform(DEPLOY / module), [])

    def test_they_give_the_rights_that_the_other_files_give(self):
        template = {str(action) for action in rights(read("aws/template.yaml"))}
        self.assertEqual(rights(read("aws/terraform/main.tf")), template | {"sts:AssumeRole"})
        page = rights(read("aliyun/README.md"))
        self.assertEqual(rights(read("aliyun/terraform/main.tf")), page | {"sts:AssumeRole"})

    def test_cloudfront_is_that_of_the_template(self):
        template = resources(read("aws/template.yaml"))["Distribution"]["Properties"]["DistributionConfig"]
        behavior, module = template["DefaultCacheBehavior"], read("aws/terraform/cloudfront.tf")
        for policy in [behavior["CachePolicyId"], behavior["OriginRequestPolicyId"]]:
            self.assertIn(f'"{policy}"', module)
        self.assertEqual(behavior["AllowedMethods"], ["GET", "HEAD"])
        self.assertIn('allowed_methods          = ["GET", "HEAD"]', module)
        kept = [response["ErrorCode"] for response in template["CustomErrorResponses"]]
        self.assertIn(f"kept_errors = {kept}", module)
        self.assertTrue(all(response["ErrorCachingMinTTL"] == 0 for response in template["CustomErrorResponses"]))

    def test_wrong_ones_are_found(self):
        for module, name, old, new in [
            ("tencent", "main.tf", "mem_size ", "memory   "),
            ("tencent", "main.tf", "days_after_initiation", "days_after_start"),
            ("tencent", "main.tf", "var.memory_size", "var.memory"),
            ("tencent", "main.tf", "one([for package in terraform_data.package : package.output])", '"registry-proxy.zip"'),
            ("tencent", "main.tf", "triggers_replace", "triggers       "),
            ("tencent", "main.tf", 'HANDLE_REDIRECT = "true"', 'HANDLE_REDIRECT = "false"'),
            ("tencent", "main.tf", '"tencentcloud_scf_function" "proxy" {', '"tencentcloud_scf_function" "proxy" {{'),
            ("tencent", "main.tf", "image_uri ", "image_url "),
            ("tencent", "main.tf", "    content {", "    contents {"),
            ("tencent", "main.tf", "tencentcloud_cam_role.proxy.name", "tencentcloud_cam_role.proxi.name"),
            ("aws/terraform", "main.tf", "memory_size      =", "memory           ="),
            ("aws/terraform", "main.tf", "role             =", "# role           ="),
            ("aws/terraform", "main.tf", "retention_in_days", "retention_days   "),
            ("aws/terraform", "main.tf", "  ephemeral_storage {", "  ephemeral {"),
            ("aws/terraform", "cloudfront.tf", "origin_read_timeout", "read_timeout"),
            ("aws/terraform", "cloudfront.tf", "error_caching_min_ttl", "min_ttl"),
            ("aws/terraform", "variables.tf", 'variable "cloudfront"', 'variable "cloudfrond"'),
            ("aliyun/terraform", "main.tf", "disk_size =", "disk ="),
            ("aliyun/terraform", "main.tf", "http_get_url ", "http_get_uri "),
            ("aliyun/terraform", "main.tf", "handler = ", "handle = "),
            ("aliyun/terraform", "main.tf", "abort_multipart_upload", "abort_upload"),
        ]:
            with self.subTest(new), tempfile.TemporaryDirectory() as folder:
                for path in (DEPLOY / module).glob("*.tf"):
                    shutil.copy(path, folder)
                path = Path(folder) / name
                path.write_text(broken(path.read_text(), old, new))
                self.assertNotEqual(terraform(Path(folder)), [])
