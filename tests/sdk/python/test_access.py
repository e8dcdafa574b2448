"""The decision table of the policy language, decided by a running server for clients of the official SDK.

`crates/policy/tests/decisions/*.json` says who may do what under which policies. Users, roles and keys are made with
`vectorbucket admin` while the server is down; then every case without circumstances of its own is asked over the wire.
"Allowed" means: answered with anything but AccessDenied.
"""

import json
import os
import subprocess

import alibabacloud_oss_v2 as oss
import alibabacloud_oss_v2.vectors as oss_vectors
import pytest
from alibabacloud_oss_v2.vectors import models
from harness import sdk, settings
from harness.server import Server

TABLE = settings.ROOT / "crates/policy/tests/decisions"
OTHER = "6543210987654321"
OTHER_KEY = ("LTAI5tSdkSuiteOtherRoot1", "SdkSuiteOtherSecret00000000001")
RING = "one:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
ACCOUNTS = {"A": settings.ACCOUNT, "B": OTHER}
WORLD = json.loads((TABLE / "world.json").read_text())
FILES = ("basics", "bucket-policies", "resources", "sessions")
DECISIONS_MIN = 250

WHERE = {"query_vector": {"float32": [1.0, 2.0]}, "top_k": 1}
SHAPE = {"data_type": "float32", "dimension": 2, "distance_metric": "euclidean"}
ROWS = [{"key": "k", "data": {"float32": [1.0, 2.0]}}]

CALLS = {
    "ListVectorBuckets": lambda c, b, i: c.list_vector_buckets(models.ListVectorBucketsRequest()),
    "PutVectorBucket": lambda c, b, i: c.put_vector_bucket(models.PutVectorBucketRequest(bucket=b)),
    "GetVectorBucket": lambda c, b, i: c.get_vector_bucket(models.GetVectorBucketRequest(bucket=b)),
    "GetBucketPolicy": lambda c, b, i: c.get_bucket_policy(models.GetBucketPolicyRequest(bucket=b)),
    # A document of another version is refused, but only to those who may put one: the policy stays.
    "PutBucketPolicy": lambda c, b, i: c.put_bucket_policy(
        models.PutBucketPolicyRequest(bucket=b, body='{"Version":"2","Statement":[]}')
    ),
    "GetBucketLogging": lambda c, b, i: c.get_bucket_logging(models.GetBucketLoggingRequest(bucket=b)),
    "DeleteBucketLogging": lambda c, b, i: c.delete_bucket_logging(models.DeleteBucketLoggingRequest(bucket=b)),
    "ListVectorIndexes": lambda c, b, i: c.list_vector_indexes(models.ListVectorIndexesRequest(bucket=b)),
    "PutVectorIndex": lambda c, b, i: c.put_vector_index(
        models.PutVectorIndexRequest(bucket=b, index_name=i, **SHAPE)
    ),
    "GetVectorIndex": lambda c, b, i: c.get_vector_index(models.GetVectorIndexRequest(bucket=b, index_name=i)),
    "PutVectors": lambda c, b, i: c.put_vectors(models.PutVectorsRequest(bucket=b, index_name=i, vectors=ROWS)),
    "GetVectors": lambda c, b, i: c.get_vectors(models.GetVectorsRequest(bucket=b, index_name=i, keys=["k"])),
    "ListVectors": lambda c, b, i: c.list_vectors(models.ListVectorsRequest(bucket=b, index_name=i)),
    "QueryVectors": lambda c, b, i: c.query_vectors(models.QueryVectorsRequest(bucket=b, index_name=i, **WHERE)),
    "DeleteVectors": lambda c, b, i: c.delete_vectors(
        models.DeleteVectorsRequest(bucket=b, index_name=i, keys=["k"])
    ),
    # These take something away that other cases need, and so come last.
    "DeleteVectorBucket": lambda c, b, i: c.delete_vector_bucket(models.DeleteVectorBucketRequest(bucket=b)),
    "DeleteVectorIndex": lambda c, b, i: c.delete_vector_index(
        models.DeleteVectorIndexRequest(bucket=b, index_name=i)
    ),
    "DeleteBucketPolicy": lambda c, b, i: c.delete_bucket_policy(models.DeleteBucketPolicyRequest(bucket=b)),
}
ORDER = list(CALLS)


