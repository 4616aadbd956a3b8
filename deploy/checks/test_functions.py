"""The folders of the functions: aws, aliyun, tencent."""

import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

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
    found += sam_timer(parts)
    return found


def sam_timer(parts):
    """A timer sends the event that the function knows, and may invoke it."""
    timer, found = parts["WarmTimer"]["Properties"], []
    if [target.get("Input") for target in timer["Targets"]] != ['{"registry-proxy/warm":{}}']:
        found.append("the timer sends what the function does not know")
    allowed = [part["Properties"] for part in parts.values() if part["Type"] == "AWS::Lambda::Permission"]
    if ("GetAtt", "WarmTimer.Arn") not in [it.get("SourceArn") for it in allowed]:
        found.append("the timer may not invoke the function")
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
        is_image = props["runtime"] == "custom-container"
        required = fields.FC3_REQUIRED | {"customContainerConfig" if is_image else "code"}
        found += [f"{name}: {field} is not there" for field in required - props.keys()]
        found += fields.faults(props, fields.FC3, name)
        for trigger in props.get("triggers", []):
            found += timer(trigger, props["environmentVariables"])
        memory, cpu = props["memorySize"] / 1024, props["cpu"]
        if not 1 <= memory / cpu <= 4:
            found.append(f"{name}: memory in GB is one to four times the processors, not {memory / cpu}")
        variables = props["environmentVariables"]
        config = props.get("customContainerConfig" if is_image else "customRuntimeConfig", {})
        # The image sets no PORT, so it listens where this platform asks by default.
        if str(config.get("port")) != variables.get("PORT", "9000"):
            found.append(f"{name}: PORT is another one than the port that is asked")
        if "REGISTRY_PROXY_CACHE__STORE" in variables:
            if props["diskSize"] < 10240:
                found.append(f"{name}: no room for what is on its way into the bucket")
            if "REGISTRY_BACKEND" in variables:
                found += around_the_bucket(str(variables))
    return found


def timer(trigger, variables):
    """A timer is let in by its payload, and its expression has seconds: CRON_TZ=Asia/Shanghai 0 0 7 * * *."""
    if trigger.get("triggerType") != "timer":
        return []
    config, name, found = trigger["triggerConfig"], trigger["triggerName"], []
    if not config.get("payload") or config.get("payload") != variables.get("REGISTRY_PROXY_TIMER__TOKEN"):
        found.append(f"{name}: its payload is not the token, and so it is refused")
    if not re.fullmatch(r"(CRON_TZ=\S+ )?[^=\s]+( \S+){5}", config.get("cronExpression", "")):
        found.append(f"{name}: cronExpression has six fields")
    if "REGISTRY_PROXY_WARM" not in variables:
        found.append(f"{name}: there is nothing to warm")
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


def around_the_bucket(environment):
    """REGISTRY_BACKEND, which may be added, sends clients to where it redirects, unless this says otherwise."""
    is_followed = re.search(r"""HANDLE_REDIRECT\W+true""", environment)
    return [] if is_followed else ["with REGISTRY_BACKEND the bucket is not used"]


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
            ('{"registry-proxy/warm":{}}', "{}"),
            ("SourceArn: !GetAtt WarmTimer.Arn", "SourceArn: !GetAtt Url.Arn"),
            ("- s3:GetObject\n", "- s3:*\n"),
            ("Resource: !Sub arn:${AWS::Partition}:s3:::${Blobs}/registry-proxy/*", 'Resource: "*"'),
            ("            AbortIncompleteMultipartUpload:\n              DaysAfterInitiation: 1", ""),
        ]:
            with self.subTest(new):
                self.assertNotEqual(sam_rights(broken(text, old, new)), [])


COMPONENT = """exports.default = class {
  async deploy(inputs) {
    const what = inputs.props.code || inputs.props.customContainerConfig.image;
    console.log("uploads " + what + " with " + inputs.props.environmentVariables.REGISTRY_PROXY_CLIENTS__PATH_SECRET);
    return {};
  }
};
"""


def remove(folder):
    """Removes a folder that is a home of Serverless Devs, which may leave a process behind that still writes there."""
    for pause in [0.1, 0.3, 1, 3]:
        try:
            return shutil.rmtree(folder)
        except OSError:
            time.sleep(pause)
    shutil.rmtree(folder)


