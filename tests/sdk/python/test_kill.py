"""kill -9 at random moments under load, on one data directory, again and again.

KILL_ROUNDS sets how often (50), KILL_SEED the moments. After each restart every acknowledged write is there by list, get
and query, bit for bit; no unacknowledged batch is half there; no acknowledged delete is back; and the indexes
created and dropped meanwhile are as acknowledged.
"""

import random
import threading
import time

import pytest
from harness import settings
from harness.oracle import DIMENSION, Writer, got, listed, queried
from harness.raw import Client, Closed
from harness.server import Server, StartFailed

ROUNDS = settings.count("KILL_ROUNDS", 50)
SEED = settings.count("KILL_SEED", 9)
BUCKET = "kill-bucket"
WRITERS = [("wa", "one"), ("wb", "one"), ("wc", "two"), ("wd", "two")]


def create_index(client, name):
    body = {"indexName": name, "dataType": "float32", "dimension": DIMENSION, "distanceMetric": "euclidean"}
    return client.post("putVectorIndex", body, BUCKET)


class Churner:
    """Creates and drops indexes with a row in each: the bucket's log under fire."""

    def __init__(self):
        self.present = {}
        """name -> True | False as acknowledged; names in `unknown` may be either."""
        self.unknown = set()
        self.count = 0
        self.failure = None

    def run(self, port, stop, rng):
        client = Client(port)
        try:
            while not stop.is_set():
                self.step(client, rng)
        except (Closed, OSError):
            return

    def step(self, client, rng):
        live = [name for name, there in self.present.items() if there]
        drop = len(live) > 5 or (live and rng.random() < 0.4)
        name = rng.choice(live) if drop else f"churn{self.count}"
        self.count += 0 if drop else 1
        self.unknown.add(name)
        answer = client.post("deleteVectorIndex", {"indexName": name}, BUCKET) if drop else create_index(client, name)
        if answer.status != (204 if drop else 200):
            self.failure = f"{answer.status} {answer.body[:300]}"
            raise Closed(b"")
        self.unknown.discard(name)
        self.present[name] = not drop

    def settle(self, names):
        there = {name for name in names if name.startswith("churn")}
        expected = {name for name, present in self.present.items() if present}
        assert expected - self.unknown <= there, f"lost {expected - self.unknown - there}"
        assert there <= expected | self.unknown, f"back from deletion {there - expected - self.unknown}"
        self.present = {name: True for name in there}
        self.unknown = set()


class Tagger:
    """Counts up a tag of the bucket: the other kind of record in the bucket's log."""

    def __init__(self):
        self.acknowledged = 0
        self.sent = 0
        self.failure = None

    def run(self, port, stop):
        client = Client(port)
        try:
            while not stop.is_set() and not self.failure:
                self.step(client)
        except (Closed, OSError):
            return

    def step(self, client):
        self.sent += 1
        tags = {"Tagging": {"TagSet": {"Tag": [{"Key": "count", "Value": str(self.sent)}]}}}
        answer = client.call("PUT", "tagging", tags, BUCKET)
        if answer.status == 200:
            self.acknowledged = self.sent
        else:
            self.failure = f"{answer.status} {answer.body[:300]}"

    def settle(self, client):
        tags = client.call("GET", "tagging", bucket=BUCKET).json()["Tagging"]["TagSet"]["Tag"]
        found = int(tags[0]["Value"]) if tags else 0
        assert found in (self.acknowledged, self.sent), (
            f"acknowledged {self.acknowledged}, sent {self.sent}, found {found}"
        )
        self.acknowledged = self.sent = found


def index_names(client):
    """The indexes that are there to stay: a kill inside a deletion leaves one `deleting`, which the server completes."""
    answer = client.post("listVectorIndexes", {"maxResults": 500}, BUCKET)
    return [i["indexName"] for i in answer.json()["indexes"] if i["status"] == "enable"]


