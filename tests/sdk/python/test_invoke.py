"""Operations the SDK has no method for, through its `invoke_operation`: tags, resource group, ListVectors with filter."""

import json

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import sdk

models = oss_vectors.models


@pytest.fixture
def invoke(client, bucket):
    """Method, query (name or dict), JSON body or None -> (status code, parsed body or None)."""

    def call(method, query, body=None):
        output = client.invoke_operation(
            oss.OperationInput(
                op_name="Raw",
                method=method,
                bucket=bucket,
                headers={"Content-Type": "application/json"},
                parameters=query if isinstance(query, dict) else {query: ""},
                body=None if body is None else json.dumps(body),
            )
        )
        content = output.http_response.content
        return output.status_code, json.loads(content) if content else None

    return call


def tagging(pairs):
    return {"Tagging": {"TagSet": {"Tag": [{"Key": k, "Value": v} for k, v in pairs]}}}


def read_tags(invoke):
    status, body = invoke("GET", "tagging")
    assert status == 200 and set(body) == {"Tagging"}
    return {t["Key"]: t.get("Value", "") for t in body["Tagging"]["TagSet"]["Tag"]}


def test_tags_round_trip(invoke):
    assert read_tags(invoke) == {}
    assert invoke("PUT", "tagging", tagging([("k1", "v1"), ("k2", ""), ("雪", "ü")])) == (200, None)
    assert read_tags(invoke) == {"k1": "v1", "k2": "", "雪": "ü"}


def test_tag_value_is_optional(invoke):
    invoke("PUT", "tagging", {"Tagging": {"TagSet": {"Tag": [{"Key": "alone"}]}}})
    assert read_tags(invoke) == {"alone": ""}


def test_delete_named_and_all_tags(invoke):
    invoke("PUT", "tagging", tagging([("k1", "1"), ("k2", "2"), ("k3", "3")]))
    assert invoke("DELETE", {"tagging": "k1,k3"}) == (204, None)
    assert read_tags(invoke) == {"k2": "2"}
    assert invoke("DELETE", "tagging") == (204, None)
    assert read_tags(invoke) == {}
    assert invoke("DELETE", "tagging") == (204, None)


@pytest.mark.parametrize(
    "pairs",
    [
        [(f"k{i}", "v") for i in range(21)],
        [("", "v")],
        [("k" * 65, "v")],
        [("k", "v" * 129)],
        [("aliyun-x", "v")],
        [("ALIYUN", "v")],
        [("http://x", "v")],
        [("https://x", "v")],
    ],
    ids=lambda p: str(p[0])[:24],
)
def test_tag_limits(invoke, pairs):
    with pytest.raises(Exception) as raised:
        invoke("PUT", "tagging", tagging(pairs))
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (400, "InvalidArgument")
    assert read_tags(invoke) == {}


def test_tag_limits_are_inclusive(invoke):
    pairs = [(f"k{i}", "v" * 128) for i in range(19)] + [("雪" * 64, "雪" * 128)]
    assert invoke("PUT", "tagging", tagging(pairs))[0] == 200
    assert read_tags(invoke) == dict(pairs)


def test_resource_group_round_trip(invoke, client, bucket):
    _, before = invoke("GET", "resourceGroup")
    default = before["BucketResourceGroupConfiguration"]["ResourceGroupId"]
    wanted = {"BucketResourceGroupConfiguration": {"ResourceGroupId": "rg-aekz7777"}}
    assert invoke("PUT", "resourceGroup", wanted) == (200, None)
    assert invoke("GET", "resourceGroup") == (200, wanted)
    info = client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket)).bucket_info
    assert info.resource_group_id == "rg-aekz7777"
    assert invoke("PUT", "resourceGroup", {"BucketResourceGroupConfiguration": {}}) == (200, None)
    assert invoke("GET", "resourceGroup")[1]["BucketResourceGroupConfiguration"]["ResourceGroupId"] == default


def test_list_vectors_with_filter(invoke, index, put):
    put(index, [(f"k{i:02}", [i, 0, 0], {"parity": "even" if i % 2 == 0 else "odd", "n": i}) for i in range(40)])
    seen, token = [], None
    while True:
        body = {
            "indexName": index,
            "maxResults": 7,
            "filter": {"parity": "even", "n": {"$gte": 10}},
            "returnMetadata": True,
        }
        status, answer = invoke("POST", "listVectors", body | ({"nextToken": token} if token else {}))
        assert status == 200
        assert all(v["metadata"]["parity"] == "even" for v in answer["vectors"])
        seen += [v["key"] for v in answer["vectors"]]
        token = answer.get("nextToken")
        if not token:
            break
    assert sorted(seen) == [f"k{i:02}" for i in range(10, 40, 2)]


def test_filter_token_is_bound_to_the_filter(invoke, index, put):
    put(index, [(f"k{i:02}", [i, 0, 0], {"n": i}) for i in range(20)])
    body = {"indexName": index, "maxResults": 3, "filter": {"n": {"$gte": 1}}}
    token = invoke("POST", "listVectors", body)[1]["nextToken"]
    assert token
    with pytest.raises(Exception) as raised:
        invoke("POST", "listVectors", body | {"filter": {"n": {"$gte": 2}}, "nextToken": token})
    assert sdk.service_error(raised).status_code == 400


def test_filter_without_a_match_is_an_empty_array(invoke, index, put):
    put(index, [("a", [1, 2, 3], {"n": 1})])
    body = {"indexName": index, "filter": {"n": 2}}
    status, answer = invoke("POST", "listVectors", body)
    assert (status, answer["vectors"]) == (200, [])


def test_sdk_calls_work_raw_too(invoke, index):
    status, answer = invoke("POST", "getVectorIndex", {"indexName": index})
    assert (status, answer["index"]["indexName"]) == (200, index)
    assert invoke("POST", "listVectorIndexes")[1]["indexes"][0]["indexName"] == index
