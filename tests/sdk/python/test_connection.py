"""The ways to reach a local server with the unchanged SDK, and what it does when the server fails."""

import asyncio
import pathlib
import socket
import socketserver
import threading
import time
from email.utils import parsedate_to_datetime

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import oss4, raw, sdk, settings

models = oss_vectors.models


def round_trip(client, bucket):
    """A call on the account host, one on the bucket host, one with a body."""
    assert bucket in str([b.name for b in client.list_vector_buckets(models.ListVectorBucketsRequest()).buckets])
    assert client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket)).status_code == 200
    assert client.list_vector_indexes(models.ListVectorIndexesRequest(bucket=bucket, max_results=5)).status_code == 200


def test_dict_proxy_with_the_default_endpoint(server, bucket):
    round_trip(sdk.by_proxy(server), bucket)


def test_dict_proxy_with_the_internal_endpoint(server, bucket):
    round_trip(sdk.by_proxy(server, use_internal_endpoint=True), bucket)


def test_dict_proxy_with_localhost(server, bucket):
    round_trip(sdk.by_proxy(server, endpoint=f"http://localhost:{server.port}"), bucket)


def test_proxy_from_the_environment(server, bucket, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    client = oss_vectors.Client(sdk.config(endpoint=f"http://{settings.BASE_DOMAIN}"))
    round_trip(client, bucket)


def test_custom_http_client(server, bucket):
    round_trip(sdk.by_custom_client(server), bucket)


def test_resolver_override(server, bucket, monkeypatch):
    """What a hosts file or a wildcard DNS name does."""
    real = socket.getaddrinfo

    def resolve(host, *rest, **more):
        return real("127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    client = oss_vectors.Client(sdk.config(endpoint=f"http://localhost:{server.port}"))
    round_trip(client, bucket)


def test_account_call_with_an_ip_endpoint(server, bucket):
    client = oss_vectors.Client(sdk.config(endpoint=server.url))
    assert client.list_vector_buckets(models.ListVectorBucketsRequest()).status_code == 200


def test_path_style_through_a_replaced_endpoint_provider(server, bucket, index):
    class PathStyle:
        def build_url(self, op_input):
            return f"{server.url}/{op_input.bucket + '/' if op_input.bucket else ''}"

    client = oss_vectors.Client(sdk.config(endpoint=server.url))
    client._client._options.endpoint_provider = PathStyle()
    round_trip(client, bucket)
    assert client.get_vector_index(models.GetVectorIndexRequest(bucket=bucket, index_name=index)).status_code == 200


def test_query_signature(server, bucket):
    """`auth_method="query"` puts the signature into the URL, as a presigned request."""
    client = sdk.by_proxy(server)
    assert (
        client.get_vector_bucket(models.GetVectorBucketRequest(bucket=bucket), auth_method="query").status_code == 200
    )
    assert client.list_vector_buckets(models.ListVectorBucketsRequest(), auth_method="query").status_code == 200


def test_user_agent_and_default_headers_do_no_harm(server, bucket):
    round_trip(
        sdk.by_proxy(server, user_agent="suite/1", default_request_headers={"x-custom": "1", "x-oss-note": "n"}), bucket
    )


def test_concurrent_use_from_asyncio(server, bucket, index):
    """The SDK has no asynchronous vectors client; its synchronous one is thread-safe under `to_thread`."""
    package = pathlib.Path(oss.__file__).parent / "aio"
    assert not [path for path in package.rglob("*.py") if "vector" in path.read_text().lower()], (
        "there is one now: test it"
    )
    client = sdk.by_proxy(server)

    async def put(i):
        vectors = [{"key": f"k{i}-{j}", "data": {"float32": [i, j, 1]}} for j in range(10)]
        request = models.PutVectorsRequest(bucket=bucket, index_name=index, vectors=vectors)
        return await asyncio.to_thread(client.put_vectors, request)

    async def everything():
        return await asyncio.gather(*(put(i) for i in range(20)))

    assert {result.status_code for result in asyncio.run(everything())} == {200}
    pages = client.list_vectors_paginator(limit=1000).iter_page(
        models.ListVectorsRequest(bucket=bucket, index_name=index)
    )
    assert sum(len(page.vectors) for page in pages) == 200


# --- retries ---


class Failing(socketserver.ThreadingTCPServer):
    """Cuts the first `failures` connections before answering, then passes bytes through to the real server."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port, failures, answer=b""):
        self.upstream, self.failures, self.answer, self.connections = port, failures, answer, 0
        super().__init__(("127.0.0.1", 0), Relay)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Relay(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.connections += 1
        if self.server.connections <= self.server.failures:
            self.request.recv(65536)
            self.request.sendall(self.server.answer)
            return
        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            back = threading.Thread(target=pump, args=(upstream, self.request), daemon=True)
            back.start()
            pump(self.request, upstream)
            back.join(10)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 22 Nov 2026 06:33:59 GMT\r\nContent-Type: application/json\r\n"
    b"Content-Length: 56\r\nConnection: close\r\n\r\n" + b'{"Error":{"Code":"ServiceUnavailable","Message":"busy"}}'
)


@pytest.mark.parametrize("answer", [b"", UNAVAILABLE], ids=["cut connection", "503"])
def test_put_vectors_is_retried_and_lands_once(server, client, bucket, index, answer):
    relay = Failing(server.port, failures=2, answer=answer)
    try:
        through = sdk.by_proxy(type("At", (), {"url": relay.url})())
        vectors = [{"key": "a", "data": {"float32": [1, 2, 3]}}]
        result = through.put_vectors(models.PutVectorsRequest(bucket=bucket, index_name=index, vectors=vectors))
        assert (result.status_code, relay.connections) == (200, 3)
    finally:
        relay.shutdown()
        relay.server_close()
    listing = client.list_vectors(models.ListVectorsRequest(bucket=bucket, index_name=index, return_data=True))
    assert listing.vectors == [{"key": "a", "data": {"float32": [1.0, 2.0, 3.0]}}]


def test_permanent_errors_are_not_retried(server, client, bucket):
    """A 4xx of ours must cost one request: counted by the connections and requests a pass-through relay sees."""
    relay = Failing(server.port, failures=0)
    try:
        through = sdk.by_proxy(type("At", (), {"url": relay.url})())
        for bad in (
            lambda: through.get_vector_index(models.GetVectorIndexRequest(bucket=bucket, index_name="none")),
            lambda: through.get_vector_bucket(models.GetVectorBucketRequest(bucket="sdk-suite-none")),
            lambda: through.put_vector_index(models.PutVectorIndexRequest(bucket=bucket, index_name="-")),
        ):
            with pytest.raises(Exception) as raised:
                bad()
            error = sdk.service_error(raised)
            assert error.status_code in (400, 404) and error.code != "BadRequest"
    finally:
        relay.shutdown()
        relay.server_close()


def test_clock_skew_is_reported_with_a_date_to_repair_it(server, bucket):
    """What SDKs that set their clock right from the answer need: this very code, and `Date`."""
    two_days_ago = oss4.timestamp(time.time() - 2 * 86400)
    answer = raw.Client(server.port).call("GET", "bucketInfo", bucket=bucket, stamp=two_days_ago)
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")
    assert abs(parsedate_to_datetime(answer.header("date")).timestamp() - time.time()) < 5
