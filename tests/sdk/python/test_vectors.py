"""PutVectors, GetVectors, ListVectors and DeleteVectors through the SDK, with every field it models."""

import random

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import sdk
from harness.numbers import bits
from test_bucket import check_result

models = oss_vectors.models


@pytest.fixture
def get(client, bucket):
    def get_rows(index, keys, data=None, metadata=None):
        result = client.get_vectors(
            models.GetVectorsRequest(
                bucket=bucket, index_name=index, keys=keys, return_data=data, return_metadata=metadata
            )
        )
        check_result(result, 200, "OK")
        return result.vectors

    return get_rows


@pytest.fixture
def listed(client, bucket):
    """All pages of a listing; checks that no page is empty when there is more than one."""

    def list_all(index, limit=None, **more):
        request = models.ListVectorsRequest(bucket=bucket, index_name=index, **more)
        pages = list(client.list_vectors_paginator(limit=limit).iter_page(request))
        assert len(pages) == 1 or all(page.vectors for page in pages)
        return pages

    return list_all


def keys_of(pages):
    return [v["key"] for page in pages for v in page.vectors]


def refused(call):
    with pytest.raises(Exception) as raised:
        call()
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (400, "VectorIndexParameterInvalid")


# --- put and get ---


def test_put_answers_200_empty(index, put):
    result = put(index, [("a", [1, 2.5, -3e-8], None)])
    check_result(result, 200, "OK")
    assert result.headers["Content-Length"] == "0"


def test_get_returns_only_what_is_asked_for(index, put, get):
    put(index, [("a", [1.0, 2.0, 3.0], {"k": "v"})])
    assert get(index, ["a"]) == [{"key": "a"}]
    assert get(index, ["a"], data=False, metadata=False) == [{"key": "a"}]
    assert get(index, ["a"], data=True) == [{"key": "a", "data": {"float32": [1.0, 2.0, 3.0]}}]
    assert get(index, ["a"], metadata=True) == [{"key": "a", "metadata": {"k": "v"}}]
    assert get(index, ["a"], data=True, metadata=True) == [
        {"key": "a", "data": {"float32": [1.0, 2.0, 3.0]}, "metadata": {"k": "v"}}
    ]


def test_get_leaves_missing_keys_out_and_keeps_request_order(index, put, get):
    put(index, [(key, [1, 1, 1], None) for key in "abc"])
    assert [v["key"] for v in get(index, ["c", "nope", "a"])] == ["c", "a"]
    assert get(index, ["nope"]) == []
    assert {v["key"] for v in get(index, ["b", "b"])} == {"b"}


def test_floats_come_back_bit_exact(make_index, put, get):
    values = [0.1, 1 / 3, 3.4028234663852886e38, -3.4028234663852886e38, 1.401298464324817e-45, 1.1754943508222875e-38]
    values += [16777217.0, 0.0, -0.0, 1e-300, 2**-149, 123456.789, -1e-10]
    rng = random.Random(7)
    values += [rng.uniform(-1, 1) for _ in range(51)]
    index = make_index("exact", len(values))
    put(index, [("a", values, None)])
    got = get(index, ["a"], data=True)[0]["data"]["float32"]
    assert bits(got) == bits(values)


def test_integers_are_accepted_where_floats_are_expected(index, put, get):
    put(index, [("a", [1, -2, 16777216], None)])
    assert get(index, ["a"], data=True)[0]["data"]["float32"] == [1.0, -2.0, 16777216.0]


@pytest.mark.parametrize("dimension", [1, 2, 31, 33, 4096])
def test_every_dimension(make_index, put, get, dimension):
    index = make_index(f"dim{dimension}", dimension)
    rng = random.Random(dimension)
    rows = [(f"k{i}", [rng.uniform(-1, 1) for _ in range(dimension)], None) for i in range(3)]
    put(index, rows)
    for vector, (_, values, _) in zip(get(index, ["k0", "k1", "k2"], data=True), rows, strict=True):
        assert bits(vector["data"]["float32"]) == bits(values)


