"""The folders of the functions: aws, aliyun, tencent."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import hcl2
import yaml
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from . import DEPLOY, broken, fields, read


def sam(text):
    """cfn-lint, which translates SAM first: errors and warnings. `I` is for what it would like to be told."""
    matches = lint(text, config=ManualArgs(regions=["us-east-1"]))
    return [str(match) for match in matches if not match.rule.id.startswith("I")]


def resources(text):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, tag, node: (tag, loader.construct_scalar(node)
                                 if isinstance(node, yaml.ScalarNode) else loader.construct_sequence(node, deep=True)))
    return yaml.load(text, Loader)["Resources"]


def sam_rights(text):
    """What cfn-lint has no opinion on: both permissions, nothing but what is needed, a bucket that is tidied up."""
    found, parts = [], resources(text)
    permissions = {part["Properties"]["Action"] for part in parts.values() if part["Type"] == "AWS::Lambda::Permission"}
    if permissions != {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}:
        found.append(f"a public URL takes two permissions, and here is {permissions}")
    for statement in parts["Proxy"]["Properties"]["Policies"][0]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        found += [f"{action}: too much" for action in actions if "*" in action]
        if statement["Resource"] == "*":
            found.append(f"{statement['Sid']}: every resource")
    rules = parts["Blobs"]["Properties"]["LifecycleConfiguration"]["Rules"]
    if not any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        found.append("abandoned uploads stay")
    if not any("ExpirationInDays" in rule for rule in rules):
        found.append("objects stay for ever")
    return found


def aliyun(text):
    """Its fields, and what its variables are filled with."""
    document = yaml.safe_load(text)
    found = [f"{name} is not there" for name in ("edition", "name", "resources") if name not in document]
    values = document.get("vars", {})
    for name, resource in document["resources"].items():
        if resource.get("component") != "fc3":
            found.append(f"{name}: component {resource.get('component')}")
        props = fill(resource["props"], values)
        found += [f"{name}: {field} is not there" for field in fields.FC3_REQUIRED - props.keys()]
        found += fields.faults(props, fields.FC3, name)
        memory, cpu = props["memorySize"] / 1024, props["cpu"]
        if not 1 <= memory / cpu <= 4:
            found.append(f"{name}: memory in GB is one to four times the processors, not {memory / cpu}")
        variables = props["environmentVariables"]
        if str(props["customRuntimeConfig"]["port"]) != variables.get("PORT"):
            found.append(f"{name}: PORT is another one than the port that is asked")
        if "REGISTRY_PROXY_CACHE__STORE" in variables:
            if props["diskSize"] < 10240:
                found.append(f"{name}: no room for what is on its way into the bucket")
            if "REGISTRY_BACKEND" in variables:
                found += around_the_bucket(str(variables))
    return found


def fill(value, values):
    if isinstance(value, dict):
        return {name: fill(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, values) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{vars\.(\w+)\}", lambda name: str(values[name.group(1)]), value)
    return value


def serverless(text):
    document = yaml.safe_load(text)
    inputs = document["inputs"]
    found = [f"{name} is not there" for name in fields.SCF_REQUIRED - inputs.keys()]
    if document.get("component") != "scf":
        found.append("component is not scf")
    found += around_the_bucket(str(inputs["environment"]))
    return found + fields.faults(inputs, fields.SCF)


def terraform(folder):
    """Parsed; the arguments those of the provider's documentation; formatted, where Terraform is at hand to say so."""
    found, names = [], set()
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
                    found += arguments(plain(kind), plain(name), body)
    text = "".join(path.read_text() for path in folder.glob("*.tf"))
    found += [f"var.{name} is not declared" for name in sorted(set(re.findall(r"\bvar\.(\w+)", text)) - names)]
    tool = shutil.which("terraform") or shutil.which("tofu")
    if tool:
        done = subprocess.run([tool, "fmt", "-check", "-diff", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            found.append(done.stdout + done.stderr)
    return found


def plain(name):
    return name.strip('"')


def arguments(kind, name, body):
    resources = fields.TENCENTCLOUD | fields.TERRAFORM_DATA
    if kind not in resources:
        return [f"{kind}: not a resource that was looked up"]
    found = inner_arguments(f"{kind}.{name}", body, resources[kind] | fields.TERRAFORM)
    if kind == "tencentcloud_scf_function":
        if "terraform_data.package.output" not in str(body.get("zip_file")):
            found.append(f"{kind}.{name}: a zip of the same name is not deployed anew")
        found += around_the_bucket(str(body.get("environment")))
    return found


def around_the_bucket(environment):
    """REGISTRY_BACKEND, which may be added, sends clients to where it redirects, unless this says otherwise."""
    is_followed = re.search(r"""HANDLE_REDIRECT\W+true""", environment)
    return [] if is_followed else ["with REGISTRY_BACKEND the bucket is not used"]


def inner_arguments(place, body, known):
    found = []
    for key, value in body.items():
        if key.startswith("__"):
            continue
        if key not in known:
            found.append(f"{place}: there is no argument {key}")
        elif key in fields.TENCENTCLOUD_BLOCKS:
            for block in value:
                found += inner_arguments(f"{place}.{key}", block, fields.TENCENTCLOUD_BLOCKS[key])
    return found


class Aws(unittest.TestCase):
    def test_the_template_is_right(self):
        self.assertEqual(sam(read("aws/template.yaml")), [])
        self.assertEqual(sam_rights(read("aws/template.yaml")), [])

    def test_a_wrong_one_is_found(self):
        text = read("aws/template.yaml")
        for old, new in [
            ("MemorySize: !Ref MemorySize", "MemorySise: 256"),
            ("InvokeMode: RESPONSE_STREAM", "InvokeMode: STREAM"),
            ("!Ref Proxy\n      AuthType", "!Ref Prozy\n      AuthType"),
            ("ExpirationInDays: !Ref", "ExpireInDays: !Ref"),
        ]:
            with self.subTest(new):
                self.assertNotEqual(sam(broken(text, old, new)), [])
        for old, new in [
            ("Action: lambda:InvokeFunctionUrl", "Action: lambda:InvokeFunction"),
            ("- s3:GetObject\n", "- s3:*\n"),
            ("Resource: !Sub arn:${AWS::Partition}:s3:::${Blobs}/registry-proxy/*", 'Resource: "*"'),
            ("            AbortIncompleteMultipartUpload:\n              DaysAfterInitiation: 1", ""),
        ]:
            with self.subTest(new):
                self.assertNotEqual(sam_rights(broken(text, old, new)), [])


class Aliyun(unittest.TestCase):
    def test_the_file_is_right(self):
        self.assertEqual(aliyun(read("aliyun/s.yaml")), [])

    def test_a_wrong_one_is_found(self):
        for old, new in [
            ("memorySize: 256", "memorySize: 200"),
            ("memorySize: 256", "memorySize: 2048"),
            ("diskSize: 512", "diskSize: 1024"),
            ("runtime: custom.debian12", "runtime: custom.debian9"),
            ("port: 3000", "port: 9000"),
            ("triggerType: http", "triggerTyp: http"),
            ("- PATCH", "- PURGE"),
            ("region: cn-hongkong", "region: cn-hong-kong"),
            ("code: ./code", "coda: ./code"),
            ("# REGISTRY_PROXY_CACHE__STORE", "REGISTRY_PROXY_CACHE__STORE"),
        ]:
            with self.subTest(new):
                self.assertNotEqual(aliyun(broken(read("aliyun/s.yaml"), old, new)), [])

    def test_what_stands_in_comments_can_be_used(self):
        text = broken(read("aliyun/s.yaml"), "# REGISTRY_PROXY_CACHE__STORE", "REGISTRY_PROXY_CACHE__STORE")
        text = broken(text, "diskSize: 512", "diskSize: 10240")
        self.assertEqual(aliyun(text), [])
        for name in ["REGISTRY_BACKEND", "DEFAULT_BACKEND_HOST", "PROXY_REDIRECT", "HANDLE_REDIRECT"]:
            text = broken(text, f"# {name}: ", f"{name}: ")
        self.assertNotEqual(aliyun(text), [])
        self.assertEqual(aliyun(broken(text, 'HANDLE_REDIRECT: "false"', 'HANDLE_REDIRECT: "true"')), [])


class Tencent(unittest.TestCase):
    def test_the_files_are_right(self):
        self.assertEqual(serverless(read("tencent/serverless.yml")), [])
        self.assertEqual(terraform(DEPLOY / "tencent"), [])

    def test_the_script_is_as_the_platform_starts_it(self):
        path = DEPLOY / "tencent/scf_bootstrap"
        self.assertTrue(path.stat().st_mode & 0o100)
        self.assertTrue(path.read_bytes().startswith(b"#!/bin/sh\n"))
        for line in ["export PORT=9000", "export REGISTRY_PROXY_PLATFORM=tencent-scf"]:
            self.assertIn(line, path.read_text().splitlines())
        self.assertNotIn(b"\r", path.read_bytes())
        subprocess.run(["sh", "-n", path], check=True)

    def test_wrong_ones_are_found(self):
        text = read("tencent/serverless.yml")
        for old, new in [
            ("type: web", "type: http"),
            ("timeout: 900", "timeout: 901"),
            ("src:", "source:"),
            ('HANDLE_REDIRECT: "true"', 'HANDLE_REDIRECT: "false"'),
        ]:
            with self.subTest(new):
                self.assertNotEqual(serverless(broken(text, old, new)), [])
        for old, new in [
            ("mem_size ", "memory   "),
            ("days_after_initiation", "days_after_start"),
            ("var.memory_size", "var.memory"),
            ("terraform_data.package.output", '"${path.module}/registry-proxy.zip"'),
            ("triggers_replace", "triggers       "),
            ('HANDLE_REDIRECT = "true"', 'HANDLE_REDIRECT = "false"'),
            ('resource "tencentcloud_scf_function" "proxy" {', 'resource "tencentcloud_scf_function" "proxy" {{'),
        ]:
            with self.subTest(new), tempfile.TemporaryDirectory() as folder:
                for path in (DEPLOY / "tencent").glob("*.tf"):
                    shutil.copy(path, folder)
                path = Path(folder) / "main.tf"
                path.write_text(broken(path.read_text(), old, new))
                self.assertNotEqual(terraform(Path(folder)), [])
