"""The official SDK over TLS: a server with a certificate for its endpoint and every name below it, from a CA made here."""

import shutil
import socket
import subprocess
import time

import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from harness import sdk
from harness.server import Server

models = oss_vectors.models
DOMAIN = "vectors.test"

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def until(server, line, seconds=20):
    """Returns once the metrics hold this."""
    deadline = time.monotonic() + seconds
    while line not in server.admin("/metrics")[1]:
        assert time.monotonic() < deadline, f"never in the metrics: {line}"
        time.sleep(0.01)


def issue(folder, name, domain):
    """A certificate for a domain and every name directly below it; the commands of docs/operations.md."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=vectorbucket")
    (folder / "san.txt").write_text(f"subjectAltName=DNS:{domain},DNS:*.{domain}")
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", *authority, "-days", "2", "-extfile", "san.txt", "-out", f"{name}.pem"
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with a CA, a certificate for DOMAIN, and one for another domain."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    is_ca = ["-addext", "basicConstraints=critical,CA:TRUE"]
    openssl(
        folder, "req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test CA", *is_ca
    )
    issue(folder, "server", DOMAIN)
    issue(folder, "other", "elsewhere.test")
    return folder


@pytest.fixture(scope="module")
def tls_server(certificates, tmp_path_factory):
    environment = {
        "VECTORBUCKET_ENDPOINT": DOMAIN,
        "VECTORBUCKET_TLS_CERTIFICATE_FILE": str(certificates / "server.pem"),
        "VECTORBUCKET_TLS_KEY_FILE": str(certificates / "server.key"),
        "VECTORBUCKET_TLS_CHECK_INTERVAL": "100ms",
    }
    with Server(tmp_path_factory.mktemp("tls"), environment) as running:
        yield running
        assert running.alive(), running.log()[-4000:]
    assert running.panics() == []


@pytest.fixture
def client(tls_server, certificates, monkeypatch):
    """The SDK as it is, with DNS for the domain and the CA as trust store."""
    real = socket.getaddrinfo

    def resolve(host, *rest, **more):
        return real("127.0.0.1" if str(host).endswith(DOMAIN) else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "ca.pem"))
    return oss_vectors.Client(sdk.config(endpoint=f"https://{DOMAIN}:{tls_server.port}", retry_max_attempts=1))


def test_flow(client):
    """Account host and bucket host, small and large bodies, both ways."""
    client.put_vector_bucket(models.PutVectorBucketRequest(bucket="over-tls"))
    names = [bucket.name for bucket in client.list_vector_buckets(models.ListVectorBucketsRequest()).buckets]
    assert any("over-tls" in name for name in names)
    client.put_vector_index(
        models.PutVectorIndexRequest(
            bucket="over-tls", index_name="items", data_type="float32", dimension=512, distance_metric="euclidean"
        )
    )
    vectors = [{"key": str(at), "data": {"float32": [float(at)] * 512}} for at in range(300)]
    client.put_vectors(models.PutVectorsRequest(bucket="over-tls", index_name="items", vectors=vectors))
    got = client.get_vectors(
        models.GetVectorsRequest(bucket="over-tls", index_name="items", keys=["7"], return_data=True)
    )
    assert got.vectors[0]["data"]["float32"] == [7.0] * 512
    found = client.query_vectors(
        models.QueryVectorsRequest(
            bucket="over-tls", index_name="items", query_vector={"float32": [41.2] * 512}, top_k=2
        )
    )
    assert [vector["key"] for vector in found.vectors] == ["41", "42"]
    listed = client.list_vectors(
        models.ListVectorsRequest(bucket="over-tls", index_name="items", max_results=300, return_data=True)
    )
    assert len(listed.vectors) == 300


def test_condition_on_tls(client):
    """A policy that denies the owner what does not come over TLS lets the SDK in."""
    client.put_vector_bucket(models.PutVectorBucketRequest(bucket="only-tls"))
    policy = (
        '{"Version":"1","Statement":[{"Effect":"Deny","Principal":["*"],"Action":"oss:ListVectorIndexes",'
        '"Resource":"*","Condition":{"Bool":{"acs:SecureTransport":"false"}}}]}'
    )
    client.put_bucket_policy(models.PutBucketPolicyRequest(bucket="only-tls", body=policy))
    assert client.list_vector_indexes(models.ListVectorIndexesRequest(bucket="only-tls")).status_code == 200


def test_a_certificate_of_another_domain_or_ca_is_refused(client, tls_server, certificates, monkeypatch):
    """The SDK checks, and a renewal is taken without a restart: the wrong certificate, then the right one again."""
    right = {name: (certificates / name).read_bytes() for name in ["server.pem", "server.key"]}
    try:
        for name in ["pem", "key"]:
            (certificates / f"server.{name}").write_bytes((certificates / f"other.{name}").read_bytes())
        replaced = 'vectorbucket_tls_certificates_read_total{listener="data",outcome="replaced"} '
        until(tls_server, f"{replaced}1")
        fresh = oss_vectors.Client(sdk.config(endpoint=f"https://{DOMAIN}:{tls_server.port}", retry_max_attempts=1))
        with pytest.raises(Exception, match="(?i)certificate|hostname"):
            fresh.list_vector_buckets(models.ListVectorBucketsRequest())
    finally:
        for name, contents in right.items():
            (certificates / name).write_bytes(contents)
    until(tls_server, f"{replaced}2")
    fresh = oss_vectors.Client(sdk.config(endpoint=f"https://{DOMAIN}:{tls_server.port}", retry_max_attempts=1))
    assert fresh.list_vector_buckets(models.ListVectorBucketsRequest()).status_code == 200
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    stranger = oss_vectors.Client(sdk.config(endpoint=f"https://{DOMAIN}:{tls_server.port}", retry_max_attempts=1))
    with pytest.raises(Exception, match="(?i)certificate"):
        stranger.list_vector_buckets(models.ListVectorBucketsRequest())
