"""QueryVectors through the SDK: fields, distances, order, and the whole filter grammar against a naive reference."""

import random

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import numbers, sdk
from test_bucket import check_result

models = oss_vectors.models


@pytest.fixture
def query(client, bucket):
    def run(index, vector, top_k=10, **more):
        result = client.query_vectors(
            models.QueryVectorsRequest(
                bucket=bucket, index_name=index, query_vector={"float32": vector}, top_k=top_k, **more
            )
        )
        check_result(result, 200, "OK")
        return result.vectors

    return run


def refused(call):
    with pytest.raises(Exception) as raised:
        call()
    error = sdk.service_error(raised)
    assert (error.status_code, error.code) == (400, "VectorIndexParameterInvalid")
    return error


def test_only_what_is_asked_for(index, put, query):
    put(index, [("a", [1, 2, 3], {"k": "v"})])
    assert query(index, [1, 2, 3]) == [{"key": "a"}]
    assert query(index, [1, 2, 3], return_distance=True) == [{"key": "a", "distance": 0.0}]
    assert query(index, [1, 2, 3], return_metadata=True) == [{"key": "a", "metadata": {"k": "v"}}]
    assert query(index, [1, 2, 3], return_distance=False, return_metadata=False) == [{"key": "a"}]


def test_empty_index_answers_an_empty_array(index, query):
    assert query(index, [1, 2, 3]) == []


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dimension", [1, 3, 64, 100, 257])
def test_distances_and_order_are_those_of_the_reference(make_index, put, query, metric, dimension):
    index = make_index(f"{metric}{dimension}", dimension, metric)
    rng = random.Random(dimension)
    rows = [(f"k{i:03}", [rng.gauss(0, 1) for _ in range(dimension)], None) for i in range(200)]
    put(index, rows)
    distance = numbers.euclidean if metric == "euclidean" else numbers.cosine
    for _ in range(5):
        vector = [rng.gauss(0, 1) for _ in range(dimension)]
        got = query(index, vector, 50, return_distance=True)
        expected = sorted((distance(vector, values), key) for key, values, _ in rows)[:50]
        assert [v["distance"] for v in got] == pytest.approx([d for d, _ in expected], rel=1e-4, abs=2e-6)
        assert [v["distance"] for v in got] == sorted(v["distance"] for v in got)
        if dimension > 1:
            assert [v["key"] for v in got] == [key for _, key in expected]


def test_equal_distances_are_ordered_by_key(index, put, query):
    put(index, [(key, [1, 0, 0], None) for key in ["b", "a", "雪", "B", "aa"]] + [("far", [9, 9, 9], None)])
    assert [v["key"] for v in query(index, [1, 0, 0], 5)] == ["B", "a", "aa", "b", "雪"]
    assert [v["key"] for v in query(index, [0, 0, 0], 2)] == ["B", "a"]


def test_top_k_bounds(index, put, query):
    put(index, [(f"k{i:03}", [i, 0, 0], None) for i in range(500)])
    assert [v["key"] for v in query(index, [0, 0, 0], 500)] == [f"k{i:03}" for i in range(500)]
    assert [v["key"] for v in query(index, [0, 0, 0], 1)] == ["k000"]
    for bad in (0, -1, 501):
        refused(lambda: query(index, [0, 0, 0], bad))


def test_query_vector_is_checked_like_stored_ones(index, make_index, query):
    for bad in ([1, 2], [1, 2, 3, 4], [], [1, 2, 1e39]):
        refused(lambda: query(index, bad))
    angle = make_index("angle", 3, "cosine")
    refused(lambda: query(angle, [0, 0, 0]))


def test_data_is_never_returned(index, put, query):
    put(index, [("a", [1, 2, 3], None)])
    assert "data" not in query(index, [1, 2, 3], return_distance=True, return_metadata=True)[0]


# --- filters ---

