"""What SDKs never send: request targets, Host, bodies, framing, signatures and pipelines byte by byte."""

import hashlib
import json
import re
import time

import pytest
from harness import oss4, settings
from harness.numbers import f32
from harness.raw import Closed, Connection, Request, md5
from harness.server import Server
from test_bucket import arn


def check_answer(answer):
    """What every answer carries, success or not."""
    assert re.fullmatch("[0-9A-F]{24}", answer.header("x-oss-request-id"))
    assert answer.header("date").endswith(" GMT")
    assert answer.header("server") == "AliyunOSS"
    assert int(answer.header("x-oss-server-time")) >= 0
    if answer.status >= 300 and answer.body:
        assert answer.header("content-type") == "application/json"
        assert answer.error["RequestId"] == answer.header("x-oss-request-id")
    return answer


def exchange(server, data: bytes, head_only=False):
    with Connection(server.port) as connection:
        connection.send(data)
        return check_answer(connection.receive(head_only))


def info(server, **more):
    request = Request("GET", more.pop("query", "bucketInfo"), **more)
    return exchange(server, request.bytes(server.port))


def is_info(answer, bucket):
    return answer.status == 200 and answer.json()["BucketInfo"]["Name"] == arn(bucket)


# --- where the bucket is ---


@pytest.mark.parametrize("style", ["virtual", "path", "absolute"])
@pytest.mark.parametrize("query", ["bucketInfo", "bucketInfo="])
def test_bucket_in_host_path_or_absolute_target(server, bucket, style, query):
    assert is_info(info(server, bucket=bucket, style=style, query=query), bucket)


@pytest.mark.parametrize(
    "domain",
    [
        settings.BASE_DOMAIN,
        f"{settings.REGION}-internal.oss-vectors.aliyuncs.com",
        "localhost",
        "localhost:9100",
        "LocalHost",
    ],
)
def test_every_base_domain(server, bucket, domain):
    assert is_info(info(server, bucket=bucket, host=f"{bucket}-{settings.ACCOUNT}.{domain}"), bucket)


def test_path_without_trailing_slash(server, bucket):
    assert is_info(info(server, bucket=bucket, host="127.0.0.1", target=f"/{bucket}?bucketInfo"), bucket)


def test_account_host_lists_buckets(server, bucket):
    for query in ("", "vector", "vector="):
        answer = exchange(server, Request("GET", query).bytes(server.port))
        assert answer.status == 200
        assert arn(bucket) in [b["Name"] for b in answer.json()["ListAllMyBucketsResult"]["Buckets"]]
        assert set(answer.json()) == {"ListAllMyBucketsResult"}


def refused(answer, *codes, status=400):
    assert answer.status == status, answer.body
    if codes:
        assert answer.code in codes, answer.body
    return answer


def test_absolute_target_with_another_host(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket)
    target = f"http://other-{settings.ACCOUNT}.{settings.BASE_DOMAIN}/?bucketInfo"
    request.target = target
    refused(exchange(server, request.bytes(server.port)))


def test_bucket_in_both_host_and_path(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, target=f"/{bucket}/?bucketInfo")
    refused(exchange(server, request.bytes(server.port)))


def test_missing_host(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, headers=[("Host", None)])
    refused(exchange(server, request.bytes(server.port)))


def test_duplicate_host(server, bucket):
    host = f"{bucket}-{settings.ACCOUNT}.{settings.BASE_DOMAIN}"
    request = Request("GET", "bucketInfo", bucket=bucket, headers=[("Host", host), ("Host", host)])
    refused(exchange(server, request.bytes(server.port)))


@pytest.mark.parametrize("host", ["", "-", "a b", "..", "[::1", "b-1.:x", "x" * 5000])
def test_nonsense_host(server, host):
    answer = exchange(server, Request("GET", "bucketInfo", host=host).bytes(server.port))
    assert 400 <= answer.status < 500


def test_another_accounts_host(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, key=oss4.Key(account="9999999999999999"))
    answer = exchange(server, request.bytes(server.port))
    assert answer.status in (403, 404)


