#!/usr/bin/env python3
"""Runs the official SDKs and the raw-socket suites against the server binary, and closes with `N passed, N failed`.

    python3 tests/sdk/run.py [--only python,go,java] [-- PYTEST ARGUMENTS]

The binary is VECTORBUCKET_BIN, else target/debug/vectorbucket. Everything is pinned and installed under target/; a
toolchain that is missing or too old is one line that says what to install, a failure when CI is set. Needs only Python's
standard library; servers listen on loopback, on ports that were free, with data in a temporary folder.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = ROOT / "target"
VENV = TARGET / "sdk-venv"

sys.path.insert(0, str(HERE / "python"))
from harness import settings  # noqa: E402
from harness.server import Server, StartFailed  # noqa: E402

READERS = ["test_consistency.py", "test_vectors.py", "test_query.py", "test_invoke.py", "test_official.py"]
"""Run twice: also against a server that folds writes into segments all the time."""

PYTHON_MIN, GO_MIN, JAVA_MIN = (3, 10), (1, 22), (17,)


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


class Missing(Exception):
    """A toolchain is missing or too old; the text says what to install."""


def main() -> int:
    options = arguments()
    if not settings.binary().exists():
        print(f"no server at {settings.binary()}: cargo build --package vb-server, or set VECTORBUCKET_BIN")
        print("0 passed, 1 failed")
        return 1
    results = {name: run(name, options) for name in options.only}
    print("\n--- official SDKs and raw sockets")
    for name, (count, seconds) in results.items():
        print(f"{name:8} {count} in {seconds:.0f} s")
    total = sum((count for count, _ in results.values()), Count())
    print(total)
    return 1 if total.failed or not (total.passed or total.skipped) else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SUITES))
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    return parser.parse_args()


def run(name, options):
    """One suite: its count and its time. What keeps it from running is a skip here and a failure in CI."""
    print(f"\n--- {name}", flush=True)
    started = time.monotonic()
    try:
        count = SUITES[name](options)
    except Missing as missing:
        print(f"{name}: {missing}")
        count = Count(failed=1) if os.environ.get("CI") else Count(skipped=1)
    except (subprocess.CalledProcessError, StartFailed) as error:
        print(f"{name}: {error}")
        count = Count(failed=1)
    print(f"{name}: {count}", flush=True)
    return count, time.monotonic() - started


# --- Python ---


def python_suite(options) -> Count:
    if sys.version_info < PYTHON_MIN:
        raise Missing(f"install Python {dotted(PYTHON_MIN)} or newer")
    install_python()
    count = pytest(options.pytest)
    return count if options.pytest else count + pytest(READERS, SUITE_FLUSHING="1")


def pytest(arguments, **environment) -> Count:
    with tempfile.TemporaryDirectory(prefix="sdk-python-") as folder:
        report = Path(folder) / "report.xml"
        command = [
            VENV / "bin/python",
            "-m",
            "pytest",
            f"--junitxml={report}",
            f"--basetemp={folder}/work",
            "--durations=8",
        ]
        done = subprocess.run([*command, *arguments], cwd=HERE / "python", env=os.environ | environment)
        count = counted(report) if report.exists() else Count()
    crashed = done.returncode not in (0, 1) or not count.passed
    return count + Count(failed=1) if crashed else count


def install_python():
    """The virtual environment with exactly requirements.txt, made anew when that file or Python changes."""
    wanted = hashlib.sha256((HERE / "python/requirements.txt").read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "stamp"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    except subprocess.CalledProcessError:
        raise Missing("install Python's venv module (Debian: python3-venv)") from None
    pip = [VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--requirement", HERE / "python/requirements.txt"], check=True)
    stamp.write_text(wanted)


def counted(report: Path) -> Count:
    """The totals of a JUnit report."""
    count = Count()
    for suite in xml.parse(report).getroot().iter("testsuite"):
        number = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
        failed = number["failures"] + number["errors"]
        count += Count(max(0, number["tests"] - failed - number["skipped"]), failed, number["skipped"])
    return count


# --- Go ---


def go_suite(_options) -> Count:
    need("go", ["go", "version"], r"go(\d+)\.(\d+)", GO_MIN, "Go")
    binary = TARGET / "sdk-go/suite.test"
    environment = os.environ | {"GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    subprocess.run(["go", "test", "-c", "-vet=off", "-o", binary, "."], cwd=HERE / "go", check=True, env=environment)
    done = against_server([binary, "-test.v", "-test.timeout=5m"], HERE / "go", capture=True)
    verdicts = re.findall(r"^\s*--- (PASS|FAIL|SKIP): ", done.stdout, re.M)
    count = Count(verdicts.count("PASS"), verdicts.count("FAIL"), verdicts.count("SKIP"))
    if done.returncode:
        print(done.stdout[-12000:])
        count.failed = max(count.failed, 1)
    return count


# --- Java ---


def java_suite(_options) -> Count:
    need("mvn", ["java", "-version"], r'version "(\d+)', JAVA_MIN, "Java (a JDK) with Maven")
    if shutil.which("javac") is None:
        raise Missing(f"install a JDK, {dotted(JAVA_MIN)} or newer, with Maven")
    maven = ["mvn", "--batch-mode", "--quiet", "--no-transfer-progress", "-Dstyle.color=never"]
    reports = HERE / "java/target/surefire-reports"
    shutil.rmtree(reports, ignore_errors=True)
    # Everything is in the local repository after the first run; asking the network again costs seconds and can fail.
    offline = (
        subprocess.run([*maven, "--offline", "test-compile"], cwd=HERE / "java", capture_output=True).returncode == 0
    )
    ready = offline and (HERE / "java/target/online").exists()
    done = against_server([*maven, *(["--offline"] if ready else []), "test"], HERE / "java")
    if done.returncode == 0:
        (HERE / "java/target/online").touch()
    count = sum((counted(report) for report in reports.glob("TEST-*.xml")), Count())
    return count if done.returncode == 0 else count + Count(failed=0 if count.failed else 1)


# --- shared ---


def need(program, command, pattern, minimum, name):
    """Raises Missing unless `program` exists and `command` prints at least this version."""
    if shutil.which(program) is None or shutil.which(command[0]) is None:
        raise Missing(f"install {name}, {dotted(minimum)} or newer")
    said = subprocess.run(command, capture_output=True, text=True)
    found = re.search(pattern, said.stdout + said.stderr)
    if not found or tuple(map(int, found.groups())) < minimum:
        raise Missing(
            f"install {name}, {dotted(minimum)} or newer (found: {(said.stdout + said.stderr).splitlines()[:1]})"
        )


def dotted(version) -> str:
    return ".".join(map(str, version))


def against_server(command, folder, capture=False):
    """Runs a suite with a fresh server, whose address and identity it finds in the environment."""
    ring = {"VECTORBUCKET_KEY_RING": "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}
    with tempfile.TemporaryDirectory(prefix="sdk-server-") as data, Server(Path(data), ring) as server:
        environment = os.environ | {
            "SUITE_URL": server.url,
            "SUITE_ADMIN_URL": f"http://127.0.0.1:{server.admin_port}",
            "SUITE_BIN": str(settings.binary()),
            "SUITE_REGION": settings.REGION,
            "SUITE_ACCOUNT_ID": settings.ACCOUNT,
            "SUITE_ACCESS_KEY_ID": settings.ACCESS_KEY_ID,
            "SUITE_ACCESS_KEY_SECRET": settings.ACCESS_KEY_SECRET,
        }
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} if capture else {}
        done = subprocess.run(command, cwd=folder, env=environment, **pipes)
        if server.panics() or not server.alive():
            print(server.log()[-6000:])
            done.returncode = done.returncode or 1
    return done


SUITES = {"python": python_suite, "go": go_suite, "java": java_suite}

if __name__ == "__main__":
    sys.exit(main())