def settle(client, writers, churner, tagger):
    """The whole check after a restart."""
    for index in ("one", "two"):
        stored = listed(client, BUCKET, index)
        mine = [w for w in writers if w.index == index]
        assert got(client, BUCKET, index, [k for w in mine for k in w.keys()]) == stored
        for writer in mine:
            assert queried(client, BUCKET, index, writer.name) == {
                k: v for k, v in stored.items() if k.startswith(writer.name)
            }
            writer.settle(stored)
        assert set(stored) <= {k for w in mine for k in w.keys()}
    tagger.settle(client)
    churner.settle(index_names(client))
    for name in churner.present:
        answer = client.post("listVectors", {"indexName": name}, BUCKET)
        assert answer.json() == {"vectors": []}, answer.body


def load(server, writers, churner, tagger, seed, seconds):
    """Runs all writers and kills the server while they write; returns how many flushes it had done."""
    stop = threading.Event()
    rng = random.Random(seed)
    jobs = [(w.run, (server.port, BUCKET, stop, random.Random(f"{seed}/{w.name}"))) for w in writers]
    jobs += [(churner.run, (server.port, stop, rng)), (tagger.run, (server.port, stop))]
    threads = [threading.Thread(target=run, args=arguments) for run, arguments in jobs]
    for thread in threads:
        thread.start()
    time.sleep(seconds)  # the random moment itself, not a wait for something
    flushes = server.metric("vectorbucket_engine_flushes_total")
    time.sleep(random.Random(seconds).random() / 100)  # the metric's answer must not fix the moment
    server.kill()
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    failures = [f for f in [*(w.failure for w in writers), churner.failure, tagger.failure] if f]
    assert not failures, failures
    return flushes


def test_kill_9_under_load(tmp_path):
    rng = random.Random(SEED)
    print(f"{ROUNDS} rounds, seed {SEED}")
    server = Server(tmp_path / "kill")
    writers, churner, tagger = [Writer(*names) for names in WRITERS], Churner(), Tagger()
    server.start()
    try:
        client = Client(server.port)
        assert client.call("PUT", "", bucket=BUCKET).status == 200
        for index in ("one", "two"):
            assert create_index(client, index).status == 200
        batches, flushes, slowest = [], 0, 0.0
        for i in range(ROUNDS):
            before = sum(w.acknowledged_batches for w in writers)
            flushes += load(
                server, writers, churner, tagger, f"{SEED}/{i}", rng.choice([0.05, 0.2, 0.5]) + rng.random() * 0.5
            )
            batches.append(sum(w.acknowledged_batches for w in writers) - before)
            # Every other round folds all the time, so that kills also hit flushes.
            server.environment = settings.FLUSHING if i % 2 == 0 else {}
            started = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - started)
            settle(client, writers, churner, tagger)
        print(
            f"{sum(batches)} batches acknowledged (least {min(batches)} in a round), {flushes:.0f} flushes, slowest start {slowest:.2f} s"
        )
        assert sum(batches) > 10 * ROUNDS
        assert flushes > ROUNDS / 4
        assert slowest < 10
    finally:
        if server.alive():
            server.kill()
    assert server.panics() == []


def test_second_process_on_a_live_directory_is_refused(tmp_path):
    """One process owns a local store: a second one would break what the first relies on."""
    with Server(tmp_path / "owner") as owner:
        second = Server(tmp_path / "second", {"VECTORBUCKET_STORE": str(owner.data)})
        with pytest.raises(StartFailed) as raised:
            second.start()
        assert raised.value.code not in (0, "no answer")
        assert any(word in raised.value.log.lower() for word in ("lock", "in use", "another process"))
        assert owner.healthy()


def test_sigterm_drains_and_loses_nothing(tmp_path):
    server = Server(tmp_path / "drain").start()
    writers, churner, tagger = [Writer(*names) for names in WRITERS], Churner(), Tagger()
    client = Client(server.port)
    try:
        assert client.call("PUT", "", bucket=BUCKET).status == 200
        for index in ("one", "two"):
            assert create_index(client, index).status == 200
        stop = threading.Event()
        threads = [
            threading.Thread(target=w.run, args=(server.port, BUCKET, stop, random.Random(w.name))) for w in writers
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        code = server.stop()
        stop.set()
        for thread in threads:
            thread.join(60)
        assert code == 0, server.log()[-2000:]
        server.start()
        for writer in writers:
            writer.failure = None
        settle(client, writers, churner, tagger)
        assert sum(w.acknowledged_batches for w in writers) > 10
    finally:
        if server.alive():
            server.stop()