@pytest.mark.parametrize("target", ["/a/b/?bucketInfo", "/a/b/c", "//", "/%00/", "/..%2f/?bucketInfo", "*", "x"])
def test_paths_that_name_no_bucket(server, target):
    with Connection(server.port) as connection:
        connection.send(Request("GET", "bucketInfo", target=target, host="127.0.0.1").bytes(server.port))
        answer = connection.receive()
        assert 400 <= answer.status < 500


# --- which operation ---


def test_unknown_operation(server, bucket):
    refused(exchange(server, Request("POST", "putVectorsNow", b"{}", bucket).bytes(server.port)), "NotImplemented")


def test_operation_keys_are_case_sensitive(server, bucket):
    refused(exchange(server, Request("POST", "PutVectors", b"{}", bucket).bytes(server.port)), "NotImplemented")


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "putVectors"),
        ("PUT", "queryVectors"),
        ("POST", "bucketInfo"),
        ("DELETE", "listVectors"),
        ("PATCH", "policy"),
        ("POST", "tagging"),
    ],
)
def test_wrong_method(server, bucket, method, query):
    refused(exchange(server, Request(method, query, b"", bucket).bytes(server.port)), "MethodNotAllowed", status=405)


@pytest.mark.parametrize(
    "query", ["putVectors&getVectors", "policy&logging", "bucketInfo&bucketInfo", "listVectors=&queryVectors="]
)
def test_several_operation_keys(server, bucket, query):
    method = "GET" if query.startswith(("policy", "bucketInfo")) else "POST"
    refused(exchange(server, Request(method, query, b"{}" if method == "POST" else b"", bucket).bytes(server.port)))


def test_bucket_operation_on_the_account_host(server):
    answer = exchange(server, Request("POST", "listVectorIndexes", b"{}").bytes(server.port))
    assert 400 <= answer.status < 500


def test_unrelated_query_keys_are_ignored_but_signed(server, bucket):
    assert is_info(info(server, bucket=bucket, query="bucketInfo&x-trace=42"), bucket)
    request = Request("GET", "bucketInfo&x-trace=42", bucket=bucket, target="/?bucketInfo&x-trace=43")
    refused(exchange(server, request.bytes(server.port)), "SignatureDoesNotMatch", status=403)


def test_query_order_does_not_matter_to_the_signature(server, bucket):
    request = Request("GET", "b=2&bucketInfo&a=1", bucket=bucket)
    assert is_info(exchange(server, request.bytes(server.port)), bucket)


# --- bodies and framing ---


def test_empty_body_of_list_indexes(server, bucket, index):
    for body in (b"", b"{}"):
        answer = exchange(server, Request("POST", "listVectorIndexes", body, bucket).bytes(server.port))
        assert [i["indexName"] for i in answer.json()["indexes"]] == [index]


def chunked(body: bytes, size: int) -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_chunked_body(server, bucket, index, size):
    body = json.dumps({"indexName": index}).encode()
    request = Request(
        "POST", "getVectorIndex", body, bucket, headers=[("Transfer-Encoding", "chunked")], content_length=False
    )
    answer = exchange(server, request.head(server.port) + chunked(body, size))
    assert answer.json()["index"]["indexName"] == index