ROWS = {
    "a": {"city": "hangzhou", "year": 2020, "score": 0.5, "hot": True, "tags": ["x", "y"]},
    "b": {"city": "beijing", "year": 2021, "score": 1, "hot": False, "tags": ["y"]},
    "c": {"city": "", "year": 2021.5, "tags": []},
    "d": {"year": "2020", "hot": "true", "tags": ["z", "雪"], "numbers": [1, 5]},
    "e": {"big": 9007199254740993, "city": "HANGZHOU"},
    "f": {"big": 9007199254740992, "one": 1.0},
    "g": {},
}

FILTERS = [
    ({}, "abcdefg"),
    ({"city": {"$eq": "hangzhou"}}, "a"),
    ({"city": "hangzhou"}, "a"),
    ({"city": ""}, "c"),
    ({"city": {"$ne": "hangzhou"}}, "bcdefg"),
    ({"year": {"$eq": 2020}}, "a"),
    ({"year": {"$eq": 2020.0}}, "a"),
    ({"year": {"$eq": "2020"}}, "d"),
    ({"year": {"$gt": 2020}}, "bc"),
    ({"year": {"$gte": 2020}}, "abc"),
    ({"year": {"$lt": 2021.25}}, "ab"),
    ({"year": {"$lte": 2021.5}}, "abc"),
    ({"year": {"$gte": 2020.5, "$lt": 2021.5}}, "b"),
    ({"year": {"$gt": 2020}, "hot": False}, "b"),
    ({"hot": True}, "a"),
    ({"hot": {"$ne": True}}, "bcdefg"),
    ({"hot": 1}, ""),
    ({"one": True}, ""),
    ({"one": 1}, "f"),
    ({"score": 1.0}, "b"),
    ({"big": 9007199254740993}, "e"),
    ({"big": {"$gt": 9007199254740992}}, "e"),
    ({"big": {"$gte": 9007199254740992}}, "ef"),
    ({"tags": "y"}, "ab"),
    ({"tags": {"$in": ["x", "z"]}}, "ad"),
    ({"tags": {"$nin": ["x", "z"]}}, "bcefg"),
    ({"tags": {"$ne": "y"}}, "cdefg"),
    ({"tags": "雪"}, "d"),
    ({"numbers": {"$gt": 4}}, "d"),
    ({"numbers": {"$gt": 5}}, ""),
    ({"city": {"$in": ["beijing", "hangzhou", 5, True]}}, "ab"),
    ({"year": {"$in": [2020, "2020"]}}, "ad"),
    ({"city": {"$nin": ["beijing", "hangzhou"]}}, "cdefg"),
    ({"city": {"$exists": True}}, "abce"),
    ({"city": {"$exists": False}}, "dfg"),
    ({"tags": {"$exists": True}}, "abcd"),
    ({"nobody": {"$eq": "x"}}, ""),
    ({"nobody": {"$nin": ["x"]}}, "abcdefg"),
    ({"$and": [{"city": "hangzhou"}, {"year": {"$gte": 2020}}]}, "a"),
    ({"$or": [{"city": "beijing"}, {"big": {"$exists": True}}]}, "bef"),
    ({"$or": [{"$and": [{"hot": True}, {"tags": "x"}]}, {"year": "2020"}]}, "ad"),
    ({"$and": [{}, {"city": "hangzhou"}]}, "a"),
    ({"$or": [{"city": "beijing"}], "year": 2021}, "b"),
]


@pytest.fixture
def rows(index, put):
    put(index, [(key, [i, 0, 0], metadata) for i, (key, metadata) in enumerate(ROWS.items())])
    return index


def test_filters_select_exactly_the_expected_rows(rows, query):
    for filter_, expected in FILTERS:
        assert "".join(k for k, m in ROWS.items() if numbers.matches(filter_, m)) == expected, filter_
        got = "".join(sorted(v["key"] for v in query(rows, [0, 0, 0], 100, filter=filter_)))
        assert got == expected, filter_


def deep(levels):
    filter_ = {"a": "x"}
    for _ in range(levels - 1):
        filter_ = {"$and": [filter_]}
    return filter_


