#!/usr/bin/env python3
"""Restarts three server processes one after the other under load from the official Python SDK; no call may fail.

    python3 tests/nodes/rolling.py [--rounds 1] [--clients 6]

The processes share a real S3 server (tests/stores) and know each other as peers. Clients go through a balancer that knows
nothing but connections: round robin, and on to the next node when one refuses. Each call has the SDK's own three attempts.
A call that fails, an acknowledged vector that a node does not have, and a process that does not stop cleanly each count as
a failure. Closes with `N passed, N failed`.
"""

import argparse
import itertools
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SDK_PYTHON = ROOT / "target/sdk-venv/bin/python"
sys.path.insert(0, str(ROOT / "tests/reliability"))
sys.path.insert(0, str(ROOT / "tests/sdk/python"))

try:
    import alibabacloud_oss_v2.vectors as vectors
except ModuleNotFoundError:
    if not SDK_PYTHON.exists() or Path(sys.prefix) == SDK_PYTHON.parents[1]:
        sys.exit("the Python SDK is missing: run `python3 tests/sdk/run.py --only python` once, which installs it")
    os.execv(SDK_PYTHON, [str(SDK_PYTHON), *sys.argv])

from cluster import Cluster  # noqa: E402
from harness import sdk, settings  # noqa: E402

BUCKET, INDEXES, DIMENSION = "rolling", 4, 16
CALLS_BETWEEN = 120
"""Calls that succeed between two events, so that each event meets load."""
PATIENCE_SECONDS = 120


class Balancer:
    """Takes connections and hands each to the next node that accepts one."""

    def __init__(self, ports):
        self.turns = itertools.cycle(range(len(ports)))
        self.ports = ports
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with self.lock:
            first = next(self.turns)
        for step in range(len(self.ports)):
            port = self.ports[(first + step) % len(self.ports)]
            try:
                node = socket.create_connection(("127.0.0.1", port), timeout=5)
            except OSError:
                continue
            node.settimeout(None)
            threading.Thread(target=pump, args=(client, node), daemon=True).start()
            pump(node, client)
            return
        client.close()

    def close(self):
        self.socket.close()


def pump(source, sink):
    """Copies until one side ends, then ends both."""
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Load:
    """Clients that put, read back and query until told to stop; notes what was acknowledged and what failed."""

    def __init__(self, url, clients):
        self.url = url
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.calls = 0
        self.failures = []
        self.acknowledged = {}
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        client = sdk.by_proxy(self)
        index = f"idx{number % INDEXES}"
        for count in itertools.count():
            if self.stop.is_set():
                return
            key, vector = f"c{number}-{count}", vector_of(number, count)
            if self.call("put", lambda: put(client, index, key, vector)):
                with self.lock:
                    self.acknowledged[index, key] = vector
                self.call("get", lambda: self.expect(client, index, key, vector))
            self.call("query", lambda: self.expect_nearest(client, index, key, vector))

    def call(self, name, work):
        try:
            work()
        except Exception as problem:  # noqa: BLE001: whatever a call raises is a failure of the call
            with self.lock:
                self.failures.append(f"{name}: {problem!r}")
            return False
        with self.lock:
            self.calls += 1
        return True

    def expect(self, client, index, key, vector):
        found = get(client, index, key)
        assert found == vector, f"{key} reads {found}"

    def expect_nearest(self, client, index, key, vector):
        request = vectors.models.QueryVectorsRequest(
            bucket=BUCKET, index_name=index, query_vector={"float32": vector}, top_k=1, return_distance=True
        )
        nearest = client.query_vectors(request).vectors
        if (index, key) in self.acknowledged:
            assert nearest and nearest[0]["key"] == key, f"nearest to {key} is {nearest}"

    def progress(self):
        """Waits for more calls, so that what happened last has met load."""
        target, deadline = self.calls + CALLS_BETWEEN, time.monotonic() + PATIENCE_SECONDS
        while self.calls < target:
            assert time.monotonic() < deadline, f"calls stopped at {self.calls}: {self.failures[-3:]}"
            time.sleep(0.02)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def vector_of(number, count):
    return [float(number * 1000 + count), float(count)] + [float(number)] * (DIMENSION - 2)


def put(client, index, key, vector):
    rows = [{"key": key, "data": {"float32": vector}}]
    client.put_vectors(vectors.models.PutVectorsRequest(bucket=BUCKET, index_name=index, vectors=rows))


def get(client, index, key):
    request = vectors.models.GetVectorsRequest(bucket=BUCKET, index_name=index, keys=[key], return_data=True)
    rows = client.get_vectors(request).vectors
    return rows[0]["data"]["float32"] if rows else None


def prepare(client):
    client.put_vector_bucket(vectors.models.PutVectorBucketRequest(bucket=BUCKET))
    for number in range(INDEXES):
        client.put_vector_index(
            vectors.models.PutVectorIndexRequest(
                bucket=BUCKET,
                index_name=f"idx{number}",
                dimension=DIMENSION,
                data_type="float32",
                distance_metric="euclidean",
            )
        )


def missing(nodes, acknowledged):
    """Acknowledged vectors that one of the nodes does not have; each node is asked for every third."""
    lost = []
    for turn, node in enumerate(nodes):
        client = sdk.by_proxy(node.server)
        for number, ((index, key), vector) in enumerate(sorted(acknowledged.items())):
            if number % len(nodes) == turn and get(client, index, key) != vector:
                lost.append(f"{node.name} lacks {key} of {index}")
    return lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--clients", type=int, default=6)
    options = parser.parse_args()
    print(f"{settings.binary()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="rolling-") as folder:
        with Cluster(Path(folder), {"VECTORBUCKET_DRAIN_DELAY": "200ms"}, peers=True) as cluster:
            balancer = Balancer([node.port for node in cluster.nodes])
            prepare(sdk.by_proxy(balancer))
            load = Load(balancer.url, options.clients)
            load.progress()
            unclean, began = [], time.monotonic()
            for _ in range(options.rounds):
                for node in cluster.nodes:
                    code = node.server.stop()
                    if code != 0:
                        unclean.append(f"{node.name} ended with {code}")
                    load.progress()
                    node.server.start()
                    load.progress()
            seconds = time.monotonic() - began
            load.end()
            balancer.close()
            lost = missing(cluster.nodes, load.acknowledged)
            panics = [line for node in cluster.nodes for line in node.server.panics()]
    restarts = 3 * options.rounds
    print(f"{restarts} restarts in {seconds:.0f} s, {load.calls} calls, {len(load.acknowledged)} vectors acknowledged")
    problems = {"failed calls": load.failures, "lost vectors": lost, "unclean ends": unclean, "panics": panics}
    for name, found in problems.items():
        print(f"{name}: {len(found)}")
        for line in found[:5]:
            print(f"    {line}")
    failed = sum(1 for found in problems.values() if found)
    print(f"{len(problems) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