def test_length_and_chunked_together(server, bucket, index):
    """Request smuggling: two framings may never both be believed."""
    body = json.dumps({"indexName": index}).encode()
    request = Request("POST", "getVectorIndex", body, bucket, headers=[("Transfer-Encoding", "chunked")])
    with Connection(server.port) as connection:
        connection.send(request.head(server.port) + chunked(body, 100) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        first = connection.receive()
        assert first.status in (200, 400)
        if (
            first.status == 200
        ):  # the length was ignored, as RFC 9112 6.3 allows: the connection must then end or go on in step
            try:
                assert connection.receive().status in (400, 403)
            except Closed as closed:
                assert closed.partial == b""


def test_two_different_lengths(server, bucket):
    request = Request(
        "POST", "getVectorIndex", b"{}", bucket, headers=[("Content-Length", "2"), ("Content-Length", "3")]
    )
    with Connection(server.port) as connection:
        connection.send(request.bytes(server.port))
        try:
            assert connection.receive().status == 400
        except Closed as closed:
            assert closed.partial == b""


def test_expect_continue(server, bucket, index):
    body = json.dumps({"indexName": index}).encode()
    request = Request("POST", "getVectorIndex", body, bucket, headers=[("Expect", "100-continue")])
    with Connection(server.port) as connection:
        connection.send(request.head(server.port))
        assert connection.receive().status == 100
        connection.send(body)
        assert connection.receive().json()["index"]["indexName"] == index


def test_expect_continue_is_not_granted_before_authentication(server, bucket):
    """A body is read only after the signature is good: a refused request gets its answer at once."""
    request = Request(
        "POST", "putVectors", b"x" * 100, bucket, key=oss4.Key(secret="wrong"), headers=[("Expect", "100-continue")]
    )
    with Connection(server.port) as connection:
        connection.send(request.head(server.port))
        assert connection.receive().code == "SignatureDoesNotMatch"


def test_oversize_body_is_refused_by_its_length(server, bucket):
    """At once: nobody waits for bytes that will not be taken."""
    request = Request("POST", "putVectors", b"", bucket, headers=[("Content-Length", str(1 << 33))])
    started = time.monotonic()
    refused(exchange(server, request.head(server.port)), "EntityTooLarge")
    assert time.monotonic() - started < 5


def test_oversize_chunked_body_is_cut(server, bucket):
    """No length announces it: the limit must bite while reading, with a bounded amount buffered."""
    request = Request(
        "POST",
        "putVectors",
        b"",
        bucket,
        headers=[("Transfer-Encoding", "chunked"), ("Content-MD5", None)],
        content_length=False,
    )
    megabyte = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    before = server.resident_kb()
    with Connection(server.port) as connection:
        connection.send(request.head(server.port))
        try:
            for _ in range(300):
                connection.send(megabyte)
            answer = connection.receive()
            assert (answer.status, answer.code) == (400, "EntityTooLarge")
        except (BrokenPipeError, ConnectionResetError, Closed):
            pass  # cut while we were still sending
    assert server.resident_kb() - before < 200 * 1024


def test_missing_length(server, bucket):
    answer = exchange(server, Request("POST", "putVectors", b"", bucket, content_length=False).bytes(server.port))
    refused(answer, "MissingContentLength", status=411)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "0x10", "99999999999999999999999", ""])
def test_garbled_length(server, bucket, length):
    request = Request("POST", "putVectors", b"", bucket, headers=[("Content-Length", length)])
    with Connection(server.port) as connection:
        connection.send(request.head(server.port))
        try:
            assert 400 <= connection.receive().status < 500
        except Closed as closed:
            assert closed.partial == b""


def test_slow_body_arrives(server, bucket, index):
    body = json.dumps({"indexName": index}).encode()
    request = Request("POST", "getVectorIndex", body, bucket)
    with Connection(server.port) as connection:
        connection.send(request.head(server.port))
        for byte in body:
            connection.send(bytes([byte]))
            time.sleep(0.01)
        assert connection.receive().json()["index"]["indexName"] == index


def test_cut_body_leaves_nothing(server, raw, bucket, index):
    body = json.dumps({"indexName": index, "vectors": [{"key": "half", "data": {"float32": [1, 2, 3]}}]}).encode()
    with Connection(server.port) as connection:
        request = Request("POST", "putVectors", body, bucket)
        connection.send(request.head(server.port) + body[:-1])
    assert raw.post("listVectors", {"indexName": index}, bucket).json() == {"vectors": []}


def put_body(index, dimension, count):
    """`count` rows of `dimension` numbers; the text is as long as a Python client would write it."""
    values = ",".join(["0.12345678901234567"] * dimension)
    rows = ",".join('{"key":"big-%d","data":{"float32":[%s]}}' % (i, values) for i in range(count))
    return ('{"indexName":"%s","vectors":[%s]}' % (index, rows)).encode()


