"""Hostile input against a live server: named cases with their defined answers, then thousands of random and mutated
requests, most of them correctly signed so that they get past authentication.

Afterwards: no 5xx, no panic, never unhealthy, bounded memory, and what was stored before is there bit for bit.
HOSTILE_REQUESTS and HOSTILE_SEED change the amount and the stream.
"""

import contextlib
import json
import random
import re
import socket

import pytest
from harness import oss4, settings
from harness.numbers import bits, f32
from harness.raw import Client, Closed, Connection, Request
from harness.server import Server

KEPT, SCRATCH = "kept-bucket", "scratch-bucket"
REQUESTS = settings.count("HOSTILE_REQUESTS", 10_000)
SEED = settings.count("HOSTILE_SEED", 20261122)
MEMORY_GROWTH_KB_MAX = 128 * 1024


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("hostile"), {"VECTORBUCKET_LOG_ACCESS": "false"}) as server:
        yield server
        assert server.alive(), server.log()[-4000:]
    assert server.panics() == []


@pytest.fixture(scope="module")
def calls(hostile):
    client = Client(hostile.port)
    make_bucket(client, KEPT)
    make_bucket(client, SCRATCH)
    fill(client)
    return client


def make_bucket(client, name):
    assert client.call("PUT", "", bucket=name).status == 200
    for index, metric in (("items", "euclidean"), ("angle", "cosine")):
        body = {"indexName": index, "dataType": "float32", "dimension": 8, "distanceMetric": metric}
        body["metadata"] = {"nonFilterableMetadataKeys": ["note"]}
        assert client.post("putVectorIndex", body, name).status in (200, 409)


def fill(client):
    """The data that must survive: 300 rows with every kind of metadata, a policy, tags and logging."""
    rng = random.Random(1)
    vectors = [
        {
            "key": f"kept-{i:03}-" + rng.choice(["a", "雪", "\U0001f600", '"', "\\", "\u0001"]) * rng.randrange(20),
            "data": {"float32": [rng.gauss(0, 1) for _ in range(8)]},
            "metadata": {
                "n": i,
                "half": i / 2,
                "even": i % 2 == 0,
                "tags": ["x", str(i)],
                "note": "雪" * rng.randrange(50),
            },
        }
        for i in range(300)
    ]
    for index in ("items", "angle"):
        assert client.post("putVectors", {"indexName": index, "vectors": vectors}, KEPT).status == 200
    policy = b'{"Version":"1","Statement":[{"Effect":"Deny","Action":["oss:GetVectors"],"Principal":["77"],"Resource":["acs:ossvector:*:*:*"]}]}'
    assert client.call("PUT", "policy", policy, KEPT).status == 200
    tags = {"Tagging": {"TagSet": {"Tag": [{"Key": "k", "Value": "v"}]}}}
    assert client.call("PUT", "tagging", tags, KEPT).status == 200
    logging = {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "target"}}}
    assert client.call("PUT", "logging", logging, KEPT).status == 200


def everything(client):
    """All that is readable of the kept bucket, vectors as their bytes."""
    seen = {}
    for index in ("items", "angle"):
        token = None
        while True:
            body = {"indexName": index, "maxResults": 1000, "returnData": True, "returnMetadata": True}
            page = client.post("listVectors", body | ({"nextToken": token} if token else {}), KEPT).json()
            for vector in page["vectors"]:
                assert (index, vector["key"]) not in seen
                seen[index, vector["key"]] = (bits(vector["data"]["float32"]), vector["metadata"])
            token = page.get("nextToken")
            if not token:
                break
    for method, query in (
        ("GET", "bucketInfo"),
        ("GET", "policy"),
        ("GET", "tagging"),
        ("GET", "logging"),
        ("POST", "listVectorIndexes"),
    ):
        seen[query] = client.call(method, query, bucket=KEPT).body
    return seen


# --- named cases ---


def put_text(vector='{"key":"k","data":{"float32":[1,2,3,4,5,6,7,8]}}', index="items"):
    return ('{"indexName":"%s","vectors":[%s]}' % (index, vector)).encode("utf-8", "surrogatepass")


def with_element(text):
    return put_text('{"key":"k","data":{"float32":[%s,2,3,4,5,6,7,8]}}' % text)


