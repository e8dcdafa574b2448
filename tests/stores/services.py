"""Object stores of other projects, installed by package name, started on loopback, ended by their own process ids.

Each is a context manager with `url` (what --store takes) and `environment` (what the clouds' own libraries read):

    VersityGateway  a real S3 server over a folder, built from its Go module (tests/stores/servers/go.mod)
    Moto            the S3 of the moto package (requirements.txt)
    Azurite         Microsoft's emulator of Azure Blob Storage (servers/package.json)

Everything installed lies under target/stores and is made anew when the pins change.
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / "target/stores"
READY_SECONDS_MAX = 60.0
BUCKET = "contract"
KEY_ID, SECRET, REGION = "contract-key", "contract-secret-of-this-run", "us-east-1"


class Missing(Exception):
    """A toolchain is missing; the text says what to install."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """A process that listens on one port of loopback, with a folder of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="store-"))
        self.port = free_port()
        self.process = None

    def __enter__(self):
        command, environment = self.command()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        try:
            self.await_port()
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def await_port(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        said = (self.folder / "log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{type(self).__name__} did not start:\n{said}")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self):
        """The command line and what is added to the environment."""
        raise NotImplementedError

    def prepare(self):
        """Makes the bucket."""


class S3Service(Service):
    url = f"s3://{BUCKET}/some/prefix"

    @property
    def environment(self) -> dict:
        return s3_environment(self.endpoint)

    def prepare(self):
        status, body = s3_request(self.port, "PUT", f"/{BUCKET}")
        assert status == 200, (status, body)


def s3_environment(endpoint: str, key_id=KEY_ID, secret=SECRET) -> dict:
    return {
        "AWS_ACCESS_KEY_ID": key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
    }


class VersityGateway(S3Service):
    name = "versitygw (a real S3 server)"

    def command(self):
        (self.folder / "objects").mkdir()
        keys = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
        listen = f"127.0.0.1:{self.port}"
        return [versity_binary(), "--port", listen, "--region", REGION, "--quiet", "posix", self.folder / "objects"], keys


class Moto(S3Service):
    name = "moto (S3)"

    def command(self):
        return [python() / "bin/moto_server", "--host", "127.0.0.1", "--port", self.port], {}


class Azurite(Service):
    name = "Azurite (Azure)"
    url = f"az://{BUCKET}/some/prefix"
    ACCOUNT = "devstoreaccount1"
    # The emulator's account key, the same in every copy of it (its documentation prints it).
    KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def command(self):
        program = azurite() / "node_modules/.bin/azurite-blob"
        options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        return [program, "--blobHost", "127.0.0.1", "--blobPort", self.port, *options], {}

    @property
    def environment(self) -> dict:
        return {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURITE_BLOB_STORAGE_URL": self.endpoint}

    def prepare(self):
        """Creates the container with a request signed by the shared key."""
        when = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": when, "x-ms-version": "2021-12-02"}
        path = f"/{self.ACCOUNT}/{BUCKET}"
        named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        to_sign = "PUT" + "\n" * 12 + f"{named}/{self.ACCOUNT}{path}\nrestype:container"
        digest = hmac.new(base64.b64decode(self.KEY), to_sign.encode(), hashlib.sha256).digest()
        headers["authorization"] = f"SharedKey {self.ACCOUNT}:{base64.b64encode(digest).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("PUT", f"{path}?restype=container", headers=headers | {"content-length": "0"})
        answer = connection.getresponse()
        assert answer.status == 201, (answer.status, answer.read())
        connection.close()


def s3_request(port, method, path, query="", body=b"", key_id=KEY_ID, secret=SECRET):
    """One request signed with AWS signature version 4; returns status and body."""
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    payload = hashlib.sha256(body).hexdigest()
    headers = {"host": f"127.0.0.1:{port}", "x-amz-content-sha256": payload, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = "\n".join([method, path, query, lines, names, payload])
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path + (f"?{query}" if query else ""), body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# --- installing ---


def versity_binary() -> Path:
    """The gateway, built once from the pinned Go module and its checksums."""
    if shutil.which("go") is None:
        raise Missing("install Go 1.24 or newer: the real S3 server is built from its module")
    pins = HERE / "servers"
    wanted = hashlib.sha256((pins / "go.mod").read_bytes() + (pins / "go.sum").read_bytes()).hexdigest()[:16]
    binary = INSTALLED / f"versitygw-{wanted}"
    if not binary.exists():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
        began = time.monotonic()
        package = "github.com/versity/versitygw/cmd/versitygw"
        made = binary.with_suffix(".new")
        subprocess.run(["go", "build", "-ldflags=-s -w", "-o", made, package], cwd=pins, env=environment, check=True)
        made.rename(binary)
        print(f"built versitygw in {time.monotonic() - began:.0f} s", flush=True)
    return binary


def python() -> Path:
    """A virtual environment with exactly requirements.txt."""
    pins = HERE / "servers/requirements.txt"
    place = INSTALLED / "venv"

    def make():
        try:
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
        except subprocess.CalledProcessError:
            raise Missing("install Python's venv module (Debian: python3-venv)") from None
        pip = [place / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--requirement", pins], check=True)

    return made(place, pins.read_bytes() + sys.version.encode(), make)


def azurite() -> Path:
    """A folder with exactly package-lock.json."""
    if shutil.which("npm") is None:
        raise Missing("install Node.js with npm: the emulator of Azure is an npm package")
    pins = [HERE / "servers/package.json", HERE / "servers/package-lock.json"]
    place = INSTALLED / "azurite"

    def make():
        place.mkdir(parents=True)
        for pin in pins:
            shutil.copy(pin, place)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=place, check=True)

    return made(place, b"".join(pin.read_bytes() for pin in pins), make)


def made(place: Path, pins: bytes, make) -> Path:
    wanted, stamp = hashlib.sha256(pins).hexdigest(), place / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        make()
        stamp.write_text(wanted)
    return place