METADATA = {
    "text": 'snow ☃ 雪 \U0001f600 "quoted" \\ \n\t\u0001',
    "list": ["a", "b", ""],
    "integer": 9007199254740993,
    "negative": -42,
    "real": 0.1,
    "small": 5e-324,
    "yes": True,
    "no": False,
    "numbers": [1, 2.5],
    "key-with.other chars": "OSSVECTORS-EMBED",
}


def test_metadata_of_every_type_comes_back_equal(index, put, get):
    put(index, [("a", [1, 2, 3], METADATA)])
    assert get(index, ["a"], metadata=True)[0]["metadata"] == METADATA


def test_no_metadata_is_not_an_empty_object(index, put, get):
    put(index, [("none", [1, 2, 3], None), ("empty", [1, 2, 3], {})])
    none, empty = get(index, ["none", "empty"], metadata=True)
    assert none == {"key": "none"}
    assert empty.get("metadata", {}) == {}


def test_put_replaces_data_and_metadata(index, put, get):
    put(index, [("a", [1, 2, 3], {"old": "x", "shared": "x"})])
    put(index, [("a", [4, 5, 6], {"shared": "y"})])
    assert get(index, ["a"], data=True, metadata=True) == [
        {"key": "a", "data": {"float32": [4.0, 5.0, 6.0]}, "metadata": {"shared": "y"}}
    ]
    put(index, [("a", [7, 8, 9], None)])
    assert get(index, ["a"], metadata=True) == [{"key": "a"}]


SCRIPTS = {
    "latin": "a",
    "umlaut": "ü",
    "greek": "Ω",
    "cyrillic": "ж",
    "han": "雪",
    "hangul": "한",
    "arabic": "ع",
    "devanagari": "क",
    "thai": "ก",
    "emoji": "\U0001f600",
    "combining": "é",
    "control": "\u0001",
    "space": " ",
    "quote": '"',
    "slash": "/",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_keys_of_1024_characters_in_any_script(index, put, get, listed, client, bucket, script):
    character = SCRIPTS[script]
    key = (character * 1024)[:1024]
    put(index, [(key, [1, 2, 3], {"script": script}), (character[0], [3, 2, 1], None)])
    assert get(index, [key], metadata=True) == [{"key": key, "metadata": {"script": script}}]
    assert sorted(keys_of(listed(index))) == sorted([key, character[0]])
    refused(lambda: put(index, [(key + character[0], [1, 2, 3], None)]))
    client.delete_vectors(models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=[key]))
    assert get(index, [key]) == []


def test_keys_are_compared_as_characters_not_normalised(index, put, get):
    composed, decomposed = "\u00e9", "e\u0301"
    put(index, [(composed, [1, 1, 1], None), (decomposed, [2, 2, 2], None)])
    first, second = get(index, [composed, decomposed], data=True)
    assert first["data"]["float32"] == [1.0] * 3 and second["data"]["float32"] == [2.0] * 3


def test_batch_of_500_is_the_limit(index, put, listed):
    rows = [(f"k{i}", [i, i, i], None) for i in range(501)]
    refused(lambda: put(index, rows))
    assert keys_of(listed(index)) == []
    put(index, rows[:500])
    assert len(keys_of(listed(index))) == 500


def test_duplicate_key_rejects_the_whole_batch(index, put, listed):
    refused(lambda: put(index, [("a", [1, 1, 1], None), ("b", [2, 2, 2], None), ("a", [3, 3, 3], None)]))
    assert keys_of(listed(index)) == []


def test_any_bad_row_rejects_the_whole_batch(index, put, listed):
    for bad in ([1, 2], [1, 2, 3, 4], []):
        refused(lambda: put(index, [("good", [1, 2, 3], None), ("bad", bad, None)]))
    refused(lambda: put(index, [("good", [1, 2, 3], None), ("", [1, 2, 3], None)]))
    refused(lambda: put(index, []))
    assert keys_of(listed(index)) == []


def test_zero_vectors_are_for_euclidean_only(make_index, put, get):
    make_index("plain", 3, "euclidean")
    make_index("angle", 3, "cosine")
    put("plain", [("zero", [0, 0, 0], None)])
    assert get("plain", ["zero"], data=True)[0]["data"]["float32"] == [0.0, 0.0, 0.0]
    refused(lambda: put("angle", [("zero", [0, 0, 0], None)]))
    refused(lambda: put("angle", [("zero", [0, -0.0, 1e-60], None)]))
    assert get("angle", ["zero"]) == []