def refused(answer, *codes):
    assert answer.status == 400, answer.body
    assert answer.code in codes, answer.body
    assert answer.header("content-type") == "application/json"


PARAMETER, JSON = "VectorIndexParameterInvalid", "MalformedJson"


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-Infinity", "nan", "1.", ".5", "+1", "01", "0x10", "1e", "--1", "1_0", "'1'", "1e+", "-"],
)
def test_numbers_that_are_no_json(calls, text):
    refused(calls.post("putVectors", with_element(text), SCRATCH), JSON)


@pytest.mark.parametrize(
    "text",
    ["1e39", "-1e39", "3.5e38", "1e308", "1e309", "1e999999999", "-1e999999999999999999999", "9" * 400, "1" + "0" * 60],
)
def test_numbers_beyond_single_precision(calls, text):
    refused(calls.post("putVectors", with_element(text), SCRATCH), PARAMETER, JSON)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.4028234663852886e38", 3.4028234663852886e38),
        ("3.40282350e38", 3.4028234663852886e38),
        ("1e-45", 1.401298464324817e-45),
        ("1e-50", 0.0),
        ("-1e-50", -0.0),
        ("1e-999999999", 0.0),
        ("-0", -0.0),
        ("-0.0", -0.0),
        ("0." + "0" * 300 + "1", 0.0),
        ("1" + "0" * 30, 1e30),
        ("0.1000000000000000055511151231257827021181583404541015625" + "0" * 500, 0.1),
        ("16777217", 16777216.0),
    ],
)
def test_numbers_that_round(calls, text, value):
    """Underflow, signed zeros, ties and many digits: what is stored is the nearest single-precision number."""
    answer = calls.post("putVectors", with_element(text), SCRATCH)
    assert answer.status == 200, answer.body
    got = calls.post("getVectors", {"indexName": "items", "keys": ["k"], "returnData": True}, SCRATCH).json()
    assert bits(got["vectors"][0]["data"]["float32"][:1]) == bits([f32(value)])


@pytest.mark.parametrize(
    "body",
    [
        b'{"indexName":"items","indexName":"angle","keys":["k"]}',
        b'{"indexName":"items","keys":["k"],"keys":["j"]}',
        b'{"indexName":"items","keys":["k"],"ke\\u0079s":["j"]}',
        b'{"indexName":"items","keys":["k"],"returnData":true,"returnData":false}',
    ],
)
def test_duplicate_members_are_refused(calls, body):
    refused(calls.post("getVectors", body, SCRATCH), JSON)


@pytest.mark.parametrize(
    "vector",
    [
        '{"key":"a","key":"b","data":{"float32":[1,2,3,4,5,6,7,8]}}',
        '{"key":"a","data":{"float32":[1,2,3,4,5,6,7,8],"float32":[8,7,6,5,4,3,2,1]}}',
        '{"key":"a","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"m":"1","m":"2"}}',
        '{"key":"a","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"m":"1"},"metadata":{}}',
    ],
)
def test_duplicate_members_in_vectors_are_refused(calls, vector):
    refused(calls.post("putVectors", put_text(vector), SCRATCH), JSON, PARAMETER)
    assert calls.post("getVectors", {"indexName": "items", "keys": ["a", "b"]}, SCRATCH).json() == {"vectors": []}


def test_duplicate_keys_in_a_batch_are_refused_also_when_written_differently(calls):
    row = '{"key":"%s","data":{"float32":[1,2,3,4,5,6,7,8]}}'
    refused(calls.post("putVectors", put_text(row % "dup" + "," + row % "d\\u0075p"), SCRATCH), PARAMETER)


