"""Bucket operations through the SDK, with every field it models."""

import datetime
import json

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from conftest import remove_bucket
from harness import sdk, settings

models = oss_vectors.models


def arn(name):
    return f"acs:ossvector:{settings.REGION}:{settings.ACCOUNT}:{name}"


def check_result(result, status_code, status):
    """What every SDK result carries."""
    assert (result.status_code, result.status) == (status_code, status)
    assert len(result.request_id) == 24
    assert int(result.request_id, 16) >= 0 and result.request_id.upper() == result.request_id
    assert result.headers["x-oss-request-id"] == result.request_id
    assert result.headers["Server"] == "AliyunOSS"
    assert int(result.headers["x-oss-server-time"]) >= 0
    assert result.headers["Date"].endswith(" GMT")


def check_properties(info, name, group):
    assert info.name == arn(name)
    assert info.location == f"oss-{settings.REGION}"
    assert info.region == settings.REGION
    assert info.extranet_endpoint == f"{settings.REGION}.oss-vectors.aliyuncs.com"
    assert info.intranet_endpoint == f"{settings.REGION}-internal.oss-vectors.aliyuncs.com"
    assert info.resource_group_id == group
    age = datetime.datetime.now(datetime.timezone.utc) - info.creation_date
    assert datetime.timedelta(seconds=-5) < age < datetime.timedelta(minutes=10)


def test_put_answers_200_with_location(client, bucket_name):
    result = client.put_vector_bucket(models.PutVectorBucketRequest(bucket=bucket_name))
    check_result(result, 200, "OK")
    assert result.headers["Location"] == f"/{bucket_name}"
    assert result.headers["Content-Length"] == "0"
    remove_bucket(client, bucket_name)


def test_put_takes_resource_group_and_tags(client, raw, bucket_name):
    client.put_vector_bucket(
        models.PutVectorBucketRequest(
            bucket=bucket_name, resource_group_id="rg-aekz1234", bucket_tagging="team=search&stage=a%20b"
        )
    )
    info = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket_name)).bucket_info
    check_properties(info, bucket_name, "rg-aekz1234")
    tags = raw.call("GET", "tagging", bucket=bucket_name).json()["Tagging"]["TagSet"]["Tag"]
    assert {(t["Key"], t["Value"]) for t in tags} == {("team", "search"), ("stage", "a b")}
    remove_bucket(client, bucket_name)


def test_put_again_with_equal_settings_is_the_same_bucket(client, bucket):
    before = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket)).bucket_info
    check_result(client.put_vector_bucket(models.PutVectorBucketRequest(bucket=bucket)), 200, "OK")
    after = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket)).bucket_info
    assert after.creation_date == before.creation_date


def test_get_returns_arn_and_every_member(client, bucket):
    result = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket))
    check_result(result, 200, "OK")
    group = result.bucket_info.resource_group_id
    assert group
    check_properties(result.bucket_info, bucket, group)


def test_delete_answers_204_and_the_name_is_free_again(client, bucket):
    check_result(client.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=bucket)), 204, "No Content")
    with pytest.raises(Exception) as raised:
        client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket))
    assert sdk.service_error(raised).code == "NoSuchBucket"
    check_result(client.put_vector_bucket(models.PutVectorBucketRequest(bucket=bucket)), 200, "OK")


@pytest.fixture
def three_buckets(client, bucket_name):
    names = [f"{bucket_name}-{letter}" for letter in "abc"]
    for name, group in zip(names, ["rg-one", "rg-two", "rg-one"], strict=True):
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket=name, resource_group_id=group))
    yield names
    for name in names:
        remove_bucket(client, name)


def names_of(result):
    return [b.name.rsplit(":", 1)[1] for b in result.buckets]


def test_list_in_one_page_leaves_paging_members_out(client, three_buckets):
    prefix = three_buckets[0][:-1]
    result = client.list_vector_buckets(models.ListVectorBucketsRequest(prefix=prefix, max_keys=3))
    check_result(result, 200, "OK")
    assert names_of(result) == three_buckets
    for properties, group in zip(result.buckets, ["rg-one", "rg-two", "rg-one"], strict=True):
        check_properties(properties, properties.name.rsplit(":", 1)[1], group)
    assert not result.is_truncated
    assert result.next_marker is None


def test_list_truncated_page_carries_every_member(client, three_buckets):
    prefix = three_buckets[0][:-1]
    result = client.list_vector_buckets(
        models.ListVectorBucketsRequest(prefix=prefix, max_keys=1, marker=three_buckets[0])
    )
    assert names_of(result) == three_buckets[1:2]
    assert (result.prefix, result.marker, result.max_keys) == (prefix, three_buckets[0], 1)
    assert result.is_truncated is True
    rest = client.list_vector_buckets(models.ListVectorBucketsRequest(prefix=prefix, marker=result.next_marker))
    assert names_of(rest) == three_buckets[2:]


