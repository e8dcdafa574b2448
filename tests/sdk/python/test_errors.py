"""Sends every row of errors/table.py and checks status, Code, EC, body shape and headers; counts that none is left out."""

import importlib.util
import json
import re
import socket
import time

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import oss4, sdk, settings
from harness import raw as raw_client
from harness.server import Server

models = oss_vectors.models

ANSWERED = set()
"""(code, EC) of every error answered in this run."""

_spec = importlib.util.spec_from_file_location("error_table", settings.ROOT / "tests/sdk/errors/table.py")
error_table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(error_table)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server of its own with the buckets and indexes the table speaks of."""
    with Server(tmp_path_factory.mktemp("errors"), {"VECTORBUCKET_LIMITS_BODY_TIMEOUT": "1s"}) as server:
        client = sdk.by_proxy(server)
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket="errors"))
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket="full"))
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket="tagged", resource_group_id="rg-one"))
        make(client, "errors", "items", "euclidean")
        make(client, "errors", "angle", "cosine")
        make(client, "errors", "notes", "euclidean", {"nonFilterableMetadataKeys": ["note"]})
        for i in range(100):
            make(client, "full", f"index{i}", "euclidean")
        client.put_vectors(models.PutVectorsRequest(bucket="errors", index_name="items", vectors=[row_a()]))
        yield server
        assert server.alive()
    assert server.panics() == []


def make(client, bucket, name, metric, metadata=None):
    client.put_vector_index(
        models.PutVectorIndexRequest(
            bucket=bucket, index_name=name, data_type="float32", dimension=3, distance_metric=metric, metadata=metadata
        )
    )


def row_a():
    return {"key": "a", "data": {"float32": [1.0, 2.0, 3.0]}, "metadata": {"city": "x"}}


# --- sending ---


class Seen:
    """One error as seen through either client: status, headers (case-insensitive get), body bytes."""

    def __init__(self, status, header, body):
        self.status, self.header, self.body = status, header, body


def through_sdk(server, method, fields) -> Seen:
    kind = "".join(part.capitalize() for part in method.split("_")) + "Request"
    with pytest.raises(oss.exceptions.OperationError) as raised:
        getattr(sdk.by_proxy(server), method)(getattr(models, kind)(**fields))
    error = sdk.service_error(raised)
    body = json.loads(error.snapshot)["Error"]
    assert (error.code, error.ec, error.request_id) == (body["Code"], body["EC"], body["RequestId"])
    assert error.error_fileds == body and error.message == body["Message"]
    return Seen(error.status_code, error.headers.get, error.snapshot)


def through_socket(server, fields) -> Seen:
    fields = dict(fields)
    key = oss4.Key(**fields.pop("key", {}))
    now = time.time() + fields.pop("skew", 0)
    if "presigned" in fields:
        fields = as_presigned(key, dict(fields.pop("presigned")), fields)
    else:
        fields["stamp"] = oss4.timestamp(now)
    if "authorization" in fields:
        day = oss4.timestamp()[:8]
        names = {"ak": key.access_key_id, "scope": oss4.scope(key, day), "day": day}
        fields["authorization"] = fields["authorization"].format(**names)
    body, sent = fields.pop("body", b""), fields.pop("sent", "whole")
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = raw_client.Request(body=body, key=key, **fields)
    with raw_client.Connection(server.port) as connection:
        connection.send(request.bytes(server.port) if sent == "whole" else request.bytes(server.port)[:-1])
        if sent == "cut":
            connection.socket.shutdown(socket.SHUT_WR)
        answer = connection.receive()
    return Seen(answer.status, answer.header, answer.body)


def as_presigned(key, more, fields):
    key = oss4.Key(**more.pop("key", {})) if "key" in more else key
    stamp, suffix = oss4.timestamp(time.time() + more.pop("skew", 0)), more.pop("suffix", "")
    both = fields.pop("signed", False)
    query = oss4.presigned_query(key, fields["method"], fields["bucket"], fields["query"], stamp=stamp, **more)
    return fields | {"query": query + suffix, "signed": both, "content_md5": both}


# --- checking ---


def check_shape(case, seen):
    """What holds for every error answer."""
    assert seen.header("Content-Type") == "application/json"
    assert int(seen.header("Content-Length")) == len(seen.body)
    assert seen.header("Server") == "AliyunOSS"
    assert seen.header("Date").endswith(" GMT")
    assert abs(int(seen.header("x-oss-server-time"))) < 600_000
    assert seen.header("x-oss-error-type") is None
    body = json.loads(seen.body)
    assert set(body) == {"Error"}
    error = body["Error"]
    assert all(isinstance(value, str) for value in error.values()), error
    assert re.fullmatch("[0-9A-F]{24}", error["RequestId"])
    assert error["RequestId"] == seen.header("x-oss-request-id")
    assert re.fullmatch(r"\d{4}-\d{8}", error["EC"])
    assert error["EC"] == seen.header("x-oss-ec")
    assert error["RecommendDoc"] == f"https://api.aliyun.com/troubleshoot?q={error['EC']}"
    assert error["Message"] and bool(error.get("HostId")) == case.host_named
    if case.bucket_named:
        assert error["BucketName"]
    return error


def check(case, seen):
    error = check_shape(case, seen)
    assert (seen.status, error["Code"]) == (case.status, case.code), error
    assert case.ec is None or error["EC"] == case.ec, error
    for name, expected in case.fields.items():
        assert error[name] if expected is None else error[name] == expected
    assert settings.ACCESS_KEY_SECRET not in seen.body.decode()
    ANSWERED.add((error["Code"], error["EC"]))


@pytest.mark.parametrize("case", error_table.TABLE, ids=lambda case: case.name)
def test_case(world, case):
    check(case, through_sdk(world, *case.sdk) if case.sdk else through_socket(world, case.raw))


def test_nothing_changed(world):
    """Runs after the table: every refused request left the store as it was."""
    client = sdk.by_proxy(world)
    got = client.list_vectors(
        models.ListVectorsRequest(bucket="errors", index_name="items", return_data=True, return_metadata=True)
    )
    assert got.vectors == [row_a()]
    names = [
        i["indexName"] for i in client.list_vector_indexes(models.ListVectorIndexesRequest(bucket="errors")).indexes
    ]
    assert names == ["angle", "items", "notes"]
    buckets = client.list_vector_buckets(models.ListVectorBucketsRequest()).buckets
    assert [b.name.rsplit(":", 1)[1] for b in buckets] == ["errors", "full", "tagged"]
    for index in ("angle", "notes"):
        assert client.list_vectors(models.ListVectorsRequest(bucket="errors", index_name=index)).vectors == []


def test_too_many_buckets(world):
    client = sdk.by_proxy(world)
    have = len(client.list_vector_buckets(models.ListVectorBucketsRequest()).buckets)
    extra = [f"extra-{i}" for i in range(100 - have)]
    for name in extra:
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket=name))
    case = error_table.Case("101st bucket", 400, "TooManyBuckets", None)
    check(case, through_sdk(world, "put_vector_bucket", {"bucket": "one-more"}))
    client.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=extra[0]))
    assert client.put_vector_bucket(models.PutVectorBucketRequest(bucket="one-more")).status_code == 200


def listed_errors():
    """(Code, EC) of every row of the error table in docs/compatibility.md."""
    text = (settings.ROOT / "docs/compatibility.md").read_text()
    return set(re.findall(r"^\| \d{3} \| (\w+) \| (\d{4}-\d{8}) \|", text, re.M))


def test_every_documented_error_is_provoked_or_excused():
    """Runs after the table. `ANSWERED` is empty when only this test was chosen; then there is nothing to say."""
    if not ANSWERED:
        pytest.skip("runs with the table")
    provoked, excused = {ec for _, ec in ANSWERED}, set(error_table.UNREACHABLE)
    documented = {ec for _, ec in listed_errors()}
    assert documented - provoked - excused == set()
    assert excused & provoked == set(), "provoked after all"
    assert excused - documented == set(), "excused but not documented"


def test_ecs_are_those_of_the_compatibility_page():
    """Code and EC of what was answered stand together in a row of docs/compatibility.md."""
    assert ANSWERED - listed_errors() == set()
