"""Who may use what is deployed. A platform that everybody reaches asks for a secret in the path; a machine or a cluster
keeps to itself until it is told otherwise. Nothing here is open to strangers because somebody left something out."""

import re
import tomllib
import unittest

import helm_python as helm
import yaml

from . import DEPLOY, broken, read
from .test_functions import resources

VARIABLE = "REGISTRY_PROXY_CLIENTS__PATH_SECRET"
# What each tool fills in when somebody deploys, and instead where there is nothing: that must be no segment of a path.
TEMPLATES = (r"\$\{env\('PATH_SECRET'(, '[^']* [^']*')?\)\}", r"\$\{env:PATH_SECRET\}")


def cloudflare(text):
    """The Worker names a secret that is there before it is deployed, and so has no value in the file."""
    document = tomllib.loads(text)
    variables, required = document.get("vars", {}), document.get("secrets", {}).get("required", [])
    found = []
    for name in ("REGISTRY_PROXY_CLIENTS__PATH_SECRET_FILE", "REGISTRY_PROXY_SIGNING_KEY_FILE"):
        secret = variables.get(name)
        if secret is None:
            found.append(f"{name} is not set")
        elif secret not in required:
            found.append(f"{secret} may be missing when it is deployed")
        if secret in variables:
            found.append(f"{secret} stands in the file")
    return found


def aws(text):
    """A parameter without which there is no stack."""
    document = resources(text)
    variables = document["Proxy"]["Properties"]["Environment"]["Variables"]
    parameters = text.split("\nConditions:")[0]
    body = re.search(r"^  PathSecret:\n((?:    .*\n)+)", parameters, re.MULTILINE)
    found = [] if variables.get(VARIABLE) == ("!Ref", "PathSecret") or "PathSecret" in str(variables.get(VARIABLE)) else [
        f"{VARIABLE} is not the parameter"]
    if body is None or "Default:" in body[1] or "MinLength: 16" not in body[1] or "NoEcho: true" not in body[1]:
        found.append("PathSecret can be left out, is short, or is shown")
    return found


def templated(variables):
    """A variable that the tool fills in. Where it is empty the proxy refuses to start."""
    value = str(variables.get(VARIABLE, ""))
    return [] if any(re.fullmatch(template, value) for template in TEMPLATES) else [f"{VARIABLE} is {value!r}"]


def terraform(text, variables):
    body = re.search(r'variable "path_secret" \{\n(.*?)\n\}\n', variables, re.DOTALL)
    found = [] if re.search(rf"^ *{VARIABLE} += var\.path_secret$", text, re.MULTILINE) else [f"{VARIABLE} is not set"]
    if body is None or re.search(r"^  default", body[1], re.MULTILINE) or "{16,128}" not in body[1]:
        found.append("path_secret can be left out, or is short")
    return found


def commands(text):
    """Commands of a page that start the proxy where everybody reaches it."""
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if re.search(r"run deploy|containerapp up", block)]
    return [f"without a secret: {block}" for block in blocks if f"{VARIABLE}=$(openssl rand -hex 16)" not in block] or (
        [] if blocks else ["no command deploys it"])