def test_body_of_40_megabytes(server, raw, bucket, make_index):
    """The largest legal put: 500 x 4096 numbers."""
    index = make_index("wide", 4096)
    body = put_body(index, 4096, 500)
    assert len(body) > 40_000_000
    answer = check_answer(raw.call("POST", "putVectors", body, bucket))
    assert answer.status == 200, answer.body
    got = raw.post("getVectors", {"indexName": index, "keys": ["big-0", "big-499"], "returnData": True}, bucket).json()
    assert [v["key"] for v in got["vectors"]] == ["big-0", "big-499"]
    for vector in got["vectors"]:
        assert {f32(value) for value in vector["data"]["float32"]} == {f32(0.12345678901234567)}
    assert len(got["vectors"][0]["data"]["float32"]) == 4096


def test_body_of_40_megabytes_chunked(raw, server, bucket, make_index):
    index = make_index("wide", 4096)
    body = put_body(index, 4096, 500)
    request = Request(
        "POST", "putVectors", body, bucket, headers=[("Transfer-Encoding", "chunked")], content_length=False
    )
    answer = exchange(server, request.head(server.port) + chunked(body, 65536))
    assert answer.status == 200, answer.body
    listing = raw.post("listVectors", {"indexName": index, "maxResults": 1000}, bucket).json()
    assert len(listing["vectors"]) == 500


# --- integrity ---


def test_bad_content_md5(raw, bucket):
    for value in (md5(b"something else"), "AAAA", "!", ""):
        answer = check_answer(raw.post("listVectorIndexes", {}, bucket, headers=[("Content-MD5", value)]))
        if value:
            refused(answer, "InvalidDigest")


def test_no_content_md5_is_fine(raw, bucket):
    assert raw.post("listVectorIndexes", {}, bucket, content_md5=False).status == 200


def test_payload_digest(raw, bucket):
    good = hashlib.sha256(b"{}").hexdigest()
    assert raw.post("listVectorIndexes", b"{}", bucket, headers=[("x-oss-content-sha256", good)]).status == 200
    bad = hashlib.sha256(b"other").hexdigest()
    refused(raw.post("listVectorIndexes", b"{}", bucket, headers=[("x-oss-content-sha256", bad)]), "InvalidDigest")
    refused(
        raw.post("listVectorIndexes", b"{}", bucket, headers=[("x-oss-content-sha256", "nonsense")]), "InvalidArgument"
    )


def test_payload_digest_is_optional(raw, bucket):
    assert raw.post("listVectorIndexes", b"{}", bucket, headers=[("x-oss-content-sha256", None)]).status == 200


# --- headers ---


def test_header_names_in_any_case(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket)
    for change in (str.upper, str.lower, str.title):
        lines = [f"GET {request.request_target(server.port)} HTTP/1.1"]
        lines += [f"{change(name)}: {value}" for name, value in request.final_headers(server.port)]
        assert is_info(exchange(server, ("\r\n".join(lines) + "\r\n\r\n").encode()), bucket)


def test_space_around_signed_values(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, headers=[("x-oss-note", "  padded \t")])
    assert is_info(exchange(server, request.bytes(server.port)), bucket)


def test_space_after_commas_in_authorization(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket)
    stamp = oss4.timestamp()
    headers = [("Host", request.authority(server.port)), ("x-oss-date", stamp)]
    text = oss4.authorization(request.key, "GET", bucket, "bucketInfo", headers, stamp).replace(",", ", ")
    again = Request(
        "GET",
        "bucketInfo",
        bucket=bucket,
        stamp=stamp,
        content_md5=False,
        headers=[("x-oss-content-sha256", None)],
        authorization=text,
    )
    assert is_info(exchange(server, again.bytes(server.port)), bucket)


def test_signed_host(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, additional=("host", "user-agent"))
    assert is_info(exchange(server, request.bytes(server.port)), bucket)
    tampered = request.bytes(server.port).replace(b"raw-socket/1", b"raw-socket/2")
    refused(exchange(server, tampered), "SignatureDoesNotMatch", status=403)


def test_unsigned_header_may_change_signed_may_not(server, bucket):
    plain = Request("GET", "bucketInfo", bucket=bucket).bytes(server.port)
    assert is_info(exchange(server, plain.replace(b"raw-socket/1", b"raw-socket/2")), bucket)
    signed = Request("GET", "bucketInfo", bucket=bucket, headers=[("x-oss-note", "one")]).bytes(server.port)
    refused(
        exchange(server, signed.replace(b"x-oss-note: one", b"x-oss-note: two")), "SignatureDoesNotMatch", status=403
    )