class Place:
    """A server, and its identities while it is down."""

    def __init__(self, folder):
        self.folder = folder
        roots = folder / "roots.toml"
        roots.write_text(
            f'[[account]]\nid = "{OTHER}"\nkeys = [{{ id = "{OTHER_KEY[0]}", secret = "{OTHER_KEY[1]}" }}]\n'
        )
        roots.chmod(0o600)
        self.environment = {"VECTORBUCKET_KEY_RING": RING, "VECTORBUCKET_ROOT_CREDENTIALS_FILE": str(roots)}
        self.server = Server(folder / "server", self.environment)
        self.keys, self.ids, self.inline = {}, dict(ACCOUNTS), []
        with self.server:
            pass
        for name, entry in WORLD["users"].items():
            account = entry["account"]
            self.admin(account, "user", "create", name)
            made = self.admin(account, "key", "create", name)
            self.keys[name] = (made["AccessKeyId"], made["AccessKeySecret"], None)
        for name, entry in WORLD["roles"].items():
            root = {"RAM": [f"acs:ram::{ACCOUNTS[entry['account']]}:root"]}
            trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": root}
            trust = self.file("trust.json", {"Version": "1", "Statement": [trust]})
            self.admin(entry["account"], "role", "create", name, trust)
        for account in ACCOUNTS:
            for noun in ("user", "role"):
                for row in self.admin(account, noun, "list"):
                    self.ids[row[noun]] = row["id"]
        self.keys["root:A"] = (settings.ACCESS_KEY_ID, settings.ACCESS_KEY_SECRET, None)
        self.keys["root:B"] = (*OTHER_KEY, None)

    def admin(self, account, *arguments):
        """The result of an admin command on an account."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("VECTORBUCKET_")} | {
            "VECTORBUCKET_STORE": str(self.server.data),
            "VECTORBUCKET_KEY_RING": RING,
            "VECTORBUCKET_ACCOUNT_ID": ACCOUNTS[account],
            "VECTORBUCKET_ROOT_ACCESS_KEY_ID": settings.ACCESS_KEY_ID if account == "A" else OTHER_KEY[0],
            "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET": settings.ACCESS_KEY_SECRET if account == "A" else OTHER_KEY[1],
        }
        command = [settings.binary(), "admin", *arguments, "--json"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def file(self, name, document):
        """A file with a document in which the ids are filled in."""
        path = self.folder / name
        path.write_text(self.filled(document))
        return str(path)

    def filled(self, document):
        text = json.dumps(document).replace("${region}", settings.REGION)
        for name, value in self.ids.items():
            text = text.replace("${%s}" % name, value)
        return text

    def grant(self, policies):
        """Replaces all policies of users and roles."""
        for account, holder, name in self.inline:
            self.admin(account, "policy", "delete-inline", name, *holder)
        self.inline = []
        for who, documents in policies.items():
            kind = "users" if who in WORLD["users"] else "roles"
            account, holder = WORLD[kind][who]["account"], (f"--{kind[:-1]}", who)
            for number, document in enumerate(documents):
                file = self.file("policy.json", document)
                self.admin(account, "policy", "put-inline", f"p{number}", file, *holder)
                self.inline.append((account, holder, f"p{number}"))

    def open_sessions(self, callers, narrowed):
        """Keys of every session among the callers."""
        for caller in callers:
            role, slash, session = caller.partition("/")
            if slash:
                narrow = ("--policy", self.file("session.json", narrowed)) if narrowed else ()
                made = self.admin(WORLD["roles"][role]["account"], "session", "open", role, session, *narrow)
                self.keys[caller] = (made["AccessKeyId"], made["AccessKeySecret"], made["SecurityToken"])

    def client(self, caller):
        """An SDK client of the account A's buckets that signs as the caller."""
        if caller == "anonymous":
            provider = oss.credentials.AnonymousCredentialsProvider()
        else:
            provider = oss.credentials.StaticCredentialsProvider(*self.keys[caller])
        return sdk.by_proxy(self.server, credentials_provider=provider)

    def run(self, block_public_access):
        """The server with this setting."""
        setting = {"VECTORBUCKET_BLOCK_PUBLIC_ACCESS": str(block_public_access).lower()}
        self.server.environment = self.environment | setting
        return self.server


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("access"))


def scenarios():
    for name in FILES:
        for number, scenario in enumerate(json.loads((TABLE / f"{name}.json").read_text())):
            yield pytest.param(scenario, id=f"{name}-{number}")


def cases_of(scenario):
    """Those that can be asked: usual circumstances, an operation of the SDK, an index name that the service takes
    (others are refused as names); what destroys comes last."""

    def is_asked(caller, action, resource, _expected, *circumstances):
        named = not resource.partition("/")[2][:1].isdigit()
        at_home = action != "ListVectorBuckets" or caller not in ("root:B", "carol") and "visitor" not in caller
        return not circumstances and action in CALLS and at_home and named

    asked = [case for case in scenario["cases"] if is_asked(*case)]
    return sorted(asked, key=lambda case: ORDER.index(case[1]))


def prepare(place, scenario):
    """Policies and sessions of a scenario; `vec` with the index `docs` and the bucket's policy."""
    place.grant(scenario.get("policies", {}))
    place.open_sessions({case[0] for case in cases_of(scenario)}, scenario.get("session"))
    with place.run(block_public_access=False):
        root = place.client("root:A")
        CALLS["PutVectorBucket"](root, "vec", None)
        answer(CALLS["PutVectorIndex"], root, "vec", "docs")
        if policy := scenario.get("bucket_policy"):
            request = models.PutBucketPolicyRequest(bucket="vec", body=place.filled(policy))
            assert root.put_bucket_policy(request).status_code == 200


def answer(call, client, bucket, index):
    """`allow`, or the EC of AccessDenied."""
    try:
        call(client, bucket, index)
    except oss.exceptions.OperationError as raised:
        error = raised.unwrap()
        assert isinstance(error, oss.exceptions.ServiceError), repr(error)
        if (error.status_code, error.code) == (403, "AccessDenied"):
            return error.ec
        assert error.status_code in (400, 404, 409), f"{error.code}: {error}"
    return "allow"


ASKED, DONE = [], []


@pytest.mark.parametrize("scenario", list(scenarios()))
def test_decisions(place, scenario):
    prepare(place, scenario)
    wrong = []
    with place.run(scenario.get("block_public_access", True)):
        for case in cases_of(scenario):
            caller, action, resource, expected = case
            bucket, _, index = resource.partition("/")
            got = answer(CALLS[action], place.client(caller), bucket, index or None)
            ASKED.append(case)
            if got != expected:
                wrong.append(f"{case}: {got}")
    if scenario.get("bucket_policy"):
        place.admin("A", "bucket", "drop-policy", "vec")
    DONE.append(scenario["about"])
    assert wrong == [], scenario["about"]


def test_enough_was_asked():
    """Runs after the table; says nothing when only a part of it was chosen."""
    if len(DONE) < len(list(scenarios())):
        pytest.skip("runs with the table")
    assert len(ASKED) >= DECISIONS_MIN
    assert {case[1] for case in ASKED} == set(CALLS)
