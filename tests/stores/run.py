#!/usr/bin/env python3
"""Runs the contract of stores against every service that a test can start, and closes with `N passed, N failed`.

    python3 tests/stores/run.py [--only versitygw,moto,azurite,oss,gcs,s3-fake,refusals]

For each service: starts it on loopback, makes a bucket, runs `crates/commit/tests/contract.rs` with CONTRACT_STORE set,
ends it. `refusals` starts the server binary (VECTORBUCKET_BIN, else target/debug/vectorbucket) on stores that it must
refuse, and reads its exit code and the one line it says. Needs Python's standard library, Go and npm; a toolchain that is
missing is one line, a failure when CI is set.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(ROOT / "tests/sdk/python"))

import fake  # noqa: E402
import services  # noqa: E402
from harness import settings  # noqa: E402
from harness.server import Server, StartFailed  # noqa: E402

CONTRACT = ["cargo", "test", "--locked", "--package", "vb-commit", "--test", "contract"]
ONE_SERVICE = ["--", "--ignored", "--exact", "a_remote_store_keeps_the_contract", "--nocapture"]

OSS_KEYS = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret", "OSS_REGION": "cn-hangzhou"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SUITES))
    suites = parser.parse_args().only
    passed, failed, skipped = 0, 0, 0
    for name in suites:
        print(f"\n--- {name}", flush=True)
        began = time.monotonic()
        try:
            more = SUITES[name]()
            passed, failed = passed + more[0], failed + more[1]
            print(f"{name}: {more[0]} passed, {more[1]} failed in {time.monotonic() - began:.1f} s", flush=True)
        except services.Missing as missing:
            print(f"{name}: {missing}")
            failed, skipped = (failed + 1, skipped) if os.environ.get("CI") else (failed, skipped + 1)
        except (RuntimeError, AssertionError, subprocess.CalledProcessError) as problem:
            print(f"{name}: {problem}")
            failed += 1
    print(f"\n{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not (passed or skipped) else 0


# --- the contract ---


def contract(url: str, environment: dict) -> tuple[int, int]:
    """Passed and failed: the contract is one test per service."""
    clean = {name: value for name, value in os.environ.items() if not cloud_variable(name)}
    done = subprocess.run([*CONTRACT, *ONE_SERVICE], cwd=ROOT, env=clean | environment | {"CONTRACT_STORE": url})
    return (1, 0) if done.returncode == 0 else (0, 1)


def cloud_variable(name: str) -> bool:
    return name.upper().startswith(("AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "STORAGE_", "OSS_", "ALIBABA_", "HTTP_PROXY"))


def with_service(kind):
    def suite():
        with kind() as service:
            print(service.name, flush=True)
            return contract(service.url, service.environment)

    return suite


def s3_fake():
    with fake.Fake(fake.S3) as store:
        return contract("s3://contract", services.s3_environment(store.url, "id"))


def gcs():
    with fake.Fake(fake.GCS) as store:
        return contract("gs://contract/some/prefix", {"STORAGE_EMULATOR_HOST": store.url})


def oss():
    with fake.Fake(fake.OSS) as store:
        passed, failed = contract("oss://contract/some/prefix", OSS_KEYS | {"OSS_ENDPOINT": store.url})
        assert store.state.creates > 0, "no create carried x-oss-forbid-overwrite"
        assert store.state.overwrites_forbidden_elsewhere == 0, "x-oss-forbid-overwrite is for creates alone"
        return passed, failed


# --- what the server must refuse, in one line that says what to do ---


@contextmanager
def no_store():
    yield f"http://127.0.0.1:{services.free_port()}"


@contextmanager
def faked(*arguments, **options):
    with fake.Fake(*arguments, **options) as store:
        yield store.url


def s3_keys(endpoint, key_id="id"):
    return services.s3_environment(endpoint, key_id)


def oss_keys(endpoint):
    return OSS_KEYS | {"OSS_ENDPOINT": endpoint}


# What is wrong, the store, the settings for its endpoint, --store, the exit code, words of the line.
REFUSALS = [
    (
        "ignores conditional writes",
        faked(fake.S3, flaw="ignores-conditions"),
        s3_keys,
        "s3://contract",
        6,
        "a create is refused if the name is taken",
    ),
    ("loses the create race", faked(fake.S3, flaw="loses-race"), s3_keys, "s3://contract", 6, "exactly one succeeds"),
    ("versioned bucket", faked(fake.OSS, flaw="versioned"), oss_keys, "oss://contract", 6, "versioning is Enabled"),
    ("no such bucket", faked(fake.S3), s3_keys, "s3://elsewhere", 5, "there is no bucket elsewhere"),
    ("unknown key", faked(fake.S3), lambda e: s3_keys(e, "other"), "s3://contract", 5, "AWS_ACCESS_KEY_ID"),
    ("no such OSS bucket", faked(fake.OSS), oss_keys, "oss://elsewhere", 5, "there is no bucket elsewhere"),
    ("OSS without keys", faked(fake.OSS), lambda e: {"OSS_ENDPOINT": e}, "oss://contract", 5, "OSS_ACCESS_KEY_ID"),
    ("nothing listens", no_store(), s3_keys, "s3://contract", 5, "cannot be reached"),
    (
        "plain HTTP to another machine",
        no_store(),
        lambda _: s3_keys("http://store.example.com"),
        "s3://contract",
        5,
        "https",
    ),
]


def refusals():
    """Passed and failed: one test per store that must be refused."""
    if not settings.binary().exists():
        raise RuntimeError(f"no server at {settings.binary()}: cargo build --package vb-server, or set VECTORBUCKET_BIN")
    failed = 0
    for name, store, environment, url, code, words in REFUSALS:
        with store as endpoint, tempfile.TemporaryDirectory(prefix="refusal-") as folder:
            problem = refusal(Path(folder), url, environment(endpoint), code, words)
        print(f"{'FAILED' if problem else 'ok'}: {name}{': ' + problem if problem else ''}", flush=True)
        failed += bool(problem)
    return len(REFUSALS) - failed, failed


def refusal(folder, url, environment, code, words) -> str:
    """What is wrong with how the server refuses the store; empty if nothing is."""
    missing = {name: None for name in os.environ if cloud_variable(name)}
    server = Server(folder, environment=missing | environment | {"VECTORBUCKET_STORE": url})
    try:
        server.start()
    except StartFailed as failure:
        lines = [line for line in failure.log.splitlines() if words in line]
        if failure.code != code:
            return f"exit code {failure.code} instead of {code}: {failure.log[-500:]}"
        return "" if len(lines) == 1 else f"{words!r} is not in exactly one line of: {failure.log[-500:]}"
    server.stop()
    return "it was served"


SUITES = {
    "versitygw": with_service(services.VersityGateway),
    "moto": with_service(services.Moto),
    "azurite": with_service(services.Azurite),
    "oss": oss,
    "gcs": gcs,
    "s3-fake": s3_fake,
    "refusals": refusals,
}

if __name__ == "__main__":
    sys.exit(main())