# --- metadata limits ---


def test_metadata_total_is_40_kib(make_index, put, get):
    index = make_index("big", 3, metadata={"nonFilterableMetadataKeys": ["blob"]})
    fits = {"blob": "x" * (40 * 1024 - 64)}
    put(index, [("a", [1, 2, 3], fits)])
    assert get(index, ["a"], metadata=True)[0]["metadata"] == fits
    refused(lambda: put(index, [("b", [1, 2, 3], {"blob": "x" * (40 * 1024 + 1)})]))


def test_filterable_metadata_is_2_kib(index, put, get):
    put(index, [("a", [1, 2, 3], {"k": "x" * 2000})])
    assert get(index, ["a"], metadata=True)[0]["metadata"] == {"k": "x" * 2000}
    refused(lambda: put(index, [("b", [1, 2, 3], {"k": "x" * 2049})]))


def test_metadata_has_at_most_10_keys(index, put):
    put(index, [("a", [1, 2, 3], {f"k{i}": "v" for i in range(10)})])
    refused(lambda: put(index, [("b", [1, 2, 3], {f"k{i}": "v" for i in range(11)})]))


@pytest.mark.parametrize("value", [None, {"nested": 1}, [["a"]], [{"a": 1}], [None]])
def test_metadata_values_are_scalars_or_arrays_of_them(index, put, value):
    refused(lambda: put(index, [("a", [1, 2, 3], {"k": value})]))


# --- list ---


@pytest.fixture
def hundred(index, put):
    rows = [(f"key-{i:03}", [i, i + 0.5, -i], {"n": i}) for i in range(100)]
    put(index, rows)
    return rows


def test_list_returns_only_what_is_asked_for(index, hundred, listed):
    by_key = {key: (values, metadata) for key, values, metadata in hundred}
    for data in (None, False, True):
        for metadata in (None, False, True):
            for page in listed(index, return_data=data, return_metadata=metadata):
                for vector in page.vectors:
                    values, expected = by_key[vector["key"]]
                    assert set(vector) == {"key"} | ({"data"} if data else set()) | (
                        {"metadata"} if metadata else set()
                    )
                    assert not data or vector["data"] == {"float32": [float(v) for v in values]}
                    assert not metadata or vector["metadata"] == expected


@pytest.mark.parametrize(("limit", "pages"), [(100, 1), (99, 2), (50, 2), (33, 4), (1, 100), (1000, 1), (None, 1)])
def test_list_pages(index, hundred, listed, limit, pages):
    got = listed(index, limit)
    assert sorted(keys_of(got)) == [key for key, _, _ in hundred]
    assert len(got) == pages


def test_explicit_empty_token_is_the_first_page(client, bucket, index, hundred):
    request = models.ListVectorsRequest(bucket=bucket, index_name=index, max_results=10, next_token="")
    assert len(client.list_vectors(request).vectors) == 10


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16])
def test_segments_are_disjoint_and_complete(index, hundred, listed, count):
    seen = []
    for i in range(count):
        part = keys_of(listed(index, 7, segment_count=count, segment_index=i))
        assert len(part) == len(set(part))
        seen += part
    assert sorted(seen) == [key for key, _, _ in hundred]


def test_vector_key_1_is_in_segment_1_of_2(index, put, listed):
    put(index, [("vector-key-1", [1, 2, 3], None)])
    assert keys_of(listed(index, segment_count=2, segment_index=1)) == ["vector-key-1"]
    assert keys_of(listed(index, segment_count=2, segment_index=0)) == []


def test_list_survives_writes_between_pages(client, bucket, index, hundred, put):
    """Keys that exist all the time are listed exactly once, whatever happens to others meanwhile."""
    seen, token = [], ""
    while True:
        page = client.list_vectors(
            models.ListVectorsRequest(bucket=bucket, index_name=index, max_results=9, next_token=token)
        )
        seen += [v["key"] for v in page.vectors]
        put(index, [(f"extra-{len(seen)}", [0, 0, 1], None)])
        client.delete_vectors(
            models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=[f"extra-{len(seen) - 9}"])
        )
        token = page.next_token
        if not token:
            break
    stable = [key for key in seen if key.startswith("key-")]
    assert sorted(stable) == [key for key, _, _ in hundred]


