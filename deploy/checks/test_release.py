"""What makes a release: workflows, actions, and the scripts that run on other people's machines."""

import hashlib
import http.server
import io
import os
import re
import subprocess
import tarfile
import tempfile
import threading
import unittest
from pathlib import Path

import yaml

from . import DEPLOY, broken

PROJECT = DEPLOY.parent
GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
SCRIPTS = [
    ".ci/run", "install.sh", "deploy/aliyun/pre-deploy.sh", "deploy/tencent/scf_bootstrap",
    *[str(path.relative_to(PROJECT)) for path in sorted((DEPLOY / "systemd/package").glob("*.sh"))],
    *[str(path.relative_to(PROJECT)) for path in sorted((GITHUB / "actions").glob("*/*.sh"))],
]
# "owner/repository, path at commit", and what is pinned by it.
SOURCE = re.compile(r"^\s*# Source of the hash: [\w.-]+/[\w.-]+, \S+ at [0-9a-f]{12,40}$")
PINNED = re.compile(r"^\s*(?:- )?uses: [\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$")


def program(name):
    """cargo xtask says where it installed it."""
    return os.environ.get(name.upper(), name)


def unpinned(text):
    """Actions that are not named by a hash, or whose hash nobody can look up."""
    lines, found = text.splitlines(), []
    for number, line in enumerate(lines):
        if not re.match(r"\s*(- )?uses:", line):
            continue
        if not PINNED.match(line):
            found.append(f"no hash of 40 digits and version: {line.strip()}")
        # Between the two may stand the name of the step.
        if not any(SOURCE.match(before) for before in lines[max(0, number - 2):number]):
            found.append(f"no source of the hash: {line.strip()}")
    return found


def tasks():
    """What `cargo xtask` can do: each task's name and its usage."""
    text = (PROJECT / "xtask/src/arguments.rs").read_text()
    usages = re.findall(r'"cargo xtask (\w+) ([^"]*)"', text)
    assert len(usages) > 4, "the usages are not where they were"
    return {task: set(re.findall(r"--[\w-]+", usage)) for task, usage in usages}


def unknown_commands(text):
    """Commands of this project that a workflow calls and that do not exist."""
    found, known = [], tasks()
    for line in re.findall(r"cargo xtask (.+)", re.sub(r"(?m)^\s*#.*$", "", text)):
        task, *words = line.split()
        options = [word for word in words if word.startswith("--")]
        found += [f"{line}: {word}" for word in [task] if task not in known]
        found += [f"{line}: {option}" for option in options if option not in known.get(task, set())]
    found += [path for path in re.findall(r"run: (\.\S+)", text) if not os.access(PROJECT / path, os.X_OK)]
    return found


def zizmor(files):
    """The opinion of zizmor on files of .github, given as names and texts."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [program("zizmor"), "--offline", "--no-progress", "--quiet", "--persona=pedantic", "--format=plain", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def shellcheck(text):
    """SC2016 is for quotes that a script means."""
    command = [program("shellcheck"), "--exclude=SC2016", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


class Workflows(unittest.TestCase):
    def test_each_action_is_pinned_by_a_hash_with_a_source(self):
        self.assertGreater(len(WORKFLOWS), 1)
        for path in [*WORKFLOWS, *ACTIONS]:
            with self.subTest(path.name):
                self.assertEqual(unpinned(path.read_text()), [])

    def test_an_action_that_is_not_is_found(self):
        text = (GITHUB / "workflows/ci.yml").read_text()
        for old, new in [
            ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v6"),
            ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "@de0fac2"),
            ("# Source of the hash: ", "# "),
        ]:
            with self.subTest(new):
                self.assertNotEqual(unpinned(broken(text, old, new)), [])

    def test_they_call_only_what_exists(self):
        for path in WORKFLOWS:
            with self.subTest(path.name):
                self.assertEqual(unknown_commands(path.read_text()), [])

    def test_a_command_that_does_not_exist_is_found(self):
        for text in ["run: .ci/walk", "run: cargo xtask realease --dry-run", "run: cargo xtask test --instal"]:
            with self.subTest(text):
                self.assertNotEqual(unknown_commands(text), [])

    def test_zizmor_finds_nothing(self):
        files = [*WORKFLOWS, *ACTIONS, GITHUB / "dependabot.yml"]
        self.assertEqual(zizmor({str(path.relative_to(PROJECT)): path.read_text() for path in files}), [])

    def test_what_zizmor_warns_of_is_found(self):
        text = (GITHUB / "workflows/ci.yml").read_text()
        for old, new in [
            ("        with:\n          persist-credentials: false\n", ""),
            ("permissions: {}\n", "permissions: write-all\n"),
            ("run: .ci/run", "run: echo ${{ github.head_ref }}"),
        ]:
            with self.subTest(new):
                self.assertNotEqual(zizmor({".github/workflows/ci.yml": broken(text, old, new)}), [])


class Scripts(unittest.TestCase):
    def test_shellcheck_finds_nothing(self):
        for name in SCRIPTS:
            with self.subTest(name):
                self.assertEqual(shellcheck((PROJECT / name).read_text()), [])

    def test_what_shellcheck_warns_of_is_found(self):
        self.assertNotEqual(shellcheck("#!/bin/sh\nrm -r $1\n"), [])


class Release(http.server.ThreadingHTTPServer):
    """Files of a release at a loopback address."""

    def __init__(self, files):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = files.get(self.path.lstrip("/"))
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *error):
        self.shutdown()
        super().__exit__(*error)


def archive(name, script="#!/bin/sh\necho registry-proxy 0.1.0 of the test\n"):
    """A release's archive with a script for a program."""
    script, out = script.encode(), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo(f"{name}/registry-proxy")
        entry.size, entry.mode = len(script), 0o755
        tar.addfile(entry, io.BytesIO(script))
    return out.getvalue()