def test_list_filters_by_resource_group(client, three_buckets):
    prefix = three_buckets[0][:-1]
    result = client.list_vector_buckets(models.ListVectorBucketsRequest(prefix=prefix, resource_group_id="rg-one"))
    assert names_of(result) == [three_buckets[0], three_buckets[2]]


def test_list_prefix_is_of_the_plain_name(client, three_buckets):
    for prefix in ("acs:ossvector", "nothing-has-this"):
        result = client.list_vector_buckets(models.ListVectorBucketsRequest(prefix=prefix))
        assert result.buckets == []


def test_paginator_yields_one_bucket_a_page_and_no_empty_page(client, three_buckets):
    prefix = three_buckets[0][:-1]
    pages = list(
        client.list_vector_buckets_paginator(limit=1).iter_page(models.ListVectorBucketsRequest(prefix=prefix))
    )
    assert [names_of(page) for page in pages] == [[name] for name in three_buckets]
    assert [page.max_keys for page in pages[:2]] == [1, 1]
    pages = list(
        client.list_vector_buckets_paginator().iter_page(models.ListVectorBucketsRequest(prefix=prefix), limit=3)
    )
    assert len(pages) == 1
    pages = list(
        client.list_vector_buckets_paginator().iter_page(models.ListVectorBucketsRequest(prefix=prefix), limit=2)
    )
    assert [len(page.buckets) for page in pages] == [2, 1]


# --- policy ---

POLICY = """{
  "Version":"1", "Statement":[{"Action":["ossvector:PutVectors","ossvector:GetVectors"],
    "Effect":"Deny","Principal":["1234567890"],"Resource":["acs:ossvector:cn-hangzhou:1234567890:*"]}]
}"""


def test_policy_round_trip_is_byte_for_byte(client, bucket):
    for text in (POLICY, POLICY.replace("\n", "\r\n") + "  ", json.dumps(json.loads(POLICY))):
        result = client.put_bucket_policy(models.PutBucketPolicyRequest(bucket=bucket, body=text))
        check_result(result, 200, "OK")
        got = client.get_bucket_policy(models.GetBucketPolicyRequest(bucket=bucket))
        check_result(got, 200, "OK")
        assert got.body == text
        assert got.headers["Content-Type"] == "application/json"
    check_result(client.delete_bucket_policy(models.DeleteBucketPolicyRequest(bucket=bucket)), 204, "No Content")
    with pytest.raises(Exception) as raised:
        client.get_bucket_policy(models.GetBucketPolicyRequest(bucket=bucket))
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (404, "NoSuchBucketPolicy")


def test_delete_policy_twice_is_204(client, bucket):
    for _ in range(2):
        check_result(client.delete_bucket_policy(models.DeleteBucketPolicyRequest(bucket=bucket)), 204, "No Content")


# --- logging ---


def logging_of(client, bucket):
    result = client.get_bucket_logging(models.GetBucketLoggingRequest(bucket=bucket))
    check_result(result, 200, "OK")
    return result.bucket_logging_status.logging_enabled


@pytest.mark.parametrize(
    ("prefix", "role"), [("MyLog-", "AliyunOSSLoggingDefaultRole"), ("p/", None), (None, None), ("", "custom-role")]
)
def test_logging_round_trip(client, bucket, prefix, role):
    enabled = models.LoggingEnabled(target_bucket="log-target", target_prefix=prefix, logging_role=role)
    request = models.PutBucketLoggingRequest(
        bucket=bucket, bucket_logging_status=models.BucketLoggingStatus(logging_enabled=enabled)
    )
    check_result(client.put_bucket_logging(request), 200, "OK")
    got = logging_of(client, bucket)
    assert got.target_bucket == "log-target"
    assert (got.target_prefix or None) == (prefix or None)
    assert got.logging_role in (role, "AliyunOSSLoggingDefaultRole" if role is None else role)


def test_logging_absent_is_an_object_of_nulls(client, bucket):
    for _ in range(2):
        got = logging_of(client, bucket)
        assert got is not None
        assert (got.target_bucket, got.target_prefix, got.logging_role) == (None, None, None)
        check_result(client.delete_bucket_logging(models.DeleteBucketLoggingRequest(bucket=bucket)), 204, "No Content")


def test_logging_empty_status_switches_off(client, raw, bucket):
    enabled = models.LoggingEnabled(target_bucket="log-target")
    client.put_bucket_logging(
        models.PutBucketLoggingRequest(
            bucket=bucket, bucket_logging_status=models.BucketLoggingStatus(logging_enabled=enabled)
        )
    )
    assert raw.call("PUT", "logging", {"BucketLoggingStatus": {}}, bucket).status == 200
    assert raw.call("GET", "logging", bucket=bucket).json() == {"BucketLoggingStatus": {"LoggingEnabled": {}}}