@pytest.mark.parametrize("count", [200, 2000])
def test_many_headers(server, bucket, count):
    request = Request("GET", "bucketInfo", bucket=bucket, headers=[(f"x-filler-{i}", "v") for i in range(count)])
    with Connection(server.port) as connection:
        connection.send(request.bytes(server.port))
        try:
            assert connection.receive().status in (200, 400, 431)
        except Closed as closed:
            assert closed.partial == b""


def test_huge_header_is_refused(server, bucket):
    request = Request("GET", "bucketInfo", bucket=bucket, headers=[("x-filler", "v" * 1_000_000)])
    with Connection(server.port) as connection:
        try:
            connection.send(request.bytes(server.port))
            assert 400 <= connection.receive().status < 500
        except (Closed, BrokenPipeError, ConnectionResetError):
            pass
    assert server.alive()


def test_bytes_that_are_not_http(server):
    for junk in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n",
        b"\x00" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with Connection(server.port, timeout=5) as connection:
            connection.send(junk)
            connection.socket.shutdown(1)
            try:
                assert 400 <= connection.receive().status < 600
            except (Closed, TimeoutError):
                pass
    assert server.healthy()


def test_head_has_no_body(server, bucket):
    for request in (
        Request("HEAD", "bucketInfo", bucket=bucket),
        Request("HEAD", "", signed=False),
        Request("HEAD", "bucketInfo", bucket="sdk-suite-none"),
    ):
        with Connection(server.port) as connection:
            connection.send(request.bytes(server.port))
            answer = connection.receive(head_only=True)
            assert 400 <= answer.status < 500
            # whatever follows would be read as the next answer: the connection must stay in step
            good = Request("GET", "bucketInfo", bucket=bucket)
            if (answer.header("connection") or "").lower() != "close":
                connection.send(good.bytes(server.port))
                assert is_info(connection.receive(), bucket)


# --- presigned URLs ---


def presigned(server, bucket, query="bucketInfo", method="GET", body=b"", key=None, **more):
    key = key or oss4.Key()
    signed = oss4.presigned_query(key, method, bucket, query, **more)
    request = Request(method, signed, body, bucket, signed=False, content_md5=False)
    return exchange(server, request.bytes(server.port))


def test_presigned(server, bucket, index):
    assert is_info(presigned(server, bucket), bucket)
    assert is_info(presigned(server, bucket, expires="604800"), bucket)
    answer = presigned(
        server,
        bucket,
        "getVectorIndex",
        "POST",
        json.dumps({"indexName": index}).encode(),
        headers=[("Content-Type", "application/json")],
    )
    assert answer.json()["index"]["indexName"] == index


def test_presigned_in_path_style(server, bucket):
    query = oss4.presigned_query(oss4.Key(), "GET", bucket, "bucketInfo")
    request = Request("GET", query, bucket=bucket, style="path", signed=False, content_md5=False)
    assert is_info(exchange(server, request.bytes(server.port)), bucket)


def test_presigned_list_buckets(server):
    assert presigned(server, None, query="").status == 200


def test_presigned_with_signed_host(server, bucket):
    host = f"{bucket}-{settings.ACCOUNT}.{settings.BASE_DOMAIN}"
    assert is_info(presigned(server, bucket, headers=[("host", host)], additional=("host",)), bucket)


def test_presigned_expired(server, bucket):
    answer = presigned(server, bucket, stamp=oss4.timestamp(time.time() - 700), expires="600")
    refused(answer, "AccessDenied", status=403)
    assert answer.error["EC"] == "0002-00000236"


def test_presigned_in_the_future(server, bucket):
    assert is_info(presigned(server, bucket, stamp=oss4.timestamp(time.time() + 300)), bucket)
    refused(
        presigned(server, bucket, stamp=oss4.timestamp(time.time() + 3600)),
        "AccessDenied",
        "RequestTimeTooSkewed",
        status=403,
    )


