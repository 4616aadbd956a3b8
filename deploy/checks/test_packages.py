"""deb and rpm, made by nfpm as a release makes them, installed into a new root, and removed again; the chart's archives."""

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import helm_python as helm

from . import DEPLOY, broken, read
from .test_machines import unit
from .test_release import program

PROJECT = DEPLOY.parent
# What a root needs for the packages' scripts: they run in it.
PROGRAMS = ["sh", "systemd-sysusers"]
ZSH = {"deb": "vendor-completions", "rpm": "site-functions"}
PAGES = sorted(path.name for path in (PROJECT / "crates/server/shell").glob("*.1"))
OURS = [
    "etc/registry-proxy",
    "etc/registry-proxy/config.toml",
    "usr/bin/registry-proxy",
    "usr/lib/systemd/system/registry-proxy.service",
    "usr/lib/sysusers.d/registry-proxy.conf",
    "usr/share/bash-completion/completions/registry-proxy",
    "usr/share/doc/registry-proxy",
    "usr/share/doc/registry-proxy/copyright",
    "usr/share/doc/registry-proxy/registry-proxy.schema.json",
    "usr/share/fish/vendor_completions.d/registry-proxy.fish",
    *(f"usr/share/man/man1/{page}" for page in PAGES),
]
LEFT = ["var/cache/registry-proxy", "var/cache/registry-proxy/blob"]


def package(kind, folder):
    """A package whose program is a script: nothing of the packaging looks into it."""
    stand_in = Path(folder) / "program"
    stand_in.write_text("#!/bin/sh\necho registry-proxy of the test\n")
    environment = os.environ | {
        "PACKAGE_ARCH": {"x86_64": "amd64"}.get(platform.machine(), "arm64"), "PACKAGE_VERSION": "0.1.0", "PACKAGE_BINARY": str(stand_in),
        "SOURCE_DATE_EPOCH": "315532800",
    }
    target = Path(folder) / f"package.{kind}"
    subprocess.run(
        [program("nfpm"), "package", "--config", "deploy/systemd/package/nfpm.yaml", "--packager", kind,
         "--target", target],
        cwd=PROJECT, env=environment, capture_output=True, check=True)
    return target