@pytest.mark.parametrize("levels", [65, 200, 10_000, 1_000_000])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deep_nesting_is_refused(calls, levels, brackets):
    opening = "[" * levels if brackets == "[]" else '{"a":' * levels
    closing = ("" if brackets == "[]" else "1") + brackets[1] * levels
    nested = (opening + closing).encode()
    refused(calls.post("getVectors", nested, SCRATCH), JSON, "EntityTooLarge")
    refused(
        calls.post(
            "queryVectors",
            b'{"indexName":"items","topK":1,"queryVector":{"float32":[1,2,3,4,5,6,7,8]},"filter":' + nested + b"}",
            SCRATCH,
        ),
        JSON,
        PARAMETER,
        "EntityTooLarge",
    )
    refused(
        calls.post(
            "putVectors",
            put_text('{"key":"k","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"a":%s}}' % nested.decode()),
            SCRATCH,
        ),
        JSON,
        PARAMETER,
    )
    refused(calls.call("PUT", "policy", nested, SCRATCH), "InvalidPolicyDocument", "EntityTooLarge")
    refused(calls.call("PUT", "tagging", nested, SCRATCH), JSON, "EntityTooLarge")


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "\\ud800\\ud800", "\\udc00\\ud800", "a\\ud83d", "\\ud83dx"])
def test_lone_surrogates_are_refused_everywhere(calls, text):
    refused(
        calls.post("putVectors", put_text('{"key":"%s","data":{"float32":[1,2,3,4,5,6,7,8]}}' % text), SCRATCH), JSON
    )
    refused(
        calls.post(
            "putVectors",
            put_text('{"key":"k","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"m":"%s"}}' % text),
            SCRATCH,
        ),
        JSON,
        PARAMETER,
    )
    refused(
        calls.post(
            "putVectors",
            put_text('{"key":"k","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"note":"%s"}}' % text),
            SCRATCH,
        ),
        JSON,
        PARAMETER,
    )
    refused(calls.post("getVectors", ('{"indexName":"items","keys":["%s"]}' % text).encode(), SCRATCH), JSON)
    refused(
        calls.post(
            "queryVectors",
            (
                '{"indexName":"items","topK":1,"queryVector":{"float32":[1,2,3,4,5,6,7,8]},"filter":{"m":"%s"}}' % text
            ).encode(),
            SCRATCH,
        ),
        JSON,
        PARAMETER,
    )


def test_surrogate_pairs_are_one_character(calls):
    escaped = put_text('{"key":"\\ud83d\\ude00","data":{"float32":[1,2,3,4,5,6,7,8]}}')
    assert calls.post("putVectors", escaped, SCRATCH).status == 200
    got = calls.post("getVectors", {"indexName": "items", "keys": ["\U0001f600"]}, SCRATCH).json()
    assert got == {"vectors": [{"key": "\U0001f600"}]}


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"])
def test_bytes_that_are_not_utf8_are_refused(calls, raw):
    for body in (b'{"indexName":"items","keys":["' + raw + b'"]}', b'{"indexName":"' + raw + b'"}'):
        refused(calls.post("getVectors", body, SCRATCH), JSON)
    row = (
        b'{"indexName":"items","vectors":[{"key":"k","data":{"float32":[1,2,3,4,5,6,7,8]},"metadata":{"note":"'
        + raw
        + b'"}}]}'
    )
    refused(calls.post("putVectors", row, SCRATCH), JSON, PARAMETER)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"true", b"5", b'"x"', b"[]", b"{}", b"\xef\xbb\xbf{}", b"{},{}", b"{}\x00", b"//x\n{}"],
)
@pytest.mark.parametrize(
    "operation",
    [
        "putVectorIndex",
        "getVectorIndex",
        "deleteVectorIndex",
        "putVectors",
        "getVectors",
        "listVectors",
        "deleteVectors",
        "queryVectors",
    ],
)
def test_bodies_without_content(calls, operation, body):
    refused(calls.post(operation, body, SCRATCH), JSON, PARAMETER, "MissingArgument")


def test_unknown_members_are_ignored_and_null_is_absent(calls):
    body = {"indexName": "items", "keys": ["k"], "later": {"x": [1]}, "returnData": None}
    assert calls.post("getVectors", body, SCRATCH).status == 200


def test_forty_megabytes_of_nothing(calls):
    for body in (
        b" " * 40_000_000,
        b"[" * 40_000_000,
        b'{"indexName":"items","vectors":[' + b"1," * 20_000_000,
        b'"' + b"\\u0041" * 6_500_000,
    ):
        refused(calls.post("putVectors", body, SCRATCH), JSON, PARAMETER)


# --- the flood ---


