"""One row per way to provoke a documented error that needs no users, roles, STS or policies.

A row says what is sent, and the status, Code and EC that must come back. `python/test_errors.py` sends it, through the
SDK where the SDK can (`sdk` = method and request fields), else as raw bytes (`raw` = members of harness.raw.Request).
It also checks what holds for every error: body shape, headers, and that nothing changed in the store.

The world the rows meet (made by the test):
  bucket `errors`      index `items` (dimension 3, euclidean), `angle` (3, cosine), `notes` (3, non-filterable `note`)
                       row `a` in `items`
  bucket `full`        100 indexes
  bucket `tagged`      made with resource group `rg-one`

`ec` None: the code has no documented EC; any well-formed one of ours that docs/compatibility.md names for it will do.
Codes that a client cannot reach here are listed at the end with the reason.
"""

from dataclasses import dataclass, field

PARAMETER = "VectorIndexParameterInvalid"
SHAPE = "MalformedJson"
"""Also the code for a member of another JSON type."""
V = {"float32": [1, 2, 3]}
ROW = {"key": "k", "data": V}


@dataclass
class Case:
    name: str
    status: int
    code: str
    ec: str | None = None
    sdk: tuple | None = None
    """(client method, request fields)"""
    raw: dict | None = None
    fields: dict = field(default_factory=dict)
    """Extra members of the error body: exact text, or None for 'present and not empty'."""
    bucket_named: bool = True
    """BucketName belongs in the body: the request reached a bucket name that could be parsed."""
    host_named: bool = True
    """HostId belongs in the body: there was one Host."""


def index(method, **fields):
    """An SDK call on bucket `errors`, index `items`."""
    return (method, {"bucket": "errors", "index_name": "items", **fields})


def post(operation, body, bucket="errors", **more):
    """A raw call: `body` is bytes or JSON data."""
    return {"method": "POST", "query": operation, "body": body, "bucket": bucket, **more}


def get_info(**more):
    return {"method": "GET", "query": "bucketInfo", "bucket": "errors", **more}


def auth(text):
    """A call whose Authorization header is this text. {scope} stands for today's scope, {ak} for the key id."""
    return get_info(authorization=text)


def presigned(**more):
    """A GET bucketInfo with a query signature; members go to harness.oss4.presigned_query."""
    return {"method": "GET", "query": "bucketInfo", "bucket": "errors", "presigned": more}