def test_page_is_bounded_by_size(make_index, put, listed):
    """A page holds at most about 1 MB of data: 400 rows of 4096 numbers cannot come at once."""
    index = make_index("wide", 4096)
    rng = random.Random(3)
    rows = [(f"k{i}", [rng.uniform(-1, 1) for _ in range(4096)], None) for i in range(100)]
    for start in range(0, 100, 50):
        put(index, rows[start : start + 50])
    pages = listed(index, 1000, return_data=True)
    assert len(pages) > 1
    got = {v["key"]: v["data"]["float32"] for page in pages for v in page.vectors}
    assert {k: bits(v) for k, v in got.items()} == {k: bits(v) for k, v, _ in rows}


@pytest.mark.parametrize(
    "fields",
    [
        {"max_results": 1001},
        {"max_results": -1},
        {"segment_count": 17, "segment_index": 0},
        {"segment_count": 2, "segment_index": 2},
        {"segment_count": 2, "segment_index": -1},
        {"segment_index": 1},
        {"next_token": "no token of ours"},
        {"next_token": "A" * 2049},
    ],
)
def test_list_refuses(client, bucket, index, fields):
    refused(lambda: client.list_vectors(models.ListVectorsRequest(bucket=bucket, index_name=index, **fields)))


def test_token_is_bound_to_segment_and_index(client, bucket, index, make_index, hundred):
    page = client.list_vectors(
        models.ListVectorsRequest(bucket=bucket, index_name=index, max_results=5, segment_count=2, segment_index=0)
    )
    other = make_index("other")
    for fields in (
        {"index_name": index, "segment_count": 2, "segment_index": 1},
        {"index_name": index},
        {"index_name": other, "segment_count": 2, "segment_index": 0},
    ):
        refused(
            lambda: client.list_vectors(models.ListVectorsRequest(bucket=bucket, next_token=page.next_token, **fields))
        )


# --- delete ---


def test_delete_answers_204_and_hides_at_once(client, bucket, index, hundred, listed, get):
    keys = [key for key, _, _ in hundred[:50]]
    result = client.delete_vectors(
        models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=[*keys, "never-there"])
    )
    check_result(result, 204, "No Content")
    assert sorted(keys_of(listed(index))) == [key for key, _, _ in hundred[50:]]
    assert get(index, keys) == []
    result = client.query_vectors(
        models.QueryVectorsRequest(bucket=bucket, index_name=index, query_vector={"float32": [1, 1, 1]}, top_k=100)
    )
    assert {v["key"] for v in result.vectors} == {key for key, _, _ in hundred[50:]}


def test_deleted_key_can_be_put_again(client, bucket, index, put, get):
    put(index, [("a", [1, 2, 3], {"old": "x"})])
    client.delete_vectors(models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=["a"]))
    put(index, [("a", [4, 5, 6], None)])
    assert get(index, ["a"], data=True, metadata=True) == [{"key": "a", "data": {"float32": [4.0, 5.0, 6.0]}}]


def test_delete_counts_distinct_keys(client, bucket, index):
    def delete(keys):
        return client.delete_vectors(models.DeleteVectorsRequest(bucket=bucket, index_name=index, keys=keys))

    check_result(delete([f"k{i}" for i in range(500)] * 2), 204, "No Content")
    refused(lambda: delete([f"k{i}" for i in range(501)]))
    refused(lambda: delete([]))
    refused(lambda: delete([""]))
    refused(lambda: delete(["x" * 1025]))


@pytest.mark.parametrize("keys", [[], ["k"] * 101, [f"k{i}" for i in range(101)], [""], ["x" * 1025]])
def test_get_refuses(client, bucket, index, keys):
    refused(lambda: client.get_vectors(models.GetVectorsRequest(bucket=bucket, index_name=index, keys=keys)))
