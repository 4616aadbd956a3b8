"""The folders of machines: container, systemd. nginx is tried by the outer tests, with a pull through it."""

import json
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from . import DEPLOY, broken, read


def compose(text):
    """Against the Compose specification's schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "compose.yaml"
        path.write_text(text)
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def unit(text):
    """systemd's own opinion: a word is a fault, and so is being exposed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry-proxy.service"
        # The program is not installed where this is tested.
        path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
        verify = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False)
        security = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", "--json=short", path],
            capture_output=True, text=True, check=False)
    found = [line for line in verify.stderr.splitlines() if "registry-proxy.service" in line]
    if verify.returncode:
        found.append(verify.stderr)
    if security.returncode:
        found.append(f"exposed: {open_doors(security.stdout) or security.stderr}")
    return found


def open_doors(report):
    """Names of what the unit leaves open; none where the unit was not understood at all."""
    return [row["name"] for row in json.loads(report) if not row["set"]] if report.startswith("[") else []


def impatience(text):
    """Which ends of nginx give up on a client or on the proxy sooner than the proxy would (timeouts.client_stall)."""
    page = (DEPLOY.parent / "docs/reference/configuration.md").read_text()
    minutes = re.search(r"^\| `timeouts\.client_stall` \| (\d+)m \|", page, re.MULTILINE)
    least = int(minutes[1]) * 60
    found = []
    for name in ("client_body_timeout", "send_timeout", "proxy_read_timeout", "proxy_send_timeout"):
        set_to = re.findall(rf"^\s*{name} (\d+)s;", text, re.MULTILINE)
        if not set_to or min(map(int, set_to)) < least:
            found.append(f"{name}: {set_to}, not {least}s")
    return found


class Nginx(unittest.TestCase):
    def test_it_is_as_patient_as_the_proxy(self):
        self.assertEqual(impatience(read("nginx/registry-proxy.conf")), [])

    def test_a_wrong_one_is_found(self):
        text = read("nginx/registry-proxy.conf")
        for old, new in [("client_body_timeout 300s;", ""), (" send_timeout 300s;", " send_timeout 60s;")]:
            with self.subTest(new):
                self.assertNotEqual(impatience(broken(text, old, new)), [])


class Container(unittest.TestCase):
    def test_the_compose_files_are_right(self):
        for name in ("compose.yaml", "compose.both-ends.yaml"):
            self.assertEqual(compose(read(f"container/{name}")), [])

    def test_files_that_are_named_are_there(self):
        for path in re.findall(r"file: \./(\S+)", read("container/compose.yaml")):
            self.assertTrue((DEPLOY / "container" / path).is_file(), path)

    def test_a_wrong_one_is_found(self):
        text = read("container/compose.yaml")
        for old, new in [("read_only: true", "readonly: true"), ("ports: [", "ports: {a: ["), ("image:", "images:")]:
            with self.subTest(new):
                self.assertNotEqual(compose(broken(text, old, new)), [])


class Systemd(unittest.TestCase):
    def test_the_unit_is_right_and_closed(self):
        self.assertEqual(unit(read("systemd/registry-proxy.service")), [])

    def test_a_wrong_one_is_found(self):
        text = read("systemd/registry-proxy.service")
        for old, new in [
            ("ProtectClock=yes", "ProtectClok=yes"),
            ("CapabilityBoundingSet=\n", ""),
            ("ExecStart=", "ExecStop="),
        ]:
            with self.subTest(new):
                self.assertNotEqual(unit(broken(text, old, new)), [])
