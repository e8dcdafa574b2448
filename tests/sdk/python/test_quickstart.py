"""The README's quickstarts, executed as printed against `serve --dev`.

The blocks are found by their fence lines (```python quickstart, ```go quickstart, ```sh quickstart-go, ```sh quickstart-curl) and run
unchanged in an environment that has what the README tells its reader to set up: the variables of `data/dev.env`, the
pinned SDKs, and for the shell block `vectorbucket` on the PATH.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import pytest
from harness import settings
from harness.server import Server

README = settings.ROOT / "README.md"


def block(fence: str) -> str:
    """The text of the one block with this fence."""
    found = re.findall(rf"^```{re.escape(fence)}\n(.*?)^```$", README.read_text(), re.M | re.S)
    assert len(found) == 1, f"README.md has {len(found)} blocks ```{fence}"
    return found[0]


@pytest.fixture(scope="module")
def dev(tmp_path_factory):
    """A `serve --dev` that made its own credentials; yields the environment a reader has after `. data/dev.env`."""
    server = Server(tmp_path_factory.mktemp("dev"), arguments=["--dev"])
    for name in ("ACCOUNT_ID", "ROOT_ACCESS_KEY_ID", "ROOT_ACCESS_KEY_SECRET", "REGION"):
        server.environment[f"VECTORBUCKET_{name}"] = None
    with server:
        file = server.data / "dev.env"
        wait_for(file)
        assert file.stat().st_mode & 0o777 == 0o600
        yield clean_environment() | sourced(file), server
    assert server.panics() == []


def wait_for(file):
    """The files are written, then the lines printed, a moment after the server answers."""
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline, f"no {file}"
        time.sleep(0.01)


def clean_environment() -> dict:
    foreign = ("VECTORBUCKET_", "OSS_", "SUITE_", "HTTP_PROXY", "NO_PROXY")
    return {k: v for k, v in os.environ.items() if not k.upper().startswith(foreign)}


def sourced(file) -> dict:
    """What a POSIX shell has after `. FILE`."""
    text = subprocess.run(
        ["sh", "-c", f". {shlex.quote(str(file))} && env -0"], env={}, check=True, capture_output=True
    ).stdout
    pairs = [entry.split("=", 1) for entry in text.decode().split("\0") if "=" in entry]
    return {k: v for k, v in pairs if k.startswith(("VECTORBUCKET_", "OSS_"))}


def run(command, environment, folder):
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "doc-1" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_dev_tells_how_to_connect(dev):
    environment, server = dev
    said = server.log_when("dev.env")
    assert f"127.0.0.1:{server.port}" in said
    assert ". " in said and "dev.env" in said
    assert environment["VECTORBUCKET_URL"] == server.url
    assert environment["OSS_ACCESS_KEY_SECRET"] not in said, "a secret may be printed to a terminal only"


def test_python(dev, tmp_path):
    environment, _ = dev
    (tmp_path / "quickstart.py").write_text(block("python quickstart"))
    out = run([sys.executable, "quickstart.py"], environment, tmp_path)
    assert out.index("doc-1") < out.index("doc-2")


def test_go(dev, tmp_path):
    environment, _ = dev
    if shutil.which("go") is None:
        assert not os.environ.get("CI"), "install Go 1.22 or newer"
        pytest.skip("install Go 1.22 or newer")
    (tmp_path / "main.go").write_text(block("go quickstart"))
    out = run(["sh", "-e", "-c", block("sh quickstart-go")], environment, tmp_path)
    assert out.index("doc-1") < out.index("doc-2")


def test_shell(dev, tmp_path):
    """`cargo run --release -- X`, where printed, means the program under test: it is built already."""
    environment, _ = dev
    tools = tmp_path / "bin"
    tools.mkdir()
    program = shlex.quote(str(settings.binary()))
    write_tool(tools / "vectorbucket", f'exec {program} "$@"')
    write_tool(tools / "cargo", f'while [ "$1" != -- ]; do shift; done; shift; exec {program} "$@"')
    environment = environment | {"PATH": f"{tools}:{environment['PATH']}"}
    run(["sh", "-e", "-c", block("sh quickstart-curl")], environment, tmp_path)


def write_tool(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
