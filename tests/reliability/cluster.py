"""Three server processes over one S3 server, each behind a fault proxy of its own. All of it on loopback."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests/stores"))
sys.path.insert(0, str(ROOT / "tests/sdk/python"))

import services  # noqa: E402
from harness.server import Server, StartFailed  # noqa: E402

CLUSTER_KEY = "a key that only the nodes of this run share"


class Proxy:
    """A proxy process; ends with this object."""

    def __init__(self, target: int):
        command = [sys.executable, str(HERE / "proxy.py"), str(target)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1)
        self.port = int(self.process.stdout.readline())
        self.lock = threading.Lock()

    def order(self, **order):
        with self.lock:
            self.process.stdin.write(json.dumps(order) + "\n")

    def report(self) -> dict:
        self.order(report=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Node:
    """A server process and its way to the store."""

    def __init__(self, name: str, folder: Path, store_port: int, prefix: str, settings: dict):
        self.name = name
        self.proxy = Proxy(store_port)
        endpoint = f"http://127.0.0.1:{self.proxy.port}"
        store = {"VECTORBUCKET_STORE": f"s3://{services.BUCKET}/{prefix}"}
        environment = services.s3_environment(endpoint) | store | settings
        self.server = Server(folder / name, environment=environment)
        self.stopped = False

    @property
    def port(self) -> int:
        return self.server.port

    def start(self):
        self.server.start()

    def running(self) -> bool:
        return self.server.process is not None and self.server.alive() and not self.stopped

    def kill(self):
        self.server.kill()
        self.stopped = False

    def pause(self):
        """SIGSTOP: the process stands still, its connections stay open."""
        self.server.process.send_signal(signal.SIGSTOP)
        self.stopped = True

    def resume(self):
        self.server.process.send_signal(signal.SIGCONT)
        self.stopped = False

    def close(self):
        if self.stopped:
            self.resume()
        if self.server.process is not None and self.server.alive():
            self.server.stop()
        self.proxy.close()


class Cluster:
    """The S3 server, three nodes, and what can be done to them."""

    def __init__(self, folder: Path, settings: dict, peers: bool = False, count: int = 3):
        self.store = services.VersityGateway()
        self.folder, self.settings, self.peers, self.count = folder, settings, peers, count
        self.nodes = []

    def __enter__(self):
        self.store.__enter__()
        try:
            for number in range(self.count):
                self.nodes.append(Node(f"node{number}", self.folder, self.store.port, "reliability", self.settings))
            if self.peers:
                self.introduce()
            for node in self.nodes:
                node.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def introduce(self):
        """Tells each node the addresses of all."""
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        for node, address in zip(self.nodes, addresses):
            node.server.environment |= {
                "VECTORBUCKET_PEERS": ",".join(addresses),
                "VECTORBUCKET_ADVERTISE": address,
                "VECTORBUCKET_CLUSTER_KEY": CLUSTER_KEY,
            }

    def __exit__(self, *_):
        for node in self.nodes:
            try:
                node.close()
            except (subprocess.TimeoutExpired, OSError) as problem:
                print(f"{node.name}: {problem}", flush=True)
        self.store.__exit__()

    def heal(self, seconds=60):
        """Ends all faults and starts what is not running."""
        for node in self.nodes:
            node.proxy.order(faults={}, link="ok", delay=0)
            if node.stopped:
                node.resume()
        for node in self.nodes:
            if not node.server.alive():
                node.start()
        deadline = time.monotonic() + seconds
        while not all(node.server.healthy() for node in self.nodes):
            assert time.monotonic() < deadline, "not all nodes became healthy"
            time.sleep(0.05)


__all__ = ["Cluster", "Node", "Proxy", "StartFailed"]
