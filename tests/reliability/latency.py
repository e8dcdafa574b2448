#!/usr/bin/env python3
"""PutVectors through one server over the real S3 server, each of whose answers is delayed: throughput and latency.

    python3 tests/reliability/latency.py [--delay-ms 50] [--clients 16] [--batch 200] [--seconds 20] [--dimension 384]

Two runs: batches as given for throughput, then single vectors. Keys are always new. Bodies are made before the clock
starts; a client sends its next request when the answer to the last has come. Closes with `N passed, N failed`: at least
10,000 vectors a second, and a median latency of a put of at most 3.5 times the delay, in both runs.
"""

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from cluster import Cluster  # noqa: E402
from harness import settings  # noqa: E402
from harness.raw import Client, Connection, Request  # noqa: E402

BUCKET, INDEX = "latency", "vectors"
WARM_SECONDS = 3
VECTORS_PER_SECOND_MIN, LATENCY_FACTOR_MAX = 10_000, 3.5


def main() -> int:
    options = arguments()
    print(f"{settings.binary()}, {options.clients} clients, {options.dimension} dimensions, {options.delay_ms} ms")
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        with Cluster(Path(folder), {"VECTORBUCKET_MEMORY_LIMIT": "2GiB"}, count=1) as cluster:
            node = cluster.nodes[0]
            create(node.port, options.dimension)
            node.proxy.order(delay=options.delay_ms / 1000)
            many = measure(node, options, options.batch)
            single = measure(node, options, 1)
            report = node.proxy.report()
            node.proxy.order(delay=0)
    print(f"{report['requests']} requests to the store")
    failed = 0
    failed += judge("vectors a second", many.rate >= VECTORS_PER_SECOND_MIN)
    for name, run in (("batches", many), ("single vectors", single)):
        failed += judge(f"median latency of {name}", run.median <= LATENCY_FACTOR_MAX * options.delay_ms / 1000)
    print(f"\n{3 - failed} passed, {failed} failed")
    return 1 if failed else 0


def judge(what, held) -> int:
    print(f"{'ok' if held else 'FAILED'}: {what}")
    return 0 if held else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--dimension", type=int, default=384)
    return parser.parse_args()


def create(port, dimension):
    client = Client(port)
    assert client.call("PUT", "", bucket=BUCKET).status == 200
    body = {"indexName": INDEX, "dataType": "float32", "dimension": dimension, "distanceMetric": "cosine"}
    assert client.post("putVectorIndex", body, BUCKET).status == 200


class Measured:
    """Latencies in seconds of the puts that ended after the warm-up, and vectors a second."""

    def __init__(self, latencies, vectors, seconds):
        latencies.sort()
        self.rate, self.median = vectors / seconds, statistics.median(latencies)
        self.count, self.slow = len(latencies), latencies[int(len(latencies) * 0.99)]


def measure(node, options, batch) -> Measured:
    workers = [Worker(node.port, batch, options.dimension, number) for number in range(options.clients)]
    stop = threading.Event()
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    for thread in threads:
        thread.start()
    time.sleep(WARM_SECONDS)
    began = time.monotonic()
    time.sleep(options.seconds)
    ended = time.monotonic()
    stop.set()
    for thread in threads:
        thread.join()
    latencies = [took for worker in workers for at, took in worker.done if began <= at < ended]
    run = Measured(latencies, len(latencies) * batch, ended - began)
    factor = run.median * 1000 / options.delay_ms if options.delay_ms else 0
    print(
        f"batches of {batch:4}: {run.rate:8,.0f} vectors/s, {run.count:6,} puts, median {run.median * 1000:6.1f} ms "
        f"({factor:.2f} x the delay), 99th percentile {run.slow * 1000:6.1f} ms",
        flush=True,
    )
    return run


class Worker:
    """One client: a connection, and the text of a batch between whose pieces the keys go."""

    def __init__(self, port, batch, dimension, number):
        rng = random.Random(number)
        self.port, self.number, self.batch = port, number, batch
        self.rows = [self.data(rng, dimension) for _ in range(batch)]
        self.sent = 0
        self.done = []

    @staticmethod
    def data(rng, dimension) -> bytes:
        numbers = ",".join(f"{rng.gauss(0, 1):.6f}" for _ in range(dimension))
        return f'","data":{{"float32":[{numbers}]}}}}'.encode()

    def body(self) -> bytes:
        parts = [f'{{"indexName":"{INDEX}","vectors":['.encode()]
        for place, data in enumerate(self.rows):
            self.sent += 1
            comma = "," if place else ""
            parts.append(f'{comma}{{"key":"{self.batch}-{self.number}-{self.sent}'.encode())
            parts.append(data)
        parts.append(b"]}")
        return b"".join(parts)

    def run(self, stop):
        client = Client(self.port)
        with Connection(self.port, 60) as connection:
            while not stop.is_set():
                request = Request("POST", "putVectors", self.body(), BUCKET, content_md5=False)
                began = time.monotonic()
                answer = client.send(request, connection)
                assert answer.status == 200, answer.body
                ended = time.monotonic()
                self.done.append((ended, ended - began))


if __name__ == "__main__":
    sys.exit(main())