BAD_FILTERS = [
    {"$and": []},
    {"$or": []},
    {"$and": {"a": 1}},
    {"$not": {"a": 1}},
    {"$nor": [{"a": 1}]},
    {"a": {"$regex": "x"}},
    {"a": {"$in": []}},
    {"a": {"$in": "x"}},
    {"a": {"$in": [["x"]]}},
    {"a": {"$in": [None]}},
    {"a": {"$nin": []}},
    {"a": {"$gt": "x"}},
    {"a": {"$lte": True}},
    {"a": {"$exists": "yes"}},
    {"a": {"$exists": 1}},
    {"a": {"$eq": None}},
    {"a": {"$eq": ["x"]}},
    {"a": {"$eq": {"b": 1}}},
    {"a": None},
    {"a": {"b": 1}},
    {"$eq": 5},
    {"$or": [5]},
    deep(12),
    {"$or": [{"a": str(i)} for i in range(1025)]},
    {"a": {"$eq": "x" * (64 * 1024)}},
]


@pytest.mark.parametrize("filter_", BAD_FILTERS, ids=lambda f: str(f)[:40])
def test_bad_filters_are_refused(index, query, filter_):
    refused(lambda: query(index, [0, 0, 0], filter=filter_))


def test_filter_limits_are_inclusive(index, query):
    assert query(index, [0, 0, 0], filter=deep(8)) == []
    assert query(index, [0, 0, 0], filter={"$or": [{"a": str(i)} for i in range(1024)]}) == []
    assert query(index, [0, 0, 0], filter={"a": "x" * (60 * 1024)}) == []


def test_non_filterable_keys_cannot_be_used(make_index, put, query):
    index = make_index("notes", 3, metadata={"nonFilterableMetadataKeys": ["note"]})
    put(index, [("a", [1, 2, 3], {"note": "long text", "city": "x"})])
    assert query(index, [1, 2, 3], filter={"city": "x"}, return_metadata=True)[0]["metadata"]["note"] == "long text"
    refused(lambda: query(index, [1, 2, 3], filter={"note": "long text"}))
    refused(lambda: query(index, [1, 2, 3], filter={"$and": [{"city": "x"}, {"note": {"$exists": True}}]}))


def random_scalar(rng):
    return rng.choice(["x", "y", "", "雪", "1", 0, 1, -1, 2, 1.0, 0.5, -0.5, 2**53, 2**53 + 1, 1e300, True, False])


def random_metadata(rng):
    def value():
        if rng.random() < 0.3:
            kind = rng.choice([["x", "y", "", "雪"], [0, 1, 2.5]])
            return [rng.choice(kind) for _ in range(rng.randrange(4))]
        return random_scalar(rng)

    return {key: value() for key in "abcd" if rng.random() < 0.7}


def random_test(rng):
    operator = rng.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"])
    if operator == "$exists":
        return {operator: rng.random() < 0.5}
    if operator in ("$in", "$nin"):
        return {operator: [random_scalar(rng) for _ in range(rng.randrange(1, 4))]}
    if operator in ("$eq", "$ne"):
        return {operator: random_scalar(rng)}
    return {operator: rng.choice([0, 1, -1, 0.5, 2, 2**53 + 1, 1e300])}


def random_filter(rng, depth=0):
    if depth < 3 and rng.random() < 0.4:
        return {rng.choice(["$and", "$or"]): [random_filter(rng, depth + 1) for _ in range(rng.randrange(1, 4))]}
    if rng.random() < 0.2:
        return {rng.choice("abcde"): random_scalar(rng)}
    return {key: random_test(rng) for key in rng.sample("abcde", rng.randrange(1, 3))}


@pytest.mark.parametrize("seed", range(4))
def test_random_filters_agree_with_the_reference(index, put, query, seed):
    rng = random.Random(seed)
    rows = {f"k{i:03}": random_metadata(rng) for i in range(300)}
    put(index, [(key, [i, 0, 0], metadata) for i, (key, metadata) in enumerate(rows.items())])
    for _ in range(100):
        filter_ = random_filter(rng)
        expected = [key for key, metadata in rows.items() if numbers.matches(filter_, metadata)]
        got = [v["key"] for v in query(index, [0, 0, 0], 500, filter=filter_)]
        assert got == expected, (seed, filter_)
