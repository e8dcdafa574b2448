"""What the SDK's own integration tests expect of the service, restated: the same calls, the same assertions."""

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import sdk, settings

models = oss_vectors.models


def test_name_is_an_arn(client, bucket):
    info = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket)).bucket_info
    assert info.name == f"acs:ossvector:{settings.REGION}:{settings.ACCOUNT}:{bucket}"


def test_bucket_names_of_32_characters(client):
    names = [f"python-sdk-test-bucket-{'x' * 7}-{i}" for i in range(1, 4)]
    assert {len(name) for name in names} == {32}
    for name in names:
        assert client.put_vector_bucket(models.PutVectorBucketRequest(bucket=name)).status == "OK"
    prefix = "python-sdk-test-bucket-"
    pages = client.list_vector_buckets_paginator(limit=1).iter_page(models.ListVectorBucketsRequest(prefix=prefix))
    assert [[b.name.endswith(name) for b in page.buckets] for page, name in zip(pages, names, strict=True)] == [
        [True]
    ] * 3
    for name in names:
        client.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=name))


def test_vector_life(client, bucket, make_index):
    index = make_index("testIndexForIntegration", 3, "cosine", {"nonFilterableMetadataKeys": ["key1", "key2"]})
    vectors = [
        {
            "key": "vector-key-1",
            "data": {"float32": [0.1, 0.2, 0.3]},
            "metadata": {"key1": "value1", "key2": ["a", "b"]},
        }
    ]
    assert (
        client.put_vectors(models.PutVectorsRequest(bucket=bucket, index_name=index, vectors=vectors)).status_code
        == 200
    )
    got = client.get_vectors(
        models.GetVectorsRequest(
            bucket=bucket, index_name=index, keys=["vector-key-1", "key2"], return_data=True, return_metadata=True
        )
    )
    assert len(got.vectors) == 1
    assert got.vectors[0]["metadata"] == vectors[0]["metadata"]
    listed = client.list_vectors(
        models.ListVectorsRequest(
            bucket=bucket,
            index_name=index,
            max_results=100,
            next_token="",
            return_data=True,
            return_metadata=False,
            segment_count=2,
            segment_index=1,
        )
    )
    assert [v["key"] for v in listed.vectors] == ["vector-key-1"]
    found = client.query_vectors(
        models.QueryVectorsRequest(
            bucket=bucket,
            index_name=index,
            query_vector={"float32": [0.1, 0.2, 0.3]},
            top_k=10,
            filter={"$and": [{"type": {"$nin": ["comedy", "documentary"]}}]},
            return_distance=True,
            return_metadata=True,
        )
    )
    assert (found.status_code, found.status) == (200, "OK")
    assert [v["key"] for v in found.vectors] == ["vector-key-1"]
    gone = client.delete_vectors(models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=["vector-key-1"]))
    assert gone.status_code == 204


def test_list_pages_of_ten_by_five(client, bucket, make_index, put):
    index = make_index("paged")
    put(index, [(f"key-{i}", [i, i, 1], None) for i in range(10)])
    pages = list(
        client.list_vectors_paginator(limit=5).iter_page(models.ListVectorsRequest(bucket=bucket, index_name=index))
    )
    assert [len(page.vectors) for page in pages] == [5, 5]


MISSING = "sdk-suite-missing-bucket"