AUTHENTICATION = [
    Case("anonymous", 403, "AccessDenied", "0003-00000001", raw=get_info(signed=False)),
    Case("unknown scheme", 400, "InvalidArgument", "0002-00000061", raw=auth("Bearer abc")),
    Case("signature version 1", 400, "InvalidArgument", None, raw=auth("OSS {ak}:bm90aGluZw==")),
    Case("scheme alone", 400, "InvalidArgument", "0002-00000202", raw=auth("OSS4-HMAC-SHA256")),
    Case(
        "part without =",
        400,
        "InvalidArgument",
        "0002-00000203",
        raw=auth("OSS4-HMAC-SHA256 Credential,Signature=" + "0" * 64),
    ),
    Case("no Credential", 400, "InvalidArgument", "0002-00000205", raw=auth("OSS4-HMAC-SHA256 Signature=" + "0" * 64)),
    Case(
        "empty Signature",
        400,
        "InvalidArgument",
        "0002-00000208",
        raw=auth("OSS4-HMAC-SHA256 Credential={ak}/{scope},Signature="),
    ),
    Case(
        "empty AdditionalHeaders",
        400,
        "InvalidArgument",
        "0002-00000209",
        raw=auth("OSS4-HMAC-SHA256 Credential={ak}/{scope},AdditionalHeaders=,Signature=" + "0" * 64),
    ),
    Case(
        "additional header not sent", 400, "InvalidArgument", "0002-00000211", raw=get_info(additional=("x-missing",))
    ),
    Case(
        "scope date is not the request's day",
        400,
        "InvalidArgument",
        "0002-00000212",
        raw=get_info(scope_date="20200101"),
    ),
    Case("scope date garbled", 400, "InvalidArgument", None, raw=get_info(scope_date="2020-01-01")),
    Case(
        "scope with four parts",
        400,
        "InvalidArgument",
        "0002-00000213",
        raw=auth("OSS4-HMAC-SHA256 Credential={ak}/{day}/cn-hangzhou/oss,Signature=" + "0" * 64),
    ),
    Case("scope of another product", 400, "InvalidArgument", None, raw=get_info(key={"product": "s3"})),
    Case(
        "scope with another terminator", 400, "InvalidArgument", None, raw=get_info(key={"terminator": "aws4_request"})
    ),
    Case("another region", 400, "InvalidArgument", "0002-00000226", raw=get_info(key={"region": "cn-shanghai"})),
    Case("no date at all", 403, "AccessDenied", "0002-00000503", raw=get_info(headers=[("x-oss-date", None)])),
    Case("date garbled", 403, "AccessDenied", "0002-00000502", raw=get_info(headers=[("x-oss-date", "yesterday")])),
    Case(
        "clock 20 minutes behind",
        403,
        "RequestTimeTooSkewed",
        "0002-00000504",
        raw=get_info(skew=-1200),
        fields={"MaxAllowedSkewMilliseconds": "900000", "RequestTime": None, "ServerTime": None},
    ),
    Case(
        "clock 20 minutes ahead",
        403,
        "RequestTimeTooSkewed",
        "0002-00000504",
        raw=get_info(skew=1200),
        fields={"MaxAllowedSkewMilliseconds": "900000"},
    ),
    Case(
        "unknown key",
        403,
        "InvalidAccessKeyId",
        "0002-00000902",
        raw=get_info(key={"access_key_id": "LTAIunknown"}),
        fields={"OSSAccessKeyId": "LTAIunknown"},
    ),
    Case(
        "key with illegal characters",
        403,
        "InvalidAccessKeyId",
        "0002-00000901",
        raw=get_info(key={"access_key_id": "LT AI*"}),
    ),
    Case(
        "wrong secret",
        403,
        "SignatureDoesNotMatch",
        "0002-00000040",
        raw=get_info(key={"secret": "wrong"}),
        fields={
            "OSSAccessKeyId": None,
            "SignatureProvided": None,
            "StringToSign": None,
            "StringToSignBytes": None,
            "CanonicalRequest": None,
        },
    ),
    Case(
        "unexpected payload digest",
        400,
        "InvalidArgument",
        "0002-00000214",
        raw=get_info(headers=[("x-oss-content-sha256", "STREAMING")]),
    ),
    Case("header and query signature", 400, "InvalidArgument", None, raw=presigned() | {"signed": True}),
    Case("query: no expires", 403, "AccessDenied", "0002-00000216", raw=presigned(drop=("x-oss-expires",))),
    Case("query: no date", 403, "AccessDenied", "0002-00000215", raw=presigned(drop=("x-oss-date",))),
    Case("query: no credential", 403, "AccessDenied", "0002-00000215", raw=presigned(drop=("x-oss-credential",))),
    *(
        Case(f"query: expires {value}", 400, "InvalidArgument", "0002-00000232", raw=presigned(expires=value))
        for value in ("0", "604801", "x")
    ),
    Case("query: scope of another day", 400, "InvalidArgument", "0002-00000223", raw=presigned(day="20200101")),
    Case("query: no signature", 403, "AccessDenied", "0002-00000219", raw=presigned(drop=("x-oss-signature",))),
    Case("query: no version", 403, "AccessDenied", "0002-00000066", raw=presigned(drop=("x-oss-signature-version",))),
    Case(
        "query: another region", 400, "InvalidArgument", "0002-00000228", raw=presigned(key={"region": "cn-shanghai"})
    ),
    Case(
        "query: scope of another product", 400, "InvalidArgument", "0002-00000224", raw=presigned(key={"product": "s3"})
    ),
    Case(
        "query: additional header not sent",
        400,
        "InvalidArgument",
        "0002-00000077",
        raw=presigned(additional=("x-missing",)),
    ),
    Case("query: wrong secret", 403, "SignatureDoesNotMatch", "0002-00000040", raw=presigned(key={"secret": "wrong"})),
    Case(
        "query: unknown key",
        403,
        "InvalidAccessKeyId",
        "0002-00000902",
        raw=presigned(key={"access_key_id": "LTAIunknown"}),
    ),
    Case(
        "query: expired",
        403,
        "AccessDenied",
        "0002-00000236",
        raw=presigned(skew=-3600, expires="600"),
        fields={"Expires": None, "ServerTime": None},
    ),
    Case(
        "authorization twice",
        400,
        "InvalidArgument",
        "0900-00000102",
        raw=get_info(headers=[("Authorization", "OSS4-HMAC-SHA256 x=y")]),
    ),
    Case("query: parameter twice", 400, "InvalidArgument", "0900-00000102", raw=presigned(suffix="&x-oss-expires=600")),
    Case(
        "mark of a node",
        403,
        "AccessDenied",
        "0900-00000104",
        raw=get_info(headers=[("x-vectorbucket-hop", "1;0;00;127.0.0.1:1;-;00")]),
    ),
    Case(
        "temporary key without a token",
        403,
        "AccessDenied",
        "0002-00000005",
        raw=get_info(key={"access_key_id": "STS.unknown"}),
    ),
    Case(
        "token with a long-term key",
        403,
        "InvalidSecurityToken",
        "0002-00000006",
        raw=get_info(headers=[("x-oss-security-token", "CAIS")]),
    ),
    Case(
        "bucket of another account",
        403,
        "AccessDenied",
        "0003-00000202",
        raw=get_info(key={"account": "9999999999999999"}),
    ),
]