WORDS = [
    "items",
    "angle",
    "nope",
    "k",
    "kept-000-",
    "n",
    "even",
    "tags",
    "note",
    "",
    "雪",
    "\U0001f600",
    "$and",
    "$or",
    "$eq",
    "x" * 70,
]
HOSTILE = [
    "NaN",
    "1e39",
    "1e400",
    "-0",
    "1e-400",
    "9" * 40,
    "null",
    "true",
    '""',
    "[]",
    "{}",
    '"\\ud800"',
    "[" * 80 + "]" * 80,
    '{"a":' * 80 + "1" + "}" * 80,
]
HOSTILE += [
    '"' + "x" * 5000 + '"',
    '{"a":1,"a":2}',
    "1.5",
    "-1",
    "4294967296",
    "18446744073709551616",
    '{"$and":[]}',
    '{"a":{"$in":[]}}',
    "[null]",
    '"\\u0000"',
]
OPERATIONS = [
    "putVectorIndex",
    "getVectorIndex",
    "listVectorIndexes",
    "deleteVectorIndex",
    "putVectors",
    "getVectors",
    "listVectors",
    "deleteVectors",
    "queryVectors",
    "putVectorIndexFusion",
    "queryVectorsFusion",
]
SETTINGS = ["policy", "logging", "tagging", "resourceGroup"]


def vector(rng):
    return [
        rng.choice([1, -1, 0.5, rng.gauss(0, 1), rng.gauss(0, 1e10)])
        for _ in range(rng.choice([8] * 12 + [0, 1, 7, 9]))
    ]


def sample_filter(rng, depth=0):
    if depth < 4 and rng.random() < 0.3:
        return {rng.choice(["$and", "$or"]): [sample_filter(rng, depth + 1) for _ in range(rng.randrange(4))]}
    operator = rng.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$bad"])
    return {rng.choice(WORDS): {operator: rng.choice([1, "x", True, [1, "x"], [], 0.5])}}


def sample_body(rng, operation):
    """A body that is valid more often than not."""
    index = rng.choice(["items"] * 5 + ["angle"] * 2 + [rng.choice(WORDS)])
    rows = [
        {
            "key": rng.choice(WORDS) + str(rng.randrange(50)),
            "data": {"float32": vector(rng)},
            "metadata": {rng.choice(WORDS) or "m": rng.choice([1, "x", True, ["y"]])},
        }
        for _ in range(rng.randrange(1, 6))
    ]
    return {
        "putVectorIndex": {
            "indexName": f"new{rng.randrange(4)}",
            "dataType": "float32",
            "dimension": rng.choice([1, 8, 4096]),
            "distanceMetric": rng.choice(["cosine", "euclidean"]),
        },
        "getVectorIndex": {"indexName": index},
        "listVectorIndexes": {"maxResults": rng.randrange(-1, 502), "prefix": rng.choice(WORDS)},
        "deleteVectorIndex": {"indexName": f"new{rng.randrange(4)}"},
        "putVectors": {"indexName": index, "vectors": rows},
        "getVectors": {
            "indexName": index,
            "keys": [row["key"] for row in rows],
            "returnData": True,
            "returnMetadata": True,
        },
        "listVectors": {
            "indexName": index,
            "maxResults": rng.randrange(0, 1002),
            "segmentCount": rng.randrange(1, 17),
            "segmentIndex": rng.randrange(16),
            "filter": sample_filter(rng),
        },
        "deleteVectors": {"indexName": index, "keys": [row["key"] for row in rows]},
        "queryVectors": {
            "indexName": index,
            "queryVector": {"float32": vector(rng)},
            "topK": rng.randrange(0, 502),
            "filter": sample_filter(rng),
            "returnDistance": True,
            "returnMetadata": True,
        },
        "putVectorIndexFusion": {"indexName": "f", "mode": "fusion", "schemaConfiguration": {"fields": []}},
        "queryVectorsFusion": {"indexName": "f", "limit": 5},
        "policy": {
            "Version": "1",
            "Statement": [
                {"Effect": "Deny", "Action": ["oss:*"], "Principal": ["5"], "Resource": ["acs:ossvector:*:*:*"]}
            ],
        },
        "logging": {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": rng.choice(WORDS)}}},
        "tagging": {"Tagging": {"TagSet": {"Tag": [{"Key": rng.choice(WORDS), "Value": rng.choice(WORDS)}]}}},
        "resourceGroup": {"BucketResourceGroupConfiguration": {"ResourceGroupId": rng.choice(WORDS)}},
    }[operation]


def mutate_bytes(rng, data: bytes) -> bytes:
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif kind == 2:
            del data[at : at + rng.randrange(1, 30)]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 60)]
        else:
            data[at:at] = rng.choice(HOSTILE).encode("utf-8", "surrogatepass")
    return bytes(data)