ON_MISSING = {
    "get_vector_bucket": models.GetVectorBucketRequest(bucket=MISSING),
    "delete_vector_bucket": models.DeleteVectorBucketRequest(bucket=MISSING),
    "put_bucket_policy": models.PutBucketPolicyRequest(bucket=MISSING, body='{"Version":"1","Statement":[]}'),
    "get_bucket_policy": models.GetBucketPolicyRequest(bucket=MISSING),
    "delete_bucket_policy": models.DeleteBucketPolicyRequest(bucket=MISSING),
    "put_bucket_logging": models.PutBucketLoggingRequest(
        bucket=MISSING,
        bucket_logging_status=models.BucketLoggingStatus(logging_enabled=models.LoggingEnabled(target_bucket="t")),
    ),
    "get_bucket_logging": models.GetBucketLoggingRequest(bucket=MISSING),
    "delete_bucket_logging": models.DeleteBucketLoggingRequest(bucket=MISSING),
    "put_vector_index": models.PutVectorIndexRequest(
        bucket=MISSING, index_name="i", data_type="float32", dimension=3, distance_metric="cosine"
    ),
    "get_vector_index": models.GetVectorIndexRequest(bucket=MISSING, index_name="i"),
    "list_vector_indexes": models.ListVectorIndexesRequest(bucket=MISSING),
    "delete_vector_index": models.DeleteVectorIndexRequest(bucket=MISSING, index_name="i"),
    "put_vectors": models.PutVectorsRequest(bucket=MISSING, index_name="i", vectors=[]),
    "get_vectors": models.GetVectorsRequest(bucket=MISSING, index_name="i", keys=["k"]),
    "list_vectors": models.ListVectorsRequest(bucket=MISSING, index_name="i"),
    "delete_vectors": models.DeleteVectorsRequest(bucket=MISSING, index_name="i", keys=["k"]),
    "query_vectors": models.QueryVectorsRequest(bucket=MISSING, index_name="i", query_vector={"float32": [1]}, top_k=1),
}


@pytest.mark.parametrize("operation", ON_MISSING)
def test_every_operation_on_a_missing_bucket_is_404(client, operation):
    with pytest.raises(Exception) as raised:
        getattr(client, operation)(ON_MISSING[operation])
    error = sdk.service_error(raised)
    assert (error.status_code, error.code, error.ec) == (404, "NoSuchBucket", "0015-00000101")
    assert error.message == "The specified bucket does not exist."
    assert len(error.request_id) == 24
    assert error.request_id == error.headers["x-oss-request-id"]
    assert error.timestamp is not None
    assert MISSING in error.request_target
    assert b'"Code":"NoSuchBucket"' in error.snapshot.replace(b'": "', b'":"')
    assert error.error_fileds["BucketName"] == MISSING
    assert error.error_fileds["EC"] == error.headers["x-oss-ec"]
    assert error.error_fileds["HostId"].startswith(f"{MISSING}-{settings.ACCOUNT}.")
    assert error.error_fileds["RecommendDoc"].endswith(error.ec)


@pytest.mark.parametrize("operation", ON_MISSING)
def test_every_operation_on_an_over_long_name_is_400(client, operation):
    request = ON_MISSING[operation]
    name, request.bucket = request.bucket, "python-sdk-test-bucket-too-long-" + "x" * 8
    try:
        with pytest.raises(Exception) as raised:
            getattr(client, operation)(request)
    finally:
        request.bucket = name
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (400, "InvalidVectorBucketName")


@pytest.mark.parametrize("operation", ON_MISSING)
def test_every_operation_with_an_unknown_key_is_403(server, operation):
    client = sdk.by_proxy(
        server, credentials_provider=oss.credentials.StaticCredentialsProvider("invalidAk", "invalidSk")
    )
    with pytest.raises(Exception) as raised:
        getattr(client, operation)(ON_MISSING[operation])
    error = sdk.service_error(raised)
    assert (error.status_code, error.code, error.ec) == (403, "InvalidAccessKeyId", "0002-00000902")
    assert error.message == "The OSS Access Key Id you provided does not exist in our records."
    assert len(error.request_id) == 24


@pytest.mark.parametrize("operation", ["get_vector_index", "delete_vector_index", "list_vectors", "put_vectors"])
def test_missing_index_is_404(client, bucket, operation):
    requests = {
        "get_vector_index": models.GetVectorIndexRequest(bucket=bucket, index_name="nope"),
        "delete_vector_index": models.DeleteVectorIndexRequest(bucket=bucket, index_name="nope"),
        "list_vectors": models.ListVectorsRequest(bucket=bucket, index_name="nope"),
        "put_vectors": models.PutVectorsRequest(
            bucket=bucket, index_name="nope", vectors=[{"key": "k", "data": {"float32": [1]}}]
        ),
    }
    with pytest.raises(Exception) as raised:
        getattr(client, operation)(requests[operation])
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (404, "NoSuchVectorIndex")