BUCKETS = [
    *(
        Case(
            f"bucket name {name!r}",
            400,
            "InvalidVectorBucketName",
            None,
            raw={"method": "PUT", "bucket": name},
            bucket_named=False,
        )
        for name in ("ab", "x" * 33, "-abc", "abc-", "a_b")
    ),
    Case(
        "bucket name too long, through the SDK",
        400,
        "InvalidVectorBucketName",
        None,
        sdk=("put_vector_bucket", {"bucket": "x" * 63}),
        bucket_named=False,
    ),
    Case(
        "bucket exists with other settings",
        409,
        "BucketAlreadyExists",
        "0015-00000104",
        sdk=("put_vector_bucket", {"bucket": "tagged", "resource_group_id": "rg-two"}),
    ),
    Case("missing bucket", 404, "NoSuchBucket", "0015-00000101", sdk=("get_vector_bucket", {"bucket": "missing"})),
    Case("bucket with indexes", 409, "VectorBucketNotEmpty", None, sdk=("delete_vector_bucket", {"bucket": "errors"})),
    Case("no policy", 404, "NoSuchBucketPolicy", None, sdk=("get_bucket_policy", {"bucket": "errors"})),
    Case(
        "policy that lets everybody in",
        403,
        "AccessDenied",
        "0900-00000105",
        sdk=(
            "put_bucket_policy",
            {
                "bucket": "errors",
                "body": '{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:GetVectors"],"Principal":["*"],"Resource":["*"]}]}',
            },
        ),
    ),
    *(
        Case(
            f"policy {name}",
            400,
            "InvalidPolicyDocument",
            ec,
            sdk=("put_bucket_policy", {"bucket": "errors", "body": text}),
        )
        for name, ec, text in (
            ("over 16 KB", "0030-00000001", '{"Version":"1","Statement":[]}' + " " * 16400),
            (
                "of another version",
                "0030-00000002",
                '{"Version":"2","Statement":[{"Effect":"Allow","Action":["oss:*"],"Principal":["1"],"Resource":["acs:ossvector:*:*:*"]}]}',
            ),
            ("with a version that is a number", "0030-00000005", '{"Version":1,"Statement":[]}'),
            (
                "with a statement over 4095 bytes",
                "0030-00000003",
                '{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:*"],"Principal":["1"],"Resource":["acs:ossvector:*:*:%s"]}]}'
                % ("x" * 4200),
            ),
            ("that is no JSON", "0030-00000005", "{"),
            ("that is an array", "0030-00000005", "[]"),
            (
                "with NotPrincipal",
                "0030-00000005",
                '{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:*"],"NotPrincipal":["1"],"Resource":["acs:ossvector:*:*:*"]}]}',
            ),
            (
                "without principal",
                "0030-00000005",
                '{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:*"],"Resource":["acs:ossvector:*:*:*"]}]}',
            ),
            (
                "with an unknown effect",
                "0030-00000005",
                '{"Version":"1","Statement":[{"Effect":"Maybe","Action":["oss:*"],"Principal":["1"],"Resource":["acs:ossvector:*:*:*"]}]}',
            ),
        )
    ),
    *(
        Case(
            f"{query} that is no JSON",
            400,
            "MalformedJson",
            None,
            raw={"method": "PUT", "query": query, "bucket": "errors", "body": body},
        )
        for query in ("logging", "tagging", "resourceGroup")
        for body in (b"{", b"\xff\xfe{}")
    ),
    *(
        Case(
            f"resource group {value!r}",
            400,
            "InvalidArgument",
            "0900-00000404",
            raw={
                "method": "PUT",
                "query": "resourceGroup",
                "bucket": "errors",
                "body": {"BucketResourceGroupConfiguration": {"ResourceGroupId": value}},
            },
        )
        for value in ("a b", "ü")
    ),
    Case(
        "resource group of a new bucket",
        400,
        "InvalidArgument",
        "0900-00000404",
        sdk=("put_vector_bucket", {"bucket": "newer", "resource_group_id": "a b"}),
    ),
    Case(
        "tags of a new bucket",
        400,
        "InvalidArgument",
        "0900-00000403",
        sdk=("put_vector_bucket", {"bucket": "newer", "bucket_tagging": "aliyun=1"}),
    ),
    Case(
        "logging target name",
        400,
        "InvalidTargetBucketForLogging",
        "0900-00000405",
        raw={
            "method": "PUT",
            "query": "logging",
            "bucket": "errors",
            "body": {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "A_B"}}},
        },
    ),
    Case(
        "logging without a target",
        400,
        "InvalidArgument",
        "0900-00000406",
        raw={
            "method": "PUT",
            "query": "logging",
            "bucket": "errors",
            "body": {"BucketLoggingStatus": {"LoggingEnabled": {"TargetPrefix": "p"}}},
        },
    ),
    Case(
        "duplicate tag",
        400,
        "InvalidArgument",
        None,
        raw={
            "method": "PUT",
            "query": "tagging",
            "bucket": "errors",
            "body": {"Tagging": {"TagSet": {"Tag": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}}},
        },
    ),
    Case(
        "tag key reserved",
        400,
        "InvalidArgument",
        None,
        raw={
            "method": "PUT",
            "query": "tagging",
            "bucket": "errors",
            "body": {"Tagging": {"TagSet": {"Tag": [{"Key": "aliyun1", "Value": "1"}]}}},
        },
    ),
    *(
        Case(
            f"max-keys {value}",
            400,
            "InvalidArgument",
            None,
            raw={"method": "GET", "query": f"max-keys={value}", "bucket": None},
            bucket_named=False,
        )
        for value in ("0", "1001", "-1", "x")
    ),
    Case(
        "max-keys 1001, through the SDK",
        400,
        "InvalidArgument",
        None,
        sdk=("list_vector_buckets", {"max_keys": 1001}),
        bucket_named=False,
    ),
]