def machine(folder, system, processor):
    """A `uname` that says another machine."""
    path = Path(folder) / "uname"
    path.write_text(f'#!/bin/sh\n[ "$1" = -s ] && echo {system} || echo {processor}\n')
    path.chmod(0o755)


class Install(unittest.TestCase):
    """install.sh, run by dash, as a user of a machine that has nothing of ours."""

    def install(self, files, system="Linux", processor="x86_64"):
        """What it says, whether it succeeded, and what is in the folder for programs afterwards."""
        with tempfile.TemporaryDirectory() as home, Release(files) as release:
            machine(home, system, processor)
            environment = {
                "HOME": home,
                "PATH": f"{home}:{os.environ['PATH']}",
                "INSTALL_REGISTRY_PROXY_RELEASES": f"http://127.0.0.1:{release.server_port}",
                "no_proxy": "127.0.0.1",
            }
            done = subprocess.run(
                ["dash", PROJECT / "install.sh"], env=environment, capture_output=True, text=True, timeout=60, check=False)
            programs = Path(home) / ".local/bin"
            return done.stdout + done.stderr, done.returncode, sorted(os.listdir(programs)) if programs.exists() else []

    def release(self, name, content=None):
        """A release whose only archive has this name; `content` takes its place after the sums were written."""
        bytes_ = archive("registry-proxy-x86_64")
        sums = f"{hashlib.sha256(bytes_).hexdigest()}  {name}.tar.gz\n"
        return {"SHA256SUMS": sums.encode(), f"{name}.tar.gz": content or bytes_}

    def test_it_installs_the_archive_of_this_machine_for_one_user(self):
        for system, processor, name in [
            ("Linux", "x86_64", "registry-proxy-linux-x86_64"),
            ("Linux", "aarch64", "registry-proxy-linux-arm64"),
            ("Darwin", "arm64", "registry-proxy-macos-arm64-not-tried"),
        ]:
            with self.subTest(name):
                said, status, programs = self.install(self.release(name), system, processor)
                self.assertEqual((status, programs), (0, ["registry-proxy"]), said)
                self.assertIn("registry-proxy 0.1.0 of the test", said)
                self.assertEqual("Nobody has tried" in said, system == "Darwin", said)

    def test_a_release_has_the_archives_that_it_asks_for(self):
        made = (PROJECT / "xtask/src/release/contents.rs").read_text()
        workflow = (GITHUB / "workflows/release.yml").read_text()
        for processor in ("x86_64", "arm64"):
            self.assertIn(f'"registry-proxy-linux-{processor}.tar.gz"', made)
            self.assertIn(f"arch: {processor},", workflow)
        self.assertIn("name=registry-proxy-macos-$ARCH-not-tried\n", workflow)

    def test_it_installs_nothing_that_has_another_sum(self):
        release = self.release("registry-proxy-linux-x86_64", archive("registry-proxy-of-somebody-else"))
        said, status, programs = self.install(release)
        self.assertEqual((status, programs), (1, []), said)
        self.assertIn("SHA256SUMS says", said)

    def test_it_says_what_is_missing(self):
        no_archive = self.release("registry-proxy-linux-x86_64")
        del no_archive["registry-proxy-linux-x86_64.tar.gz"]
        for files, processor, expected in [
            ({}, "x86_64", "SHA256SUMS cannot be downloaded"),
            (no_archive, "x86_64", "x86_64.tar.gz cannot be downloaded"),
            (no_archive, "aarch64", "this release has no registry-proxy-linux-arm64.tar.gz"),
            (no_archive, "riscv64", "no binary for the processor riscv64"),
        ]:
            with self.subTest(expected):
                said, status, programs = self.install(files, processor=processor)
                self.assertEqual((status, programs), (1, []), said)
                self.assertIn(expected, said)

    def test_half_a_script_does_nothing(self):
        text = (PROJECT / "install.sh").read_text()
        self.assertTrue(text.endswith("\nmain\n"))
        half = text[: text.index("\nmain\n", text.index("main() {"))]
        done = subprocess.run(["dash"], input=half, env={}, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))


