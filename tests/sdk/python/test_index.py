"""Index operations through the SDK, with every field it models."""

import datetime

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import sdk
from test_bucket import arn, check_result

models = oss_vectors.models


def described(client, bucket, name):
    result = client.get_vector_index(models.GetVectorIndexRequest(bucket=bucket, index_name=name))
    check_result(result, 200, "OK")
    return result.index


def check_described(index, bucket, name, dimension, metric, metadata):
    created = datetime.datetime.fromisoformat(index["createTime"].replace("Z", "+00:00"))
    age = datetime.datetime.now(datetime.timezone.utc) - created
    assert datetime.timedelta(seconds=-5) < age < datetime.timedelta(minutes=10)
    assert index["indexName"] == name
    assert index["dataType"] == "float32"
    assert index["dimension"] == dimension
    assert index["distanceMetric"] == metric
    assert index["status"] == "enable"
    assert index["bucketArn"] == arn(bucket)
    assert index["vectorBucketName"] == bucket
    assert index["mode"] == "standard"
    assert index.get("metadata") == metadata


@pytest.mark.parametrize(
    ("name", "dimension", "metric", "metadata"),
    [
        ("a", 1, "euclidean", None),
        ("Index1", 4096, "cosine", {"nonFilterableMetadataKeys": ["note"]}),
        ("x" * 63, 768, "euclidean", {"nonFilterableMetadataKeys": [f"key_{i}" for i in range(10)]}),
        ("zZ9", 3, "cosine", {"nonFilterableMetadataKeys": ["_" * 63]}),
    ],
)
def test_put_get_returns_what_was_given(client, bucket, name, dimension, metric, metadata):
    request = models.PutVectorIndexRequest(
        bucket=bucket,
        index_name=name,
        data_type="float32",
        dimension=dimension,
        distance_metric=metric,
        metadata=metadata,
    )
    result = client.put_vector_index(request)
    check_result(result, 200, "OK")
    assert result.headers["Content-Length"] == "0"
    check_described(described(client, bucket, name), bucket, name, dimension, metric, metadata)


def test_names_differ_by_case(client, bucket, make_index):
    make_index("Items", 3)
    make_index("items", 5)
    assert described(client, bucket, "Items")["dimension"] == 3
    assert described(client, bucket, "items")["dimension"] == 5


def test_list_shows_whole_objects_sorted(client, bucket, make_index):
    for name in ("beta", "alpha", "Gamma"):
        make_index(name, 7, "cosine")
    result = client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket))
    check_result(result, 200, "OK")
    assert [i["indexName"] for i in result.indexes] == ["Gamma", "alpha", "beta"]
    for index in result.indexes:
        check_described(index, bucket, index["indexName"], 7, "cosine", None)
    assert not result.next_token


def test_list_prefix_max_results_and_token(client, bucket, make_index):
    for i in range(4):
        make_index(f"data{i}")
    make_index("other")
    first = client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket, prefix="data", max_results=3))
    assert [i["indexName"] for i in first.indexes] == ["data0", "data1", "data2"]
    assert first.next_token
    rest = client.list_vector_indexes(
        models.ListVectorIndexesRequest(bucket=bucket, prefix="data", max_results=3, next_token=first.next_token)
    )
    assert [i["indexName"] for i in rest.indexes] == ["data3"]
    assert not rest.next_token
    by_name = client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket, next_token="data2"))
    assert [i["indexName"] for i in by_name.indexes] == ["data3", "other"]


def test_list_empty_bucket_is_an_empty_array(client, bucket):
    result = client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket))
    assert result.indexes == []
    assert not result.next_token


def test_list_max_results_zero_means_the_default(client, bucket, index):
    result = client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket, max_results=0))
    assert [i["indexName"] for i in result.indexes] == [index]


@pytest.mark.parametrize(("count", "limit", "pages"), [(11, 5, 3), (10, 5, 2), (3, 1, 3), (3, 3, 1)])
def test_paginator_page_counts(client, bucket, make_index, count, limit, pages):
    names = sorted(f"index{i}" for i in range(count))
    for name in names:
        make_index(name)
    got = list(
        client.list_vector_indexes_paginator(limit=limit).iter_page(models.ListVectorIndexesRequest(bucket=bucket))
    )
    assert [i["indexName"] for page in got for i in page.indexes] == names
    assert len(got) == pages
    assert all(page.indexes for page in got)


def test_delete_answers_204_and_the_bucket_can_go_at_once(client, bucket, index, put):
    put(index, [("a", [1, 2, 3], None)])
    result = client.delete_vector_index(models.DeleteVectorIndexRequest(bucket=bucket, index_name=index))
    check_result(result, 204, "No Content")
    with pytest.raises(Exception) as raised:
        client.get_vector_index(models.GetVectorIndexRequest(bucket=bucket, index_name=index))
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (404, "NoSuchVectorIndex")
    client.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=bucket))


def test_recreated_index_is_empty(client, bucket, make_index, put):
    name = make_index("again", 3)
    put(name, [("old", [1, 2, 3], None)])
    client.delete_vector_index(models.DeleteVectorIndexRequest(bucket=bucket, index_name=name))
    make_index("again", 2)
    assert described(client, bucket, "again")["dimension"] == 2
    assert client.list_vectors(models.ListVectorsRequest(bucket=bucket, index_name="again")).vectors == []
    put("again", [("new", [1, 2], None)])


@pytest.mark.parametrize("same", [True, False])
def test_put_existing_is_409_even_when_identical(client, bucket, index, same):
    with pytest.raises(Exception) as raised:
        client.put_vector_index(
            models.PutVectorIndexRequest(
                bucket=bucket,
                index_name=index,
                data_type="float32",
                dimension=3 if same else 9,
                distance_metric="euclidean",
            )
        )
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (409, "VectorBucketIndexAlreadyExist")
    assert described(client, bucket, index)["dimension"] == 3


def test_missing_bucket_comes_before_the_body(client):
    """The official tests create an index with a wrong data type on a missing bucket and read NoSuchBucket."""
    with pytest.raises(Exception) as raised:
        client.put_vector_index(
            models.PutVectorIndexRequest(
                bucket="sdk-suite-missing",
                index_name="x",
                data_type="InvalidType",
                dimension=3,
                distance_metric="cosine",
            )
        )
    error = sdk.service_error(raised)
    assert (error.status_code, error.code, error.ec) == (404, "NoSuchBucket", "0015-00000101")


def test_index_belongs_to_its_bucket(client, bucket, index, bucket_name):
    other = f"{bucket_name}-other"
    client.put_vector_bucket(models.PutVectorBucketRequest(bucket=other))
    try:
        assert client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=other)).indexes == []
    finally:
        client.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=other))