INDEXES = [
    *(
        Case(
            f"index name {name[:12]!r}",
            400,
            PARAMETER,
            None,
            sdk=(
                "put_vector_index",
                {
                    "bucket": "errors",
                    "index_name": name,
                    "data_type": "float32",
                    "dimension": 3,
                    "distance_metric": "cosine",
                },
            ),
        )
        for name in ("", "1a", "a-b", "a b", "ü", "x" * 64)
    ),
    *(
        Case(
            f"index {name} {value!r}",
            400,
            PARAMETER,
            None,
            sdk=(
                "put_vector_index",
                {
                    "bucket": "errors",
                    "index_name": "new",
                    "data_type": "float32",
                    "dimension": 3,
                    "distance_metric": "cosine",
                    name: value,
                },
            ),
        )
        for name, value in (
            ("data_type", "float64"),
            ("data_type", ""),
            ("dimension", 0),
            ("dimension", -1),
            ("dimension", 4097),
            ("dimension", 2.5),
            ("distance_metric", "ip"),
            ("distance_metric", "dot"),
            ("metadata", {"nonFilterableMetadataKeys": []}),
            ("metadata", {"nonFilterableMetadataKeys": [f"k{i}" for i in range(11)]}),
            ("metadata", {"nonFilterableMetadataKeys": ["1a"]}),
            ("metadata", {"nonFilterableMetadataKeys": ["a-b"]}),
            ("metadata", {"nonFilterableMetadataKeys": ["x" * 64]}),
            ("metadata", {"nonFilterableMetadataKeys": ["a", "a"]}),
        )
    ),
    *(
        Case(
            f"index {name} of another type",
            400,
            SHAPE,
            None,
            sdk=(
                "put_vector_index",
                {
                    "bucket": "errors",
                    "index_name": "new",
                    "data_type": "float32",
                    "dimension": 3,
                    "distance_metric": "cosine",
                    name: value,
                },
            ),
        )
        for name, value in (
            ("index_name", 5),
            ("data_type", True),
            ("dimension", "3"),
            ("distance_metric", []),
            ("metadata", "x"),
            ("metadata", {"nonFilterableMetadataKeys": [5]}),
            ("metadata", {"nonFilterableMetadataKeys": "a"}),
        )
    ),
    Case(
        "index exists",
        409,
        "VectorBucketIndexAlreadyExist",
        None,
        sdk=(
            "put_vector_index",
            {
                "bucket": "errors",
                "index_name": "items",
                "data_type": "float32",
                "dimension": 3,
                "distance_metric": "euclidean",
            },
        ),
    ),
    Case(
        "101st index",
        400,
        "VectorBucketIndexExceedLimit",
        None,
        sdk=(
            "put_vector_index",
            {
                "bucket": "full",
                "index_name": "onemore",
                "data_type": "float32",
                "dimension": 3,
                "distance_metric": "cosine",
            },
        ),
    ),
    *(
        Case(
            f"missing index, {method}",
            404,
            "NoSuchVectorIndex",
            None,
            sdk=(method, {"bucket": "errors", "index_name": "nope", **more}),
        )
        for method, more in (
            ("get_vector_index", {}),
            ("delete_vector_index", {}),
            ("put_vectors", {"vectors": [ROW]}),
            ("get_vectors", {"keys": ["a"]}),
            ("list_vectors", {}),
            ("delete_vectors", {"keys": ["a"]}),
            ("query_vectors", {"query_vector": V, "top_k": 1}),
        )
    ),
    *(
        Case(f"no index name, {operation}", 400, PARAMETER, None, raw=post(operation, body))
        for operation, body in (
            ("putVectorIndex", {"dataType": "float32", "dimension": 3, "distanceMetric": "cosine"}),
            ("getVectorIndex", {}),
            ("deleteVectorIndex", {}),
            ("putVectors", {"vectors": [ROW]}),
            ("getVectors", {"keys": ["a"]}),
            ("listVectors", {}),
            ("deleteVectors", {"keys": ["a"]}),
            ("queryVectors", {"queryVector": V, "topK": 1}),
        )
    ),
    *(
        Case(f"{name}, {operation}", 400, "MalformedJson", None, raw=post(operation, body))
        for operation in (
            "putVectorIndex",
            "getVectorIndex",
            "listVectorIndexes",
            "deleteVectorIndex",
            "putVectors",
            "getVectors",
            "listVectors",
            "deleteVectors",
            "queryVectors",
        )
        for name, body in (
            ("member twice", b'{"indexName":"items","indexName":"items"}'),
            ("nested too deep", b'{"x":' * 100 + b"1" + b"}" * 100),
            ("cut JSON", b'{"indexName":"items"'),
            ("trailing bytes", b'{"indexName":"items"} x'),
            ("not UTF-8", b'{"indexName":"\xff"}'),
            ("a bare word", b"nothing"),
        )
    ),
    *(
        Case(
            f"listVectorIndexes {name} {value!r}",
            400,
            PARAMETER,
            None,
            sdk=("list_vector_indexes", {"bucket": "errors", name: value}),
        )
        for name, value in (("max_results", 501), ("max_results", -1))
    ),
    *(
        Case(
            f"listVectorIndexes {name} of another type",
            400,
            SHAPE,
            None,
            sdk=("list_vector_indexes", {"bucket": "errors", name: value}),
        )
        for name, value in (("max_results", "5"), ("prefix", 5), ("next_token", {}))
    ),
]