@pytest.mark.parametrize("expires", ["0", "604801", "-1", "x", ""])
def test_presigned_expires_out_of_range(server, bucket, expires):
    answer = presigned(server, bucket, expires=expires)
    assert answer.status in (400, 403) and answer.code in ("AccessDenied", "InvalidArgument")


def test_presigned_for_something_else(server, bucket):
    query = oss4.presigned_query(oss4.Key(), "GET", bucket, "policy")
    for method, changed, target_bucket in (
        ("GET", query.replace("policy", "logging", 1), bucket),
        ("DELETE", query, bucket),
        ("GET", query.replace("x-oss-expires=600", "x-oss-expires=6000"), bucket),
        ("GET", query, "sdk-suite-other"),
        ("GET", query + "&max-keys=1", bucket),
        ("GET", query[:-1] + ("0" if query[-1] != "0" else "1"), bucket),
    ):
        request = Request(method, changed, bucket=target_bucket, signed=False, content_md5=False)
        refused(exchange(server, request.bytes(server.port)), "SignatureDoesNotMatch", status=403)


def test_repeated_signature_parameters(server, bucket):
    query = oss4.presigned_query(oss4.Key(), "GET", bucket, "bucketInfo")
    request = Request("GET", query + "&x-oss-expires=600000", bucket=bucket, signed=False, content_md5=False)
    answer = exchange(server, request.bytes(server.port))
    assert answer.status in (400, 403)


def test_error_masks_the_security_token(server, bucket):
    token = "CAIS-secret-token-value"
    request = Request(
        "GET", "bucketInfo", bucket=bucket, key=oss4.Key(secret="wrong"), headers=[("x-oss-security-token", token)]
    )
    answer = exchange(server, request.bytes(server.port))
    assert answer.status == 403
    assert token.encode() not in answer.body


# --- connections ---


def test_keep_alive_after_errors(server, bucket, index):
    with Connection(server.port) as connection:
        for request, status in (
            (Request("GET", "bucketInfo", bucket=bucket), 200),
            (Request("GET", "bucketInfo", bucket="sdk-suite-none"), 404),
            (Request("POST", "getVectors", b"{", bucket), 400),
            (Request("GET", "bucketInfo", bucket=bucket, key=oss4.Key(secret="wrong")), 403),
            (Request("POST", "putVectors", b'{"indexName":"nope","vectors":[]}', bucket), None),
            (Request("GET", "bucketInfo", bucket=bucket), 200),
        ):
            connection.send(request.bytes(server.port))
            answer = check_answer(connection.receive())
            assert status is None or answer.status == status
            assert (answer.header("connection") or "keep-alive").lower() == "keep-alive"


def test_refused_request_with_an_unread_body_does_not_poison_the_connection(server, bucket):
    """The signature is wrong, so the body is not wanted; it must still not be read as the next request."""
    body = Request("DELETE", "", bucket=bucket).bytes(server.port) * 20
    bad = Request("POST", "putVectors", body, bucket, key=oss4.Key(secret="wrong"))
    with Connection(server.port) as connection:
        connection.send(bad.bytes(server.port))
        assert connection.receive().code == "SignatureDoesNotMatch"
        try:
            connection.send(Request("GET", "bucketInfo", bucket=bucket).bytes(server.port))
            assert is_info(connection.receive(), bucket)
        except (Closed, BrokenPipeError, ConnectionResetError):
            pass  # closing is the other right answer
    assert is_info(info(server, bucket=bucket), bucket)


def test_pipelined_requests_are_answered_in_order(server, bucket, index):
    wanted = []
    data = b""
    for i in range(50):
        if i % 3 == 0:
            data += Request("GET", "bucketInfo", bucket=bucket).bytes(server.port)
            wanted.append("BucketInfo")
        elif i % 3 == 1:
            data += Request("POST", "getVectorIndex", json.dumps({"indexName": index}).encode(), bucket).bytes(
                server.port
            )
            wanted.append("index")
        else:
            data += Request("GET", "bucketInfo", bucket="sdk-suite-none").bytes(server.port)
            wanted.append("Error")
    with Connection(server.port) as connection:
        connection.send(data)
        got = [next(iter(connection.receive().json())) for _ in wanted]
    assert got == wanted