def new_root(folder):
    """A root that has only what the scripts call."""
    root = Path(folder) / "root"
    for name in PROGRAMS:
        path = Path(shutil.which(name)).resolve()
        libraries = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+)", libraries):
            copy(Path(library), root)
        copy(path, root, Path("/usr/bin") / name)
    for name in ("bin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "tmp", "run", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/cache"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("dev/null", "var/lib/dpkg/status"):
        (root / name).touch()
    return root


def copy(path, root, to=None):
    """Where /usr is merged, /lib/x is /usr/lib/x."""
    to = str(to or path)
    target = root / (to if to.startswith("/usr") else "/usr" + to).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def in_root(root):
    """What of ours is there."""
    found = [str(path.relative_to(root)) for path in root.rglob("*registry-proxy*")]
    found += [str(path.relative_to(root)) for folder in root.rglob("*registry-proxy*") if folder.is_dir()
              for path in folder.rglob("*")]
    return sorted({path for path in found if not path.startswith(("var/lib/", "usr/lib/sysimage"))})


@unittest.skipUnless(os.geteuid() == 0, "a root is changed by root only")
class Packages(unittest.TestCase):
    def installed_and_removed(self, kind, install, remove):
        with tempfile.TemporaryDirectory() as folder:
            file, root = package(kind, folder), new_root(folder)
            run([*install(root), file])
            self.assertEqual(in_root(root), [*OURS, f"usr/share/zsh/{ZSH[kind]}/_registry-proxy"])
            self.assertIn("registry-proxy-cache-purge.1", PAGES)
            self.assertEqual((root / "usr/bin/registry-proxy").stat().st_mode & 0o7777, 0o755)
            self.assertRegex((root / "etc/passwd").read_text(), r"(?m)^registry-proxy:.*:/var/cache/registry-proxy:")
            # As if it had run.
            (root / LEFT[0]).mkdir()
            (root / LEFT[1]).write_text("content")
            said = "".join(run([*command, "registry-proxy"]) for command in remove(root))
            self.assertEqual(in_root(root), LEFT)
            self.assertIn("The cache stays in /var/cache/registry-proxy", said)
            self.assertIn("registry-proxy:", (root / "etc/passwd").read_text())

    def test_a_deb_is_installed_and_after_a_purge_only_the_cache_is_left(self):
        def dpkg(root):
            return ["dpkg", f"--root={root}", "--force-not-root", "--force-bad-path"]
        self.installed_and_removed(
            "deb", lambda root: [*dpkg(root), "--install"],
            lambda root: [[*dpkg(root), "--remove"], [*dpkg(root), "--purge"]])

    def test_an_rpm_is_installed_and_after_its_removal_only_the_cache_is_left(self):
        def rpm(root):
            return ["rpm", "--root", str(root), "--nodeps"]
        self.installed_and_removed(
            "rpm", lambda root: [*rpm(root), "--install"], lambda root: [[*rpm(root), "--erase"]])

    def test_a_changed_configuration_survives_until_the_purge(self):
        with tempfile.TemporaryDirectory() as folder:
            file, root = package("deb", folder), new_root(folder)
            dpkg = ["dpkg", f"--root={root}", "--force-not-root", "--force-bad-path", "--force-confold"]
            run([*dpkg, "--install", file])
            config = root / "etc/registry-proxy/config.toml"
            config.write_text('listen = "127.0.0.1:4000"\n')
            run([*dpkg, "--install", file])
            run([*dpkg, "--remove", "registry-proxy"])
            self.assertEqual(config.read_text(), 'listen = "127.0.0.1:4000"\n')
            run([*dpkg, "--purge", "registry-proxy"])
            self.assertFalse(config.exists())


class Reproducible(unittest.TestCase):
    def test_the_same_files_give_the_same_bytes(self):
        for kind in ("deb", "rpm"):
            with self.subTest(kind), tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                self.assertEqual(package(kind, one).read_bytes(), package(kind, other).read_bytes())


class Unit(unittest.TestCase):
    def test_the_unit_of_the_packages_is_right_and_closed(self):
        self.assertEqual(unit(read("systemd/package/registry-proxy.service")), [])

    def test_a_wrong_one_is_found(self):
        text = read("systemd/package/registry-proxy.service")
        self.assertNotEqual(unit(broken(text, "User=registry-proxy\n", "User=root\n")), [])

    def test_it_differs_from_the_unit_for_hand_only_in_program_and_user(self):
        def rest(name):
            lines = read(name).splitlines()
            return [line for line in lines if not re.match(r"#|(ExecStart|DynamicUser|User|Group)=", line)]
        self.assertEqual(rest("systemd/package/registry-proxy.service"), rest("systemd/registry-proxy.service"))


def chart_files(folder):
    """What deploy/kubernetes/chart_archive.py writes: the archive and the artefact."""
    spec = importlib.util.spec_from_file_location("chart_archive", DEPLOY / "kubernetes/chart_archive.py")
    chart_archive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chart_archive)
    with mock.patch.dict(os.environ, {"SOURCE_DATE_EPOCH": "315532800"}):
        chart_archive.write(Path(folder))
    return {path.name: path for path in Path(folder).iterdir()}


class Chart(unittest.TestCase):
    def test_helm_renders_the_archive_as_it_renders_the_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = chart_files(folder)["registry-proxy-chart-0.1.0.tgz"]
            rendered = []
            for path in (archive, DEPLOY / "kubernetes/chart"):
                with helm.Chart.load(str(path)) as chart:
                    rendered.append(chart.render({}, name="demo", namespace="prod"))
        self.assertEqual(rendered[0], rendered[1])

    def test_the_artefact_is_under_its_version_and_every_digest_is_right(self):
        with tempfile.TemporaryDirectory() as folder:
            files = chart_files(folder)
            with tarfile.open(files["registry-proxy-chart.oci.tar"]) as tar:
                content = {entry.name: tar.extractfile(entry).read() for entry in tar}
            archive = files["registry-proxy-chart-0.1.0.tgz"].read_bytes()

        def blob(descriptor):
            bytes_ = content["blobs/" + descriptor["digest"].replace(":", "/")]
            self.assertEqual(f"sha256:{hashlib.sha256(bytes_).hexdigest()}", descriptor["digest"])
            self.assertEqual(len(bytes_), descriptor["size"])
            return bytes_

        (named,) = json.loads(content["index.json"])["manifests"]
        self.assertEqual(named["annotations"], {"org.opencontainers.image.ref.name": "0.1.0"})
        manifest = json.loads(blob(named))
        self.assertEqual(manifest["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json")
        self.assertEqual(json.loads(blob(manifest["config"]))["name"], "registry-proxy")
        (layer,) = manifest["layers"]
        self.assertEqual(layer["mediaType"], "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
        self.assertEqual(blob(layer), archive)

    def test_the_same_chart_gives_the_same_bytes(self):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            first, second = chart_files(one), chart_files(other)
            for name in ("registry-proxy-chart-0.1.0.tgz", "registry-proxy-chart.oci.tar"):
                self.assertEqual(first[name].read_bytes(), second[name].read_bytes(), name)