VECTORS = [
    *(
        Case(f"putVectors {name}", 400, PARAMETER, None, sdk=index("put_vectors", vectors=vectors))
        for name, vectors in (
            ("none", []),
            ("501", [{"key": f"k{i}", "data": V} for i in range(501)]),
            ("no key", [{"data": V}]),
            ("empty key", [{"key": "", "data": V}]),
            ("key of 1025", [{"key": "x" * 1025, "data": V}]),
            ("no data", [{"key": "k"}]),
            ("empty data", [{"key": "k", "data": {}}]),
            ("data null", [{"key": "k", "data": None}]),
            ("too few", [{"key": "k", "data": {"float32": [1, 2]}}]),
            ("too many", [{"key": "k", "data": {"float32": [1, 2, 3, 4]}}]),
            ("element too large", [{"key": "k", "data": {"float32": [1, 2, 1e39]}}]),
            ("element far too small", [{"key": "k", "data": {"float32": [1, 2, -1e300]}}]),
            ("key twice", [ROW, ROW]),
            ("metadata array", [ROW | {"metadata": []}]),
            ("metadata string", [ROW | {"metadata": "x"}]),
            ("metadata null value", [ROW | {"metadata": {"a": None}}]),
            ("metadata nested", [ROW | {"metadata": {"a": {"b": 1}}}]),
            ("metadata over 2 KB filterable", [ROW | {"metadata": {"a": "x" * 2100}}]),
            ("metadata with 11 keys", [ROW | {"metadata": {f"k{i}": "v" for i in range(11)}}]),
        )
    ),
    *(
        Case(f"putVectors {name}", 400, SHAPE, None, sdk=index("put_vectors", vectors=vectors))
        for name, vectors in (
            ("no array", "x"),
            ("entry no object", [5]),
            ("key no string", [{"key": 5, "data": V}]),
            ("data no object", [{"key": "k", "data": [1, 2, 3]}]),
            ("element string", [{"key": "k", "data": {"float32": [1, 2, "3"]}}]),
            ("element null", [{"key": "k", "data": {"float32": [1, 2, None]}}]),
        )
    ),
    *(
        Case(f"{method} {name} of another type", 400, SHAPE, None, sdk=index(method, **fields))
        for method, name, fields in (
            ("get_vectors", "keys", {"keys": "k"}),
            ("get_vectors", "key", {"keys": [5]}),
            ("get_vectors", "returnData", {"keys": ["k"], "return_data": "yes"}),
            ("delete_vectors", "key", {"keys": [5]}),
            ("list_vectors", "maxResults", {"max_results": "5"}),
            ("list_vectors", "nextToken", {"next_token": 5}),
            ("query_vectors", "topK", {"query_vector": V, "top_k": "1"}),
            ("query_vectors", "queryVector", {"query_vector": [1, 2, 3], "top_k": 1}),
        )
    ),
    Case(
        "putVectors zero vector under cosine",
        400,
        PARAMETER,
        None,
        sdk=(
            "put_vectors",
            {"bucket": "errors", "index_name": "angle", "vectors": [{"key": "k", "data": {"float32": [0, 0, 0]}}]},
        ),
    ),
    Case(
        "putVectors metadata over 40 KB",
        400,
        PARAMETER,
        None,
        sdk=(
            "put_vectors",
            {"bucket": "errors", "index_name": "notes", "vectors": [ROW | {"metadata": {"note": "x" * 41000}}]},
        ),
    ),
    Case(
        "putVectors NaN",
        400,
        "MalformedJson",
        None,
        sdk=index("put_vectors", vectors=[{"key": "k", "data": {"float32": [1, 2, float("nan")]}}]),
    ),
    Case(
        "putVectors Infinity",
        400,
        "MalformedJson",
        None,
        sdk=index("put_vectors", vectors=[{"key": "k", "data": {"float32": [1, 2, float("inf")]}}]),
    ),
    *(
        Case(f"getVectors {name}", 400, PARAMETER, None, sdk=index("get_vectors", **fields))
        for name, fields in (
            ("no keys", {"keys": []}),
            ("101 keys", {"keys": ["k"] * 101}),
            ("empty key", {"keys": [""]}),
            ("key of 1025", {"keys": ["x" * 1025]}),
        )
    ),
    *(
        Case(f"deleteVectors {name}", 400, PARAMETER, None, sdk=index("delete_vectors", keys=keys))
        for name, keys in (("no keys", []), ("501 keys", [f"k{i}" for i in range(501)]), ("empty key", [""]))
    ),
    *(
        Case(f"listVectors {name}", 400, PARAMETER, None, sdk=index("list_vectors", **fields))
        for name, fields in (
            ("maxResults 1001", {"max_results": 1001}),
            ("maxResults negative", {"max_results": -5}),
            ("17 segments", {"segment_count": 17, "segment_index": 0}),
            ("0 segments", {"segment_count": 0, "segment_index": 0}),
            ("segment out of range", {"segment_count": 4, "segment_index": 4}),
            ("segment without count", {"segment_index": 3}),
            ("foreign token", {"next_token": "bm90IGEgdG9rZW4"}),
            ("token too long", {"next_token": "x" * 2049}),
        )
    ),
    Case(
        "listVectors bad filter",
        400,
        PARAMETER,
        None,
        raw=post("listVectors", {"indexName": "items", "filter": {"$and": []}}),
    ),
    *(
        Case(
            f"queryVectors {name}",
            400,
            PARAMETER,
            None,
            sdk=index("query_vectors", **({"query_vector": V, "top_k": 1} | fields)),
        )
        for name, fields in (
            ("topK 0", {"top_k": 0}),
            ("topK 501", {"top_k": 501}),
            ("topK no integer", {"top_k": 1.5}),
            ("no vector", {"query_vector": {}}),
            ("too few", {"query_vector": {"float32": [1, 2]}}),
            ("too large", {"query_vector": {"float32": [1, 2, 1e39]}}),
            ("filter array", {"filter": []}),
            ("filter string", {"filter": '{"a":"x"}'}),
            ("filter unknown operator", {"filter": {"a": {"$regex": "x"}}}),
            ("filter null", {"filter": {"a": None}}),
            (
                "filter too deep",
                {
                    "filter": {
                        "$and": [
                            {
                                "$and": [
                                    {
                                        "$and": [
                                            {
                                                "$and": [
                                                    {
                                                        "$and": [
                                                            {"$and": [{"$and": [{"$and": [{"$and": [{"a": "x"}]}]}]}]}
                                                        ]
                                                    }
                                                ]
                                            }
                                        ]
                                    }
                                ]
                            }
                        ]
                    }
                },
            ),
            ("filter over 64 KB", {"filter": {"a": "x" * 70000}}),
        )
    ),
    Case(
        "queryVectors filter on a non-filterable key",
        400,
        PARAMETER,
        None,
        sdk=(
            "query_vectors",
            {"bucket": "errors", "index_name": "notes", "query_vector": V, "top_k": 1, "filter": {"note": "x"}},
        ),
    ),
    Case(
        "queryVectors zero vector under cosine",
        400,
        PARAMETER,
        None,
        sdk=(
            "query_vectors",
            {"bucket": "errors", "index_name": "angle", "query_vector": {"float32": [0, 0, 0]}, "top_k": 1},
        ),
    ),
    Case(
        "queryVectors without vector", 400, PARAMETER, None, raw=post("queryVectors", {"indexName": "items", "topK": 1})
    ),
    Case(
        "queryVectors without topK",
        400,
        PARAMETER,
        None,
        raw=post("queryVectors", {"indexName": "items", "queryVector": V}),
    ),
    *(
        Case(f"key with a lone surrogate, {operation}", 400, "MalformedJson", None, raw=post(operation, body))
        for operation, body in (
            ("putVectors", b'{"indexName":"items","vectors":[{"key":"\\ud800","data":{"float32":[1,2,3]}}]}'),
            ("getVectors", b'{"indexName":"items","keys":["\\udc00"]}'),
            ("deleteVectors", b'{"indexName":"items","keys":["\\ud800x"]}'),
        )
    ),
]

