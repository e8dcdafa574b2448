"""Writers that know what the store must hold, for tests that kill it.

Each writer owns a disjoint set of keys and sends one batch at a time, so at a kill at most one batch per writer has an
unknown outcome. After a restart every other key must be exactly as last acknowledged, and an unknown batch must be
there wholly or not at all.
"""

import random
import threading
from dataclasses import dataclass, field

from .numbers import bits
from .raw import Client, Closed, Connection

DIMENSION = 8
KEYS_PER_WRITER = 100
GONE = None
"""The state of a key that is not stored."""


def vector_of(key: str, version: int) -> list:
    """The vector that belongs to a version of a key: any other is a torn or mixed write."""
    rng = random.Random(f"{key}/{version}")
    return [rng.uniform(-1, 1) for _ in range(DIMENSION)]


def metadata_of(key: str, version: int) -> dict:
    return {"writer": key.split("-")[0], "version": version, "pad": "x" * (version * 7 % 200)}


@dataclass
class Writer:
    """One writing thread's keys and what is known about them."""

    name: str
    index: str
    acknowledged: dict = field(default_factory=dict)
    """key -> version or GONE, as last acknowledged."""
    pending: dict = field(default_factory=dict)
    """The batch in flight when the connection broke: key -> version or GONE."""
    version: int = 0
    acknowledged_batches: int = 0
    failure: str | None = None
    """An answer that should not have come."""

    def keys(self):
        return [f"{self.name}-{i:03}" for i in range(KEYS_PER_WRITER)]

    def run(self, port: int, bucket: str, stop: threading.Event, rng: random.Random):
        """Writes until `stop` or until the server goes away."""
        try:
            with Connection(port) as connection:
                while not stop.is_set() and self._batch(Client(port), connection, bucket, rng):
                    pass
        except (Closed, OSError):
            return

    def _batch(self, client, connection, bucket, rng) -> bool:
        keys = rng.sample(self.keys(), rng.randrange(1, 21))
        self.version += 1
        delete = rng.random() < 0.3
        self.pending = {key: GONE if delete else self.version for key in keys}
        if delete:
            answer = client.post(
                "deleteVectors", {"indexName": self.index, "keys": keys}, bucket, connection=connection
            )
        else:
            rows = [row(key, self.version) for key in keys]
            answer = client.post(
                "putVectors", {"indexName": self.index, "vectors": rows}, bucket, connection=connection
            )
        if answer.status != (204 if delete else 200):
            self.failure = f"{answer.status} {answer.body[:300]}"
            return False
        self.acknowledged |= self.pending
        self.pending = {}
        self.acknowledged_batches += 1
        return True

    def settle(self, stored: dict):
        """Compares the index's content (key -> version) with what is known and adopts the outcome of the pending batch."""
        seen = {key: stored.get(key, GONE) for key in self.keys()}
        expected = {key: self.acknowledged.get(key, GONE) for key in self.keys()}
        wrong = {
            key: (expected[key], seen[key])
            for key in self.keys()
            if key not in self.pending and seen[key] != expected[key]
        }
        assert not wrong, f"{self.name}: acknowledged -> found {wrong}"
        outcome = {key: seen[key] for key in self.pending}
        before = {key: expected[key] for key in self.pending}
        assert outcome in (before, self.pending), (
            f"{self.name}: half a batch: {outcome}, was {before}, sent {self.pending}"
        )
        self.acknowledged |= outcome
        self.pending = {}


def row(key, version):
    return {"key": key, "data": {"float32": vector_of(key, version)}, "metadata": metadata_of(key, version)}


def whole_rows(vectors) -> dict:
    """key -> version of listed or got rows, each checked to be bit for bit what that version was."""
    found = {}
    for vector in vectors:
        key, version = vector["key"], vector["metadata"]["version"]
        assert key not in found, f"{key} twice"
        assert vector["metadata"] == metadata_of(key, version), vector
        assert bits(vector["data"]["float32"]) == bits(vector_of(key, version)), vector
        found[key] = version
    return found


def listed(client, bucket, index) -> dict:
    vectors, token = [], None
    while True:
        body = {"indexName": index, "maxResults": 1000, "returnData": True, "returnMetadata": True}
        answer = client.post("listVectors", body | ({"nextToken": token} if token else {}), bucket)
        assert answer.status == 200, answer.body
        page = answer.json()
        vectors += page["vectors"]
        token = page.get("nextToken")
        if not token:
            return whole_rows(vectors)


def got(client, bucket, index, keys) -> dict:
    found = {}
    for start in range(0, len(keys), 100):
        body = {"indexName": index, "keys": keys[start : start + 100], "returnData": True, "returnMetadata": True}
        answer = client.post("getVectors", body, bucket)
        assert answer.status == 200, answer.body
        found |= whole_rows(answer.json()["vectors"])
    return found


def queried(client, bucket, index, writer) -> dict:
    """All of a writer's keys by a filtered query."""
    body = {
        "indexName": index,
        "queryVector": {"float32": [1.0] * DIMENSION},
        "topK": 500,
        "filter": {"writer": writer},
        "returnMetadata": True,
    }
    answer = client.post("queryVectors", body, bucket)
    assert answer.status == 200, answer.body
    vectors = answer.json()["vectors"]
    assert len({v["key"] for v in vectors}) == len(vectors)
    return {v["key"]: v["metadata"]["version"] for v in vectors}