def test_connection_close_is_honoured(server, bucket):
    with Connection(server.port) as connection:
        connection.send(
            Request("GET", "bucketInfo", bucket=bucket, headers=[("Connection", "close")]).bytes(server.port)
        )
        assert is_info(connection.receive(), bucket)
        assert connection.ended()


def test_http_1_0(server, bucket):
    data = Request("GET", "bucketInfo", bucket=bucket).bytes(server.port).replace(b" HTTP/1.1", b" HTTP/1.0", 1)
    with Connection(server.port) as connection:
        connection.send(data)
        connection.buffer = b""
        while b"\r\n\r\n" not in connection.buffer:
            connection._more()
        assert re.match(rb"HTTP/1\.[01] 200 ", connection.buffer)


def test_hundred_idle_connections_do_not_block_others(server, bucket):
    idle = [Connection(server.port) for _ in range(100)]
    try:
        for connection in idle[:50]:
            connection.send(b"POST /?putVectors HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n")
        assert is_info(info(server, bucket=bucket), bucket)
    finally:
        for connection in idle:
            connection.close()


def test_slow_heads_and_bodies_time_out(tmp_path):
    """Connections that never finish are ended by the server, with the limits turned down for the test."""
    environment = {"VECTORBUCKET_LIMITS_HEADER_TIMEOUT": "1s", "VECTORBUCKET_LIMITS_BODY_TIMEOUT": "1s"}
    with Server(tmp_path / "slow", environment) as server:
        body = Request("POST", "listVectorIndexes", b"{}", "slow-bucket", content_length=True)
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n", body.head(server.port) + b"{"):
            with Connection(server.port, timeout=20) as connection:
                connection.send(data)
                started = time.monotonic()
                try:
                    assert connection.receive().status in (400, 404, 408)
                except Closed:
                    pass
                assert time.monotonic() - started < 15


# --- signatures known in advance ---


def test_own_signer_reproduces_the_published_vectors():
    """The suite's signer against the known answers: without this, both sides could be wrong together."""
    key = oss4.Key("LTAI5tExampleAccessKey00", "ExampleSecretKey0000000000000000", "cn-hangzhou", "1234567890123456")
    stamp = "20250917T083045Z"
    common = [("x-oss-date", stamp), ("x-oss-content-sha256", oss4.UNSIGNED)]
    host = "my-vec-bucket-1234567890123456.cn-hangzhou.oss-vectors.aliyuncs.com"
    json_headers = [("Content-Type", "application/json"), ("Content-MD5", md5(b'{"indexName": "idx1"}')), *common]
    empty = [("Content-MD5", md5(b"")), *common]
    for method, bucket, query, headers, additional, expected in (
        (
            "POST",
            "my-vec-bucket",
            "getVectorIndex=",
            json_headers,
            (),
            "2be92b2fe57e0d597b062eb68606d231ce49daa886f0d35521ecd25d1e5ac7f5",
        ),
        (
            "GET",
            None,
            "max-keys=10&prefix=my-%2Fp",
            [("Content-Type", "application/octet-stream"), *empty],
            (),
            "8291c6eb8ccea4bb4ca02bc8e057b1133161347a9b92e8ebaeb93a99961ae7bc",
        ),
        (
            "GET",
            "my-vec-bucket",
            "policy=",
            empty,
            (),
            "df51c86b9f0af26bd18cab4b33ba13cd1b701fc6afff2d631bc41c1062a9a786",
        ),
        (
            "POST",
            "my-vec-bucket",
            "getVectorIndex",
            [*json_headers, ("Host", host), ("User-Agent", "probe/1.0")],
            ("host", "user-agent"),
            "d309bf31a8b28e49bfca06f27b53eaac1b49a0a9c6be024ff7a56f8219290fc8",
        ),
    ):
        assert oss4.authorization(key, method, bucket, query, headers, stamp, additional).endswith(
            f"Signature={expected}"
        )
    query = oss4.presigned_query(key, "GET", "my-vec-bucket", "bucketInfo", stamp=stamp)
    assert query.endswith("&x-oss-signature=9e373332681fe31e03e905510f23fcfaea4aaebbaefae055f6b3a8baf2f5954e")