HOST = "errors-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com"

PROTOCOL = [
    Case(
        "no Host",
        400,
        "InvalidArgument",
        "0900-00000201",
        raw=get_info(headers=[("Host", None)]),
        bucket_named=False,
        host_named=False,
    ),
    Case(
        "Host twice",
        400,
        "InvalidArgument",
        "0900-00000202",
        raw=get_info(headers=[("Host", HOST), ("Host", HOST)]),
        bucket_named=False,
    ),
    Case("Host garbled", 400, "InvalidArgument", "0900-00000203", raw=get_info(host="a b"), bucket_named=False),
    Case(
        "authority and Host differ",
        400,
        "InvalidArgument",
        "0900-00000204",
        raw=get_info(target="http://other.localhost/?bucketInfo"),
        bucket_named=False,
    ),
    Case(
        "bucket in host and path",
        400,
        "InvalidArgument",
        "0900-00000205",
        raw=get_info(target="/errors/?bucketInfo"),
        bucket_named=False,
    ),
    Case(
        "path of two parts",
        400,
        "InvalidArgument",
        "0900-00000206",
        raw=get_info(host="127.0.0.1", target="/a/b?bucketInfo"),
        bucket_named=False,
    ),
    Case(
        "query badly encoded",
        400,
        "InvalidArgument",
        "0900-00000207",
        raw={"method": "GET", "query": "prefix=%ff"},
        bucket_named=False,
    ),
    Case(
        "two operations",
        400,
        "InvalidArgument",
        "0900-00000208",
        raw={"method": "GET", "query": "policy&logging", "bucket": "errors"},
    ),
    Case(
        "operation without a bucket",
        400,
        "InvalidArgument",
        "0900-00000209",
        raw={"method": "POST", "query": "listVectorIndexes"},
        bucket_named=False,
    ),
    Case(
        "host outside every base domain",
        403,
        "AccessDenied",
        "0003-00001403",
        raw=get_info(host="errors-1234567890123456.example.org"),
        bucket_named=False,
    ),
    Case(
        "body cut off", 400, "IncompleteBody", "0900-00000303", raw=post("getVectorIndex", b'{"indexName":', sent="cut")
    ),
    Case(
        "body that stalls",
        400,
        "RequestTimeout",
        "0900-00000304",
        raw=post("getVectorIndex", b'{"indexName":', sent="stalled"),
    ),
    Case(
        "body does not match Content-MD5",
        400,
        "InvalidDigest",
        None,
        raw=post("getVectorIndex", {"indexName": "items"}, headers=[("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==")]),
    ),
    Case(
        "Content-MD5 garbled",
        400,
        "InvalidDigest",
        None,
        raw=post("getVectorIndex", {"indexName": "items"}, headers=[("Content-MD5", "not base64")]),
    ),
    Case(
        "body does not match its digest",
        400,
        "InvalidDigest",
        None,
        raw=post("getVectorIndex", {"indexName": "items"}, headers=[("x-oss-content-sha256", "0" * 64)]),
    ),
    Case(
        "wrong method for an operation",
        405,
        "MethodNotAllowed",
        None,
        raw={"method": "GET", "query": "putVectors", "bucket": "errors"},
    ),
    Case(
        "method no operation uses",
        405,
        "MethodNotAllowed",
        None,
        raw={"method": "PATCH", "query": "", "bucket": "errors"},
    ),
    Case("unknown operation", 400, "NotImplemented", None, raw=post("putVectorsNow", {})),
    Case("POST without an operation", 405, "MethodNotAllowed", None, raw=post("", {})),
    Case(
        "body over the limit",
        400,
        "EntityTooLarge",
        None,
        raw=post("putVectors", b"", headers=[("Content-Length", str(1 << 40))]),
    ),
    Case("POST without a length", 411, "MissingContentLength", None, raw=post("putVectors", b"", content_length=False)),
]

