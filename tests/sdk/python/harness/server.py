"""A server process on loopback with its own data directory, log file and free ports.

Invariants: the process is ours alone (started here, ended here by its id), listens on loopback only, and its
standard error goes to a file so that a test can look for a panic in it afterwards.
"""

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import settings as suite

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 30.0
NOBODY = 65534
"""The user and group without rights."""


def free_port() -> int:
    """A port nobody listens on now. Another process may take it before the server does; starting then retries."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class StartFailed(Exception):
    """The process ended before it answered; `log` holds what it said."""

    def __init__(self, code, log):
        super().__init__(f"server ended with {code} before it was ready:\n{log[-4000:]}")
        self.code = code
        self.log = log


@dataclass
class Server:
    """One server. `start` may be called again after `kill` or `stop`: same directory, same ports."""

    directory: Path
    environment: dict = field(default_factory=dict)
    """Added to the usual settings; None takes one away."""
    arguments: list = field(default_factory=list)
    file_size_max: int | None = None
    """RLIMIT_FSIZE of the process in bytes: a write beyond it fails as on a full disk (EFBIG)."""
    ordinary_user: bool = False
    """Run by root, give up root's rights first: permissions of the data directory then mean something."""

    def __post_init__(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.log_path = self.directory / "server.log"
        self.port = free_port()
        self.admin_port = free_port()
        self.process = None

    # --- life ---

    def start(self) -> "Server":
        """Starts the process and returns when it is ready to serve. Raises StartFailed."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [str(suite.binary()), "serve", *self.arguments],
                env=self.settings(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                preexec_fn=self._confine if self.file_size_max or self.ordinary_user else None,
            )
        self._await_ready()
        return self

    def kill(self):
        """SIGKILL, as a power cut would look to the process."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM and wait for the drain; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.stop()

    # --- what it looks like from outside ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def alive(self) -> bool:
        return self.process.poll() is None

    def healthy(self) -> bool:
        """The admin listener says ready."""
        try:
            return self.admin("/readyz")[0] == 200
        except OSError:
            return False

    def admin(self, path: str) -> tuple[int, str]:
        """Status and text of a GET on the admin listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        return float(re.search(rf"^{name} (\S+)$", self.admin("/metrics")[1], re.M).group(1))

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def log_when(self, word: str, seconds: float = 10) -> str:
        """The log once it holds this word."""
        deadline = time.monotonic() + seconds
        while word not in self.log():
            assert time.monotonic() < deadline, f"never logged {word}: {self.log()[-2000:]}"
            time.sleep(0.01)
        return self.log()

    def panics(self) -> list[str]:
        """Log lines that speak of a panic."""
        return [line for line in self.log().splitlines() if re.search(r"panicked at|\bpanic\b", line)]

    def resident_kb(self) -> int:
        """Resident memory now (VmRSS), in KiB."""
        return self._status("VmRSS")

    def resident_peak_kb(self) -> int:
        """The highest resident memory so far (VmHWM), in KiB."""
        return self._status("VmHWM")

    # --- inside ---

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+) kB$", text, re.M).group(1))

    def settings(self) -> dict:
        """The environment of the process."""
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith(("VECTORBUCKET_", "HTTP_PROXY"))}
        settled = (
            inherited
            | {
                "VECTORBUCKET_LISTEN": f"127.0.0.1:{self.port}",
                "VECTORBUCKET_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
                "VECTORBUCKET_STORE": str(self.data),
                "VECTORBUCKET_REGION": suite.REGION,
                "VECTORBUCKET_ACCOUNT_ID": suite.ACCOUNT,
                "VECTORBUCKET_ROOT_ACCESS_KEY_ID": suite.ACCESS_KEY_ID,
                "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET": suite.ACCESS_KEY_SECRET,
                "RUST_BACKTRACE": "1",
            }
            | self.environment
        )
        return {name: value for name, value in settled.items() if value is not None}

    def _confine(self):
        if self.file_size_max:
            # The ignored disposition survives exec and turns the signal into EFBIG.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size_max, resource.RLIM_INFINITY))
        if self.ordinary_user and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    def _await_ready(self):
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline:
            code = self.process.poll()
            if code is not None:
                raise StartFailed(code, self.log())
            if self._answers() and self.healthy():
                return
            time.sleep(0.005)
        self.kill()
        raise StartFailed("no answer", self.log())

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False
