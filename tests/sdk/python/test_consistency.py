"""What is acknowledged is seen by the very next read of any kind, from any connection, while others write."""

import random
import threading

import alibabacloud_oss_v2.vectors as oss_vectors
from harness import sdk
from harness.numbers import bits

models = oss_vectors.models

WORKERS, STEPS = 4, 30


class Worker:
    """Puts, replaces and deletes its own keys; after each acknowledgement reads them back through another client."""

    def __init__(self, server, bucket, index, number):
        self.bucket, self.index, self.name = bucket, index, f"w{number}"
        self.writer, self.reader = sdk.by_proxy(server), sdk.by_custom_client(server)
        self.rng = random.Random(number)
        self.stored = {}
        self.failure = None

    def run(self):
        try:
            for step in range(STEPS):
                self.change(step)
                self.check()
        except BaseException as failure:
            self.failure = failure

    def change(self, step):
        keys = [f"{self.name}-{self.rng.randrange(20)}" for _ in range(self.rng.randrange(1, 6))]
        if step % 3 == 2:
            self.writer.delete_vectors(
                models.DeleteVectorsRequest(bucket=self.bucket, index_name=self.index, keys=keys)
            )
            for key in keys:
                self.stored.pop(key, None)
            return
        rows = {key: [self.rng.uniform(-1, 1) for _ in range(4)] for key in keys}
        vectors = [
            {"key": key, "data": {"float32": values}, "metadata": {"worker": self.name, "step": step}}
            for key, values in rows.items()
        ]
        self.writer.put_vectors(models.PutVectorsRequest(bucket=self.bucket, index_name=self.index, vectors=vectors))
        self.stored |= {key: (values, step) for key, values in rows.items()}

    def check(self):
        common = {"bucket": self.bucket, "index_name": self.index}
        keys = [f"{self.name}-{i}" for i in range(20)]
        got = self.reader.get_vectors(
            models.GetVectorsRequest(**common, keys=keys, return_data=True, return_metadata=True)
        ).vectors
        expected = {key: (bits(values), step) for key, (values, step) in self.stored.items()}
        assert {v["key"]: (bits(v["data"]["float32"]), v["metadata"]["step"]) for v in got} == expected
        found = self.reader.query_vectors(
            models.QueryVectorsRequest(
                **common,
                query_vector={"float32": [1, 0, 0, 0]},
                top_k=100,
                filter={"worker": self.name},
                return_metadata=True,
            )
        ).vectors
        assert {v["key"]: v["metadata"]["step"] for v in found} == {k: step for k, (_, step) in self.stored.items()}
        listed = [
            v["key"]
            for page in self.reader.list_vectors_paginator(limit=7).iter_page(models.ListVectorsRequest(**common))
            for v in page.vectors
        ]
        assert sorted(k for k in listed if k.startswith(f"{self.name}-")) == sorted(self.stored)


def test_every_read_sees_what_was_acknowledged_before_it(server, bucket, make_index):
    index = make_index("shared", 4)
    workers = [Worker(server, bucket, index, number) for number in range(WORKERS)]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        if worker.failure:
            raise worker.failure