def mutate_value(rng, text: str) -> str:
    """Replaces one JSON value of a serialised body by a hostile one."""
    spots = list(re.finditer(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\"(?:[^\"\\]|\\.)*\"|true|false|\[\]", text))
    if not spots:
        return text
    spot = rng.choice(spots)
    return text[: spot.start()] + rng.choice(HOSTILE) + text[spot.end() :]


def hostile_body(rng, operation) -> bytes:
    text = json.dumps(sample_body(rng, operation), ensure_ascii=rng.random() < 0.5)
    kind = rng.random()
    if kind < 0.25:
        return mutate_value(rng, text).encode("utf-8", "surrogatepass")
    if kind < 0.45:
        return mutate_bytes(rng, text.encode())
    return text.encode()


def hostile_query(rng, query) -> str:
    extra = [
        "",
        "&x=1",
        "&prefix=%ff",
        "&max-keys=0",
        "&max-keys=99999999999",
        "&marker=%00",
        "&putVectors",
        "&=",
        "&%",
        "&%zz=1",
        "&a=b=c",
        "&" + "q" * 3000,
        "&acl",
        "&vector",
        "&x-oss-expires=1",
        "=1",
    ]
    return query + rng.choice(extra)


def hostile_headers(rng) -> list:
    value = rng.choice(
        [
            "",
            "0",
            "-1",
            "x" * 8000,
            "a,b,c",
            "\u0080ü",
            "application/json; charset=utf-8",
            "99999999999999999999",
            "gzip",
            "bytes=0-5",
            "NaN",
            "close",
        ]
    )
    name = rng.choice(
        [
            "Content-Type",
            "x-oss-date",
            "x-oss-content-sha256",
            "x-oss-security-token",
            "Content-MD5",
            "x-oss-bucket-tagging",
            "x-oss-resource-group-id",
            "Content-Encoding",
            "Range",
            "If-Match",
            "Origin",
            "X-Forwarded-For",
            "Date",
            "Accept",
            "x-oss-weird",
            "Cookie",
            "Connection",
            "Expect",
        ]
    )
    return [(name, value)]


def hostile_host(rng, port) -> str:
    return rng.choice(
        [
            "",
            "localhost",
            f"127.0.0.1:{port}",
            f"-{settings.ACCOUNT}.localhost",
            "a-b-c.localhost",
            f"{SCRATCH}-.localhost",
            f"{SCRATCH}-99999999999999999999999999.localhost",
            "x" * 300 + "-1.localhost",
            "[::1]:5",
            "ü-1.localhost",
            f"{SCRATCH}-1.evil.example",
            f"{KEPT}-{settings.ACCOUNT}.localhost.evil",
        ]
    )