TABLE = AUTHENTICATION + BUCKETS + INDEXES + VECTORS + PROTOCOL

UNREACHABLE = {
    "0900-00000617": "needs a quota of vectors: crates/server/tests/limits.rs",
    "0900-00000618": "needs a quota of bytes: crates/server/tests/limits.rs",
    "0900-00000619": "needs a quota of vectors per index: crates/server/tests/limits.rs",
    "0900-00000706": "needs a rate of keys: crates/server/tests/limits.rs",
    "0900-00000707": "needs a rate of accounts: crates/server/tests/limits.rs",
    "0900-00000708": "needs a budget that a few failures use up: crates/server/tests/limits.rs",
    "0015-00000103": "BucketNameNotAvailable: a deleted name is free at once here",
    "0016-00000502": "MissingArgument: no operation has a required query argument",
    "0002-00000903": "needs users",
    "0003-00000801": "UserDisable: needs users",
    "0003-00000101": "needs policies",
    "0003-00000201": "needs policies",
    "0002-00000904": "needs users; crates/server/tests/access.rs",
    "0003-00000203": "needs users; crates/server/tests/access.rs",
    "0003-00000301": "needs sessions; crates/server/tests/access.rs",
    "0002-00000007": "SecurityTokenExpired: needs STS",
    "0900-00000103": "AccessKeyIdAndSecurityTokenNotMatch: needs STS",
    "0900-00000210": "a head beyond the limits is answered by the HTTP library",
    "0900-00000211": "a head that is no HTTP is answered by the HTTP library",
    "0900-00000506": "VectorIndexOperationConflict: needs a drop that was interrupted; the server's unit tests pin the answer",
    "0900-00000701": "QpsLimitExceeded: no rate limits by default; the server's unit tests pin the answer",
    "0900-00000702": "ServiceUnavailable: test_faults.py, unwritable folder",
    "0900-00000703": "ServiceUnavailable, outcome unknown: needs a store that loses replies; the server's unit tests pin the answer",
    "0900-00000704": "ServiceUnavailable, full: test_faults.py, full disk",
    "0900-00000705": "InternalError: would be a bug; the server's unit tests pin the answer",
}
"""ECs of docs/compatibility.md that no row provokes, each with the reason."""