@unittest.skipUnless("SERVERLESS_DEVS" in os.environ, "`cargo xtask deploy --install` brings Serverless Devs")
class AliyunTool(unittest.TestCase):
    """Serverless Devs reads the folder and runs its action. What uploads lies elsewhere, so a component of our own
    stands in its place, and so does a cargo that builds nothing."""

    def setUp(self):
        self.clone = Path(tempfile.mkdtemp())
        self.addCleanup(remove, self.clone)
        self.folder = self.clone / "deploy" / "aliyun"
        ignored = shutil.ignore_patterns("code")
        shutil.copytree(DEPLOY / "aliyun", self.folder, ignore=ignored)
        (self.clone / "bin").mkdir()
        (self.folder / "component").mkdir()
        (self.folder / "component" / "index.js").write_text(COMPONENT)
        (self.folder / "component" / "package.json").write_text('{"main": "index.js"}')
        self.variables = {
            **os.environ,
            "HOME": str(self.clone),
            "PATH": f"{self.clone / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "PATH_SECRET": "the-secret",
        }

    def cargo(self):
        """In a clone, with Rust."""
        (self.clone / "xtask").mkdir()
        (self.clone / "xtask" / "Cargo.toml").write_text("")
        cargo = self.clone / "bin" / "cargo"
        cargo.write_text(
            '#!/bin/sh\npwd > asked; echo "$*" >> asked; mkdir -p dist/aliyun/code\n'
            "printf built > dist/aliyun/code/registry-proxy\n"
        )
        cargo.chmod(0o755)

    def run_tool(self, *arguments, component="./component"):
        text = broken(read("aliyun/s.yaml"), "component: fc3", f"component: {component}")
        (self.folder / "s.yaml").write_text(text)
        program = [os.environ["SERVERLESS_DEVS"], *arguments]
        done = subprocess.run(program, cwd=self.folder, env=self.variables, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_it_previews_the_file(self):
        code, said = self.run_tool("preview", component="fc3")
        self.assertEqual(code, 0, said)
        for word in ["fc3", "custom.debian12", "the-secret", "sh ./pre-deploy.sh"]:
            self.assertIn(word, said)

    def test_an_image_is_deployed_without_a_build(self):
        self.cargo()
        text = broken(read("aliyun/s.image.yaml"), "component: fc3", "component: ./component")
        (self.folder / "s.image.yaml").write_text(text)
        code, said = self.run_tool("deploy", "-t", "s.image.yaml", "-a", "default")
        self.assertIn("IMAGE is not set", said)
        self.assertNotIn("uploads", said)
        self.assertNotEqual(code, 0, said)
        self.variables["IMAGE"] = "registry-vpc.cn-hongkong.aliyuncs.com/namespace/registry-proxy:0.1.0"
        code, said = self.run_tool("deploy", "-t", "s.image.yaml", "-a", "default")
        self.assertIn(f"uploads {self.variables['IMAGE']} with the-secret", said)
        self.assertEqual(code, 0, said)
        self.assertFalse((self.clone / "asked").exists())

    def test_in_a_clone_the_package_is_built_first(self):
        self.cargo()
        code, said = self.run_tool("deploy", "-a", "default")
        self.assertIn("uploads ./code with the-secret", said)
        self.assertEqual(code, 0, said)
        asked = (self.clone / "asked").read_text().splitlines()
        self.assertEqual(asked, [str(self.clone.resolve()), "xtask package aliyun --install"])
        self.assertEqual((self.folder / "code" / "registry-proxy").read_text(), "built")

    def test_what_was_downloaded_is_taken_as_it_is(self):
        (self.folder / "code").mkdir()
        program = self.folder / "code" / "registry-proxy"
        program.write_text("downloaded")
        program.chmod(0o755)
        code, said = self.run_tool("deploy", "-a", "default")
        self.assertIn("uploads ./code", said)
        self.assertEqual((code, program.read_text()), (0, "downloaded"), said)

    def test_nothing_is_uploaded_without_a_secret_or_a_program(self):
        self.cargo()
        self.variables["PATH_SECRET"] = ""
        code, said = self.run_tool("deploy", "-a", "default")
        self.assertIn("PATH_SECRET is not set", said)
        self.assertNotIn("uploads", said)
        self.assertNotEqual(code, 0, said)
        del self.variables["PATH_SECRET"]
        code, said = self.run_tool("deploy", "-a", "default")
        self.assertIn("PATH_SECRET", said)
        self.assertNotIn("uploads", said)
        self.assertNotEqual(code, 0, said)
        self.variables["PATH_SECRET"] = "s"
        (self.clone / "bin" / "cargo").unlink()
        code, said = self.run_tool("deploy", "-a", "default")
        self.assertIn("There is no ./code/registry-proxy", said)
        self.assertNotIn("uploads", said)
        self.assertNotEqual(code, 0, said)


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

    def test_the_timer_in_comments_can_be_used_and_only_with_its_token(self):
        text = read("aliyun/s.yaml")
        for line in ["REGISTRY_PROXY_WARM", "REGISTRY_PROXY_TIMER__TOKEN"]:
            text = broken(text, f"# {line}", line)
        head, tail = text.split("        # - triggerName: warm\n")
        trigger = "".join(line.replace("        # ", "        ", 1) for line in tail.splitlines(keepends=True))
        text = f"{head}        - triggerName: warm\n{trigger}"
        self.assertEqual(aliyun(text), [])
        for old, new in [
            ("triggerType: timer", "triggerType: timers"),
            ("CRON_TZ=Asia/Shanghai 0 0 7 * * *", "CRON_TZ=Asia/Shanghai 0 7 * * *"),
            ("REGISTRY_PROXY_TIMER__TOKEN", "# REGISTRY_PROXY_TIMER__TOKEN"),
            ("            payload:", "            # payload:"),
            ("REGISTRY_PROXY_WARM:", "# REGISTRY_PROXY_WARM:"),
            ("cronExpression:", "cron:"),
        ]:
            with self.subTest(new):
                self.assertNotEqual(aliyun(broken(text, old, new)), [])

    def test_what_stands_in_comments_can_be_used(self):
        text = broken(read("aliyun/s.yaml"), "# REGISTRY_PROXY_CACHE__STORE", "REGISTRY_PROXY_CACHE__STORE")
        text = broken(text, "diskSize: 512", "diskSize: 10240")
        self.assertEqual(aliyun(text), [])
        for name in ["REGISTRY_BACKEND", "DEFAULT_BACKEND_HOST", "PROXY_REDIRECT", "HANDLE_REDIRECT"]:
            text = broken(text, f"# {name}: ", f"{name}: ")
        self.assertNotEqual(aliyun(text), [])
        self.assertEqual(aliyun(broken(text, 'HANDLE_REDIRECT: "false"', 'HANDLE_REDIRECT: "true"')), [])


class Tencent(unittest.TestCase):
    def test_the_file_is_right(self):
        self.assertEqual(serverless(read("tencent/serverless.yml")), [])

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
