"""Fixtures: one server for the whole run, SDK and raw clients on it, and names that never collide.

With SUITE_FLUSHING set, that server folds writes into segments all the time. Suites that fill quotas, kill the process or starve it of disk start servers of their own.
"""

import itertools
import os

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import oss4, sdk, settings
from harness import raw as raw_client
from harness.server import Server

_names = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    environment = settings.FLUSHING if os.environ.get("SUITE_FLUSHING") else {}
    with Server(tmp_path_factory.mktemp("server"), environment) as running:
        yield running
        assert running.alive(), running.log()[-4000:]
        assert not environment or running.metric("vectorbucket_engine_flushes_total") > 0
    assert running.panics() == []


@pytest.fixture(scope="session")
def client(server):
    """The SDK's vectors client, through the dict proxy."""
    return sdk.by_proxy(server)


@pytest.fixture(scope="session")
def raw(server):
    return raw_client.Client(server.port, oss4.Key())


@pytest.fixture
def bucket_name():
    return f"sdk-suite-{next(_names)}"


def remove_bucket(client, name):
    """Deletes a bucket and its indexes; a bucket that is gone already is fine."""
    try:
        for page in client.list_vector_indexes_paginator().iter_page(
            oss_vectors.models.ListVectorIndexesRequest(bucket=name)
        ):
            for index in page.indexes:
                client.delete_vector_index(
                    oss_vectors.models.DeleteVectorIndexRequest(bucket=name, index_name=index["indexName"])
                )
        client.delete_vector_bucket(oss_vectors.models.DeleteVectorBucketRequest(bucket=name))
    except Exception as error:  # the SDK wraps every failure in one type
        if "NoSuchBucket" not in str(error):
            raise


@pytest.fixture
def bucket(client, bucket_name):
    """An empty vector bucket."""
    client.put_vector_bucket(oss_vectors.models.PutVectorBucketRequest(bucket=bucket_name))
    yield bucket_name
    remove_bucket(client, bucket_name)


@pytest.fixture
def make_index(client, bucket):
    """Creates an index in `bucket` and returns its name."""

    def make(name="items", dimension=3, metric="euclidean", metadata=None):
        client.put_vector_index(
            oss_vectors.models.PutVectorIndexRequest(
                bucket=bucket,
                index_name=name,
                data_type="float32",
                dimension=dimension,
                distance_metric=metric,
                metadata=metadata,
            )
        )
        return name

    return make


@pytest.fixture
def index(make_index):
    """An empty euclidean index of dimension 3 named `items`."""
    return make_index()


@pytest.fixture
def put(client, bucket):
    """Puts rows (key, vector, metadata or None) into an index of `bucket`."""

    def put_rows(index, rows):
        vectors = []
        for key, values, metadata in rows:
            vector = {"key": key, "data": {"float32": values}}
            vectors.append(vector if metadata is None else vector | {"metadata": metadata})
        return client.put_vectors(
            oss_vectors.models.PutVectorsRequest(bucket=bucket, index_name=index, vectors=vectors)
        )

    return put_rows
