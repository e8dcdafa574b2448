"""Temporary credentials from `vectorbucket sts assume-role`, used by the official SDK's credentials providers.

A user of the running service assumes a role at its admin address; what the command prints is what a provider of the SDK
returns. Expiry and revocation are seen by the same client.
"""

import json
import os
import subprocess
import threading
import time

import alibabacloud_oss_v2 as oss
import pytest
from alibabacloud_oss_v2.vectors import models
from harness import sdk, settings
from harness.server import Server

RING = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ROOT = (settings.ACCESS_KEY_ID, settings.ACCESS_KEY_SECRET)
ROLE = f"acs:ram::{settings.ACCOUNT}:role/reader"
READS = ["oss:GetVectorBucket", "oss:ListVectors", "oss:GetVectors", "oss:QueryVectors"]


def policy(actions, **members):
    return {"Version": "1", "Statement": [{"Effect": "Allow", "Action": actions, **members}]}


class Place:
    """A running service with a bucket, a user, and a role that trusts it."""

    def __init__(self, folder):
        self.folder = folder
        self.server = Server(folder / "server", {"VECTORBUCKET_KEY_RING": RING}).start()
        self.root = sdk.by_proxy(self.server)
        self.root.put_vector_bucket(models.PutVectorBucketRequest(bucket="vec"))
        shape = {"data_type": "float32", "dimension": 2, "distance_metric": "euclidean"}
        self.root.put_vector_index(models.PutVectorIndexRequest(bucket="vec", index_name="docs", **shape))
        rows = [{"key": f"k{n}", "data": {"float32": [float(n), 1.0]}} for n in range(3)]
        self.root.put_vectors(models.PutVectorsRequest(bucket="vec", index_name="docs", vectors=rows))
        self.admin("user", "create", "alice")
        made = self.admin("key", "create", "alice")
        self.alice = (made["AccessKeyId"], made["AccessKeySecret"])
        may = self.file("may.json", policy(["sts:AssumeRole"], Resource=[f"acs:ram:*:*:{ROLE.rsplit(':', 1)[1]}"]))
        self.admin("policy", "put-inline", "may", may, "--user", "alice")
        principal = {"RAM": [f"acs:ram::{settings.ACCOUNT}:user/alice"]}
        trust = self.file("trust.json", policy("sts:AssumeRole", Principal=principal))
        self.admin("role", "create", "reader", trust)
        reads = self.file("reads.json", policy(READS, Resource=["*"]))
        self.admin("policy", "put-inline", "reads", reads, "--role", "reader")

    def file(self, name, document):
        path = self.folder / name
        path.write_text(json.dumps(document))
        return str(path)

    def run(self, keys, *arguments):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("VECTORBUCKET_", "OSS_"))} | {
            "VECTORBUCKET_ADMIN_URL": f"http://127.0.0.1:{self.server.admin_port}",
            "OSS_ACCESS_KEY_ID": keys[0],
            "OSS_ACCESS_KEY_SECRET": keys[1],
        }
        return subprocess.run([settings.binary(), *arguments], env=environment, capture_output=True, text=True)

    def admin(self, *arguments):
        done = self.run(ROOT, "admin", *arguments, "--json")
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def assume(self, *extra, keys=None, name="nightly"):
        words = ["sts", "assume-role", "--role-arn", ROLE, "--session-name", name, *extra]
        return self.run(keys or self.alice, *words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("sts"))
    yield place
    place.server.stop()
    assert not place.server.panics()


class CommandProvider(oss.credentials.CredentialsProvider):
    """What the Go SDK's process provider does: runs the command when there are no credentials that still last."""

    def __init__(self, place, *extra):
        self.place, self.extra, self.runs = place, extra, 0
        self.lock, self.held, self.ends = threading.Lock(), None, 0.0

    def get_credentials(self):
        with self.lock:
            if time.time() > self.ends - 60:
                done = self.place.assume(*self.extra)
                assert done.returncode == 0, done.stderr
                told = json.loads(done.stdout)
                assert sorted(told) == ["AccessKeyId", "AccessKeySecret", "Expiration", "SecurityToken"]
                ends = time.strptime(told["Expiration"], "%Y-%m-%dT%H:%M:%SZ")
                self.ends, self.runs = time.mktime(ends) - time.timezone, self.runs + 1
                self.held = oss.credentials.Credentials(
                    told["AccessKeyId"], told["AccessKeySecret"], told["SecurityToken"]
                )
            return self.held


def client(place, provider):
    return sdk.by_proxy(place.server, credentials_provider=provider)


def listed(client):
    return client.list_vectors(models.ListVectorsRequest(bucket="vec", index_name="docs")).vectors


def refused(call):
    """Code of the service's refusal."""
    with pytest.raises(oss.exceptions.OperationError) as caught:
        call()
    return caught.value.unwrap().code


def test_a_provider_that_runs_the_command(place):
    provider = CommandProvider(place, "--duration-seconds", "900")
    session = client(place, provider)
    assert len(listed(session)) == 3
    found = session.query_vectors(
        models.QueryVectorsRequest(
            bucket="vec", index_name="docs", query_vector={"float32": [1.0, 1.0]}, top_k=1
        )
    )
    assert found.vectors[0]["key"] == "k1"
    assert provider.runs == 1
    delete = models.DeleteVectorsRequest(bucket="vec", index_name="docs", keys=["k0"])
    assert refused(lambda: session.delete_vectors(delete)) == "AccessDenied"


def test_a_static_provider_with_the_token(place):
    told = json.loads(place.assume(name="static").stdout)
    provider = oss.credentials.StaticCredentialsProvider(
        told["AccessKeyId"], told["AccessKeySecret"], told["SecurityToken"]
    )
    assert len(listed(client(place, provider))) == 3
    bare = oss.credentials.StaticCredentialsProvider(told["AccessKeyId"], told["AccessKeySecret"])
    assert refused(lambda: listed(client(place, bare))) == "AccessDenied"


def test_a_session_policy_narrows(place):
    narrow = place.file("narrow.json", policy(["oss:GetVectors"], Resource=["*"]))
    session = client(place, CommandProvider(place, "--policy-file", narrow))
    got = session.get_vectors(models.GetVectorsRequest(bucket="vec", index_name="docs", keys=["k1"]))
    assert len(got.vectors) == 1
    assert refused(lambda: listed(session)) == "AccessDenied"


def test_durations_and_trust_are_checked(place):
    for seconds in ("899", "3601"):
        done = place.assume("--duration-seconds", seconds)
        assert done.returncode == 1 and "InvalidDuration" in done.stderr
    done = place.assume(keys=ROOT)
    assert done.returncode == 1 and "NoPermission" in done.stderr


def test_a_revoked_session_ends_and_a_new_one_works(place):
    session = client(place, CommandProvider(place))
    assert listed(session)
    place.admin("session", "revoke", "--role", "reader")
    assert refused(lambda: listed(session)) == "InvalidSecurityToken"
    assert len(listed(client(place, CommandProvider(place)))) == 3
    place.admin("user", "disable", "alice")
    assert place.assume().returncode == 1
    place.admin("user", "enable", "alice")