def compose(text):
    """Ports of this machine only."""
    services = yaml.safe_load(text)["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    return [f"{port} is for everybody" for port in ports if not str(port).startswith("127.0.0.1:")]


def listens_here(text):
    return [] if tomllib.loads(text).get("listen", "").startswith("127.0.0.1:") else ["it listens for everybody"]


def notes(values):
    with helm.Chart.load(str(DEPLOY / "kubernetes/chart")) as chart:
        files = chart.render(values, name="demo", namespace="prod")
    return next(text for name, text in files.items() if name.endswith("NOTES.txt"))


class Access(unittest.TestCase):
    def test_strangers_are_kept_out_of_functions(self):
        self.assertEqual(cloudflare(read("cloudflare/wrangler.toml")), [])
        self.assertEqual(aws(read("aws/template.yaml")), [])
        aliyun = yaml.safe_load(read("aliyun/s.yaml"))["resources"]["proxy"]["props"]
        self.assertEqual(templated(aliyun["environmentVariables"]), [])
        tencent = yaml.safe_load(read("tencent/serverless.yml"))["inputs"]
        self.assertEqual(templated(tencent["environment"]["variables"]), [])
        self.assertEqual(terraform(read("tencent/main.tf"), read("tencent/variables.tf")), [])
        for page in ("cloud-run.md", "azure-container-apps.md"):
            self.assertEqual(commands((DEPLOY.parent / "docs/how-to" / page).read_text()), [])

    def test_machines_keep_to_themselves(self):
        for name in ("compose.yaml", "compose.both-ends.yaml"):
            self.assertEqual(compose(read(f"container/{name}")), [])
        self.assertEqual(listens_here(read("systemd/config.toml")), [])

    def test_a_chart_that_publishes_an_open_proxy_says_so(self):
        for values, is_open in [
            ({}, False),
            ({"kind": "DaemonSet", "hostPort": 3000}, True),
            ({"service": {"type": "LoadBalancer"}}, True),
            ({"service": {"type": "NodePort"}}, True),
            ({"ingress": {"enabled": True, "host": "p.example.com"}}, True),
            ({"service": {"type": "LoadBalancer"}, "config": "[clients]\npath_secret_file = '/s'\n"}, False),
            ({"service": {"type": "LoadBalancer"}, "config": "[clients]\nauth = \"users\"\n"}, False),
            ({"service": {"type": "LoadBalancer"}, "config": "[clients]\nauth = \"open\"\n"}, True),
            ({"service": {"type": "LoadBalancer"}, "env": [{"name": VARIABLE, "value": "x"}]}, False),
        ]:
            with self.subTest(values):
                self.assertEqual("BEWARE" in notes(values), is_open)

    def test_wrong_ones_are_found(self):
        worker = read("cloudflare/wrangler.toml")
        for old, new in [
            ("REGISTRY_PROXY_CLIENTS__PATH_SECRET_FILE =", "# REGISTRY_PROXY_CLIENTS__PATH_SECRET_FILE ="),
            ("REGISTRY_PROXY_SIGNING_KEY_FILE =", "# REGISTRY_PROXY_SIGNING_KEY_FILE ="),
            ('required = ["PATH_SECRET", ', "required = ["),
            ("[secrets]", "[secret]"),
            ("[vars]\n", '[vars]\nPATH_SECRET = "secret"\n'),
        ]:
            with self.subTest(new):
                self.assertNotEqual(cloudflare(broken(worker, old, new)), [])
        template = read("aws/template.yaml")
        for old, new in [
            ("    MinLength: 16\n", "    MinLength: 16\n    Default: ''\n"),
            (f"          {VARIABLE}: !Ref PathSecret\n", ""),
        ]:
            with self.subTest(new):
                self.assertNotEqual(aws(broken(template, old, new)), [])
        self.assertNotEqual(templated({}), [])
        self.assertNotEqual(templated({VARIABLE: ""}), [])
        self.assertNotEqual(templated({VARIABLE: "${env('PATH_SECRET', 'changeme')}"}), [])
        main, variables = read("tencent/main.tf"), read("tencent/variables.tf")
        self.assertNotEqual(terraform(broken(main, VARIABLE, "REGISTRY_PROXY_NOTHING"), variables), [])
        self.assertNotEqual(terraform(main, broken(variables, "  sensitive   = true", '  default = ""')), [])
        self.assertNotEqual(commands("```sh\ngcloud run deploy registry-proxy\n```"), [])
        self.assertNotEqual(compose(broken(read("container/compose.yaml"), "127.0.0.1:3000", "3000")), [])
        self.assertNotEqual(listens_here(broken(read("systemd/config.toml"), "127.0.0.1", "0.0.0.0")), [])