def random_request(rng, port) -> tuple[bytes, bool]:
    """The bytes of a request and whether they keep HTTP's framing: if not, the server may be left waiting for more."""
    if rng.random() < 0.02:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(1, 400))) + b"\r\n\r\n", False
    operation = rng.choice(OPERATIONS + OPERATIONS[4:9] + SETTINGS)
    setting = operation in SETTINGS
    method = rng.choice(["PUT", "PUT", "GET", "DELETE"]) if setting else "POST"
    body = hostile_body(rng, operation) if method in ("POST", "PUT") else b""
    request = Request(method, operation, body, SCRATCH, style=rng.choice(["virtual", "path", "absolute"]))
    twist = rng.random()
    if twist < 0.08:
        request.query = hostile_query(rng, operation)
    elif twist < 0.16:
        request.headers = hostile_headers(rng)
    elif twist < 0.20:
        request.host = hostile_host(rng, port)
    elif twist < 0.23:
        request.method = rng.choice(["GET", "HEAD", "PATCH", "OPTIONS", "DELETE", "TRACE", "BREW", "post"])
    elif twist < 0.26:
        request.target = rng.choice(
            [
                "/",
                "//",
                "/a/b",
                "/%2e%2e/",
                "http://",
                "http://x",
                "/" + "p" * 5000,
                "?putVectors",
                f"/{SCRATCH}",
                "/\u00fc",
                "/" + SCRATCH + "/?x=%",
            ]
        )
    elif twist < 0.36:
        request.key = oss4.Key(secret="guess") if rng.random() < 0.7 else oss4.Key(access_key_id=rng.choice(WORDS))
        request.bucket = KEPT  # without the right key nothing may happen to it
    elif twist < 0.40:
        request.authorization = (
            mutate_bytes(rng, b"OSS4-HMAC-SHA256 Credential=a/20260101/cn-hangzhou/oss/aliyun_v4_request,Signature=00")
            .decode("latin-1")
            .replace("\n", "")
            .replace("\r", "")
        )
        request.bucket = KEPT
    elif twist < 0.44:
        query = oss4.presigned_query(request.key, method, SCRATCH, operation, expires=rng.choice(["0", "600", "x"]))
        request.query, request.signed = (
            (query if rng.random() < 0.5 else mutate_bytes(rng, query.encode()).decode("latin-1")),
            False,
        )
        request.query = re.sub(r"[\r\n ]", "", request.query)
    data = request.bytes(port)
    if twist > 0.97:  # after signing: mostly SignatureDoesNotMatch or broken framing
        return mutate_bytes(rng, data.replace(SCRATCH.encode(), KEPT.encode())), False
    framing = {"content-length", "transfer-encoding", "expect", "connection"}
    return data, not framing & {name.lower() for name, _ in request.headers}


class Flood:
    """Sends requests over kept-alive connections and judges each answer."""

    def __init__(self, server):
        self.server = server
        self.connection = None
        self.statuses = {}

    def send(self, data, framed):
        """Sends and judges; a kept-alive connection that ended between two requests is replaced."""
        fresh = self.connection is None
        self.connection = self.connection or Connection(self.server.port)
        try:
            answer = self.exchange(data, framed)
        except (Closed, BrokenPipeError, ConnectionResetError):
            self.drop()
            assert self.server.alive(), self.server.log()[-3000:]
            return None if fresh else self.send(data, framed)
        self.judge(answer, data)
        if not framed or (answer.header("connection") or "").lower() == "close":
            self.drop()

    def exchange(self, data, framed):
        self.connection.send(data)
        if not framed:
            with contextlib.suppress(OSError):  # the server may have answered and gone already
                self.connection.socket.shutdown(socket.SHUT_WR)
        answer = self.connection.receive(head_only=data.startswith(b"HEAD "))
        while answer.status == 100:
            answer = self.connection.receive()
        return answer

    def judge(self, answer, data):
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        assert answer.status < 500, (answer.status, answer.body, data[:3000])
        if answer.status >= 400 and answer.body:
            assert answer.header("content-type") == "application/json", (answer.headers, data[:3000])
            assert answer.error["Code"] and answer.error["EC"], data[:3000]

    def drop(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def test_flood(hostile, calls):
    rng = random.Random(SEED)
    print(f"seed {SEED}, {REQUESTS} requests")
    before, start_kb = everything(calls), hostile.resident_kb()
    flood = Flood(hostile)
    for i in range(REQUESTS):
        flood.send(*random_request(rng, hostile.port))
        if i % 250 == 0:
            assert hostile.healthy(), f"unhealthy after request {i}"
            make_bucket(calls, SCRATCH)
    flood.drop()
    print(f"statuses {dict(sorted(flood.statuses.items()))}, peak {hostile.resident_peak_kb()} KiB (was {start_kb})")
    assert flood.statuses.get(200, 0) + flood.statuses.get(204, 0) > REQUESTS * 0.1, flood.statuses
    assert flood.statuses.get(403, 0) < REQUESTS * 0.5, flood.statuses
    assert everything(calls) == before
    assert hostile.resident_kb() - start_kb < MEMORY_GROWTH_KB_MAX


def test_flooded_store_opens_again_unchanged(hostile, calls):
    before = everything(calls)
    hostile.kill()
    hostile.start()
    assert everything(calls) == before