# Serves until it is killed; says what it was told.
STAND_IN = """#!/bin/sh
case $1 in
    --version) echo 0.1.0 ;;
    health) [ -e "$RUNNER_TEMP/serves" ] ;;
    client) echo "$REGISTRY_PROXY_LISTEN $*" >>"$RUNNER_TEMP/said" ;;
    check) ;;
    *) [ -z "${STAND_IN_FAILS:-}" ] || { echo no disk; exit 1; }
       echo "$REGISTRY_PROXY_CACHE__STORE" >"$RUNNER_TEMP/serves" ;;
esac
"""


class Action(unittest.TestCase):
    """start.sh of the action, with a stand-in for the proxy and for sudo."""

    def start(self, folder, **environment):
        program = archive("registry-proxy-x86_64", STAND_IN)
        sums = f"{hashlib.sha256(program).hexdigest()}  registry-proxy-linux-x86_64.tar.gz\n"
        machine(folder, "Linux", "x86_64")
        sudo = Path(folder) / "sudo"
        sudo.write_text('#!/bin/sh\n[ "$1" = systemctl ] && echo "$*" >>"$RUNNER_TEMP/said" || exec "$@"\n')
        sudo.chmod(0o755)
        with Release({"SHA256SUMS": sums.encode(), "registry-proxy-linux-x86_64.tar.gz": program}) as release:
            script = GITHUB / "actions/setup-registry-proxy/start.sh"
            told = {
                "PATH": f"{folder}:{os.environ['PATH']}", "HOME": folder, "no_proxy": "127.0.0.1",
                "INSTALL_REGISTRY_PROXY_RELEASES": f"http://127.0.0.1:{release.server_port}",
                "INSTALL_REGISTRY_PROXY_VERSION": "", "ACTION_FOLDER": str(script.parent), "ACTION_PORT": "3000",
                "ACTION_CONFIG": "", "ACTION_DOCKER": "true", "RUNNER_TEMP": folder,
                "GITHUB_OUTPUT": f"{folder}/outputs", "GITHUB_PATH": f"{folder}/path",
            }
            return subprocess.run(
                ["dash", script], env=told | environment, capture_output=True, text=True, timeout=60, check=False)

    def test_it_starts_the_proxy_and_points_docker_and_buildkit_at_it(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.start(folder)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            here = f"{folder}/registry-proxy"
            self.assertEqual((Path(folder) / "serves").read_text(), f"file://{here}/cache\n")
            url = "--url http://127.0.0.1:3000"
            self.assertEqual((Path(folder) / "said").read_text().splitlines(), [
                f"127.0.0.1:3000 client buildkit {url} --root {here}/client --write",
                f"127.0.0.1:3000 client docker {url} --write",
                "systemctl reload docker",
            ])
            self.assertEqual((Path(folder) / "outputs").read_text().splitlines(), [
                "url=http://127.0.0.1:3000",
                f"buildkitd-config={here}/client/etc/buildkit/buildkitd.toml",
            ])

    def test_without_docker_nothing_of_the_machine_is_touched(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.start(folder, ACTION_DOCKER="false").returncode, 0)
            self.assertNotIn("docker", (Path(folder) / "said").read_text())

    def test_a_proxy_that_does_not_start_fails_the_job_with_its_log(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.start(folder, STAND_IN_FAILS="1")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("did not start", done.stdout)
            self.assertIn("no disk", done.stdout)


class Updates(unittest.TestCase):
    def test_every_folder_that_pins_something_is_updated(self):
        updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
        folders = {(update["package-ecosystem"], folder)
                   for update in updates for folder in update.get("directories", [update.get("directory")])}
        wanted = {("cargo", "/"), ("github-actions", "/"), ("pip", "/deploy/checks")}
        wanted |= {("github-actions", f"/{path.parent.relative_to(PROJECT)}") for path in ACTIONS}
        self.assertEqual(folders, wanted)
