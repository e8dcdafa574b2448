"""Random writes, restarts and reads against a naive model: every answer of get, list and query is what the model says.

The server folds writes into segments all the time and is killed and started again on the way, so answers come from any mixture of
memtable, segments and deletion bitmaps. MODEL_STEPS and MODEL_SEED change the length and the stream.
"""

import random

import pytest
from harness import numbers, settings
from harness.raw import Client
from harness.server import Server
from test_query import random_filter, random_metadata

STEPS = settings.count("MODEL_STEPS", 400)
SEED = settings.count("MODEL_SEED", 5)
BUCKET, INDEX, DIMENSION, KEYS = "model-bucket", "items", 6, 300


class Model:
    """What the index must hold: key -> (vector, metadata or None)."""

    def __init__(self, metric, rng):
        self.rows = {}
        self.rng = rng
        self.distance = numbers.euclidean if metric == "euclidean" else numbers.cosine

    def key(self):
        return f"key-{self.rng.randrange(KEYS)}"

    def vector(self):
        # Few distinct values, so that equal distances are common and ties must be right.
        return [self.rng.choice([-1.0, 0.5, 1.0, 2.0]) for _ in range(DIMENSION)]

    def put(self):
        rows = {
            self.key(): (self.vector(), self.rng.choice([None, random_metadata(self.rng)]))
            for _ in range(self.rng.randrange(1, 40))
        }
        self.rows |= rows
        vectors = [
            {"key": key, "data": {"float32": vector}} | ({} if metadata is None else {"metadata": metadata})
            for key, (vector, metadata) in rows.items()
        ]
        return {"indexName": INDEX, "vectors": vectors}

    def delete(self):
        keys = [self.key() for _ in range(self.rng.randrange(1, 30))]
        for key in keys:
            self.rows.pop(key, None)
        return {"indexName": INDEX, "keys": keys}

    def matching(self, filter_):
        return {key for key, (_, metadata) in self.rows.items() if numbers.matches(filter_, metadata or {})}


def paged(client, body):
    """All vectors of a listing."""
    vectors, token = [], None
    while True:
        page = client.post("listVectors", body | ({"nextToken": token} if token else {}), BUCKET)
        assert page.status == 200, page.body
        vectors += page.json()["vectors"]
        token = page.json().get("nextToken")
        if not token:
            return vectors


def check_list(client, model):
    filter_ = random_filter(model.rng) if model.rng.random() < 0.5 else {}
    count = model.rng.randrange(1, 5)
    seen = []
    for segment in range(count):
        body = {
            "indexName": INDEX,
            "maxResults": model.rng.randrange(1, 200),
            "segmentCount": count,
            "segmentIndex": segment,
        }
        seen += paged(client, body | {"filter": filter_, "returnData": True, "returnMetadata": True})
    check_rows(seen, {key: model.rows[key] for key in model.matching(filter_)})


def check_rows(vectors, expected):
    assert len(vectors) == len(expected)
    for vector in vectors:
        values, metadata = expected[vector["key"]]
        assert numbers.bits(vector["data"]["float32"]) == numbers.bits(values)
        assert vector.get("metadata") == metadata


def check_get(client, model):
    keys = list({model.key() for _ in range(50)})
    body = {"indexName": INDEX, "keys": keys, "returnData": True, "returnMetadata": True}
    check_rows(
        client.post("getVectors", body, BUCKET).json()["vectors"], {k: model.rows[k] for k in keys if k in model.rows}
    )


def check_query(client, model):
    filter_ = random_filter(model.rng) if model.rng.random() < 0.7 else {}
    vector, top_k = model.vector(), model.rng.choice([1, 5, 50, 500])
    body = {
        "indexName": INDEX,
        "queryVector": {"float32": vector},
        "topK": top_k,
        "filter": filter_,
        "returnDistance": True,
    }
    answer = client.post("queryVectors", body, BUCKET)
    assert answer.status == 200, answer.body
    found = [(v["key"], v["distance"]) for v in answer.json()["vectors"]]
    true = {key: model.distance(vector, model.rows[key][0]) for key in model.matching(filter_)}
    assert len(found) == min(top_k, len(true)) and len({key for key, _ in found}) == len(found)
    assert [d for _, d in found] == pytest.approx(sorted(true.values())[:top_k], abs=1e-5)
    assert [d for _, d in found] == pytest.approx([true[key] for key, _ in found], abs=1e-5)
    for (key, near), (following, far) in zip(found, found[1:]):
        assert near < far or (near == far and key.encode() < following.encode()), "ties are ordered by key"


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_answer_is_the_models(tmp_path, metric):
    rng = random.Random(f"{SEED}/{metric}")
    print(f"{STEPS} steps, seed {SEED}")
    model, flushes = Model(metric, rng), 0
    with Server(tmp_path / "model", settings.FLUSHING) as server:
        client = Client(server.port)
        assert client.call("PUT", "", bucket=BUCKET).status == 200
        body = {"indexName": INDEX, "dataType": "float32", "dimension": DIMENSION, "distanceMetric": metric}
        assert client.post("putVectorIndex", body, BUCKET).status == 200
        for step in range(STEPS):
            if rng.random() < 0.7:
                assert client.post("putVectors", model.put(), BUCKET).status == 200
            else:
                assert client.post("deleteVectors", model.delete(), BUCKET).status == 204
            rng.choice([check_list, check_get, check_query, check_query])(client, model)
            if step % 60 == 59:
                flushes += server.metric("vectorbucket_engine_flushes_total")
                server.kill() if rng.random() < 0.7 else server.stop()
                server.start()
                check_list(client, model)
        flushes += server.metric("vectorbucket_engine_flushes_total")
    assert flushes > STEPS / 60
    assert server.panics() == []
