"""No secret is left anywhere: a whole run of the official SDK, with users, sessions, signed URLs, the admin API and
failing calls, against a server that logs at its finest level; then everything it leaves behind is searched.

Searched are standard output and error, metrics, the audit stream, every answer but those that make a secret, what the
command line printed, and every byte of the store with its spool, access logs and identities. Each secret is looked for as
it is, percent-encoded, in base64 at each alignment, and in hexadecimal. That the search can find is shown by words planted
in the same run through the same doors (`test_what_is_planted_is_found`), and by planting each form of each secret
(`test_every_form_of_a_secret_is_found`). Segments hold metadata as LZ4 blocks, which keep the first occurrence of random
text as it is; a planted word shows that, too. One thing is told to whoever sent it and to nobody else: the signature that
did not match, as `SignatureProvided` of the refusal, as in the original; it is cut from the answers before they are searched.
"""

import base64
import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import time
import urllib.parse

import alibabacloud_oss_v2 as oss
import pytest
from alibabacloud_oss_v2.vectors import models
from harness import oss4, raw, sdk, settings
from harness.server import Server
from test_access import CALLS, OTHER, OTHER_KEY

SHAPE = {"data_type": "float32", "dimension": 2, "distance_metric": "euclidean"}
ROLE = f"acs:ram::{settings.ACCOUNT}:role/worker"
PLANTED = {
    "store, log (LZ4 or not)": "planted-metadata-" + secrets.token_hex(8),
    "identities": "planted-comment-" + secrets.token_hex(8),
    "access log": "planted-agent-" + secrets.token_hex(8),
    "audit": "plantedname" + secrets.token_hex(8),
    "answers": "planted-key-" + secrets.token_hex(8),
}


def forms(secret: bytes) -> dict[str, bytes]:
    """What a secret may look like, by the name of the form. Base64 is cut to what does not depend on its neighbours."""
    found = {
        "plain": secret,
        "hexadecimal": secret.hex().encode(),
        "HEXADECIMAL": secret.hex().upper().encode(),
        "percent": urllib.parse.quote(secret, safe="").encode(),
        "all percent": b"".join(b"%%%02X" % byte for byte in secret),
        "JSON": json.dumps(secret.decode("latin-1"))[1:-1].encode(),
        "UTF-16": secret.decode("latin-1").encode("utf-16-le"),
    }
    for shift in range(3):
        head, tail = (shift * 8 + 5) // 6, (shift + len(secret)) % 3
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            text = encode(b"\0" * shift + secret).rstrip(b"=")
            found[f"{name} at {shift}"] = text[head : len(text) - 1 if tail else None]
    return found


def without_echo(answer: bytes) -> bytes:
    """An answer without the signature that its sender had sent."""
    return re.sub(rb'(SignatureProvided\W{1,6})[0-9a-f]{64}', rb"\1", answer)


def searched(places: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """Where which secret was found, by names alone: the message must not hold it either."""
    hits = []
    for name, secret in wanted.items():
        for form, pattern in forms(secret).items():
            hits += [f"{name} ({form}) in {place}" for place, content in places.items() if pattern in content]
    return hits


class Run:
    """One life of a server, and what was seen and left."""

    def __init__(self, folder):
        self.folder, self.wanted, self.seen = folder, {}, {}
        self.answers, self.printed = [], []
        ring_key = secrets.token_bytes(32)
        self.tokens = [secrets.token_urlsafe(32), secrets.token_urlsafe(32)]
        self.cluster = secrets.token_urlsafe(32)
        self.want("root secret", settings.ACCESS_KEY_SECRET)
        self.want("other root's secret", OTHER_KEY[1])
        self.want("key ring", ring_key)
        for number, token in enumerate(self.tokens):
            self.want(f"admin token {number}", token)
        roots = self.file(
            "roots.toml",
            f'[[account]]\nid = "{OTHER}"\nkeys = [{{ id = "{OTHER_KEY[0]}", secret = "{OTHER_KEY[1]}" }}]\n',
        )
        ring = self.file("ring", f"one:{base64.b64encode(ring_key).decode()}\n")
        self.audit = folder / "audit.jsonl"
        self.server = Server(
            folder / "server",
            settings.FLUSHING
            | {
                "VECTORBUCKET_LOG": "trace",
                "VECTORBUCKET_LOG_FORMAT": "json",
                "VECTORBUCKET_ROOT_CREDENTIALS_FILE": roots,
                "VECTORBUCKET_KEY_RING_FILE": ring,
                "VECTORBUCKET_ADMIN_TOKEN_FILE": self.file("tokens", "\n".join(self.tokens)),
                "VECTORBUCKET_AUDIT_OUTPUT": str(self.audit),
                "VECTORBUCKET_LOGGING_OBJECT_AGE_MAX": "1s",
            },
        )
        self.server.start()

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        path.chmod(0o600)
        return str(path)

    def want(self, name, secret):
        """Notes a secret that must not be found."""
        secret = secret if isinstance(secret, bytes) else secret.encode()
        assert len(secret) >= 16, f"{name} is too short to be looked for"
        self.wanted[name] = secret

    # --- the parts of a run ---

    def data(self, who, keys):
        """Every operation of the SDK as somebody; what is refused is refused."""
        client = sdk.by_proxy(self.server, credentials_provider=oss.credentials.StaticCredentialsProvider(*keys))
        for name, call in CALLS.items():
            if name.startswith("Delete") or name == "PutBucketPolicy":
                continue
            self.tried(lambda call=call: call(client, "vec", "docs"))
        self.tried(lambda: CALLS["GetVectors"](client, "none", "docs"))

    def tried(self, call):
        try:
            call()
        except oss.exceptions.OperationError as error:
            self.answers.append(str(error).encode())

    def raw(self, key=None, **request):
        """One request as written; its answer is searched."""
        made = raw.Request(bucket="vec", **request, **({"key": key} if key else {}))
        with raw.Connection(self.server.port) as connection:
            connection.send(made.bytes(self.server.port))
            answer = connection.receive()
        self.answers.append(answer.body + repr(answer.headers).encode())
        return answer

    def order(self, operation, given, authorization=None, keep=True):
        """An order by token, or as `authorization` says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.admin_port, timeout=30)
        try:
            headers = {"Authorization": authorization or f"Bearer {self.tokens[0]}", "Content-Type": "application/json"}
            body = given if isinstance(given, str) else json.dumps(given)
            connection.request("POST", f"/admin/v1/{operation}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if keep:
            self.answers.append(content + repr(answer.getheaders()).encode())
        return answer.status, content

    def command(self, keys, *arguments, keep=True):
        """A command that signs; what it prints is searched unless it is what makes a secret."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("VECTORBUCKET_", "OSS_"))}
        environment = inherited | {
            "VECTORBUCKET_ADMIN_URL": f"http://127.0.0.1:{self.server.admin_port}",
            "VECTORBUCKET_URL": self.server.url,
            "VECTORBUCKET_ACCOUNT_ID": settings.ACCOUNT,
            "OSS_ACCESS_KEY_ID": keys[0],
            "OSS_ACCESS_KEY_SECRET": keys[1],
        }
        done = subprocess.run([settings.binary(), *arguments], env=environment, capture_output=True)
        self.printed.append(done.stderr + (done.stdout if keep else b""))
        return done

    def people(self):
        """A user with two keys, a role, a session; returns keys of the user and of the session."""
        root = (settings.ACCESS_KEY_ID, settings.ACCESS_KEY_SECRET)
        allow = {"Effect": "Allow", "Action": ["oss:*", "sts:AssumeRole"], "Resource": "*"}
        policy = self.file("policy.json", {"Version": "1", "Statement": [allow]})
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        trust["Principal"] = {"RAM": [f"acs:ram::{settings.ACCOUNT}:user/alice"]}
        trust = self.file("trust.json", {"Version": "1", "Statement": [trust]})
        for words in (
            ["user", "create", "alice", "--comment", PLANTED["identities"]],
            ["policy", "put-inline", "own", policy, "--user", "alice"],
            ["role", "create", "worker", trust],
            ["policy", "put-inline", "own", policy, "--role", "worker"],
        ):
            done = self.command(root, "admin", *words)
            assert done.returncode == 0, done.stderr
        made = json.loads(self.command(root, "admin", "key", "create", "alice", "--json", keep=False).stdout)
        alice = (made["AccessKeyId"], made["AccessKeySecret"])
        self.want("user's secret", alice[1])
        status, second = self.order("key/create", {"user": "alice"}, keep=False)
        assert status == 200
        self.want("user's second secret", json.loads(second)["AccessKeySecret"])
        assume = ["sts", "assume-role", "--role-arn", ROLE, "--session-name", "nightly"]
        opened = json.loads(self.command(alice, *assume, keep=False).stdout)
        self.want("session's secret", opened["AccessKeySecret"])
        self.want("session's token", opened["SecurityToken"])
        # A part of a token would be one, too, if it were long enough to be guessed from.
        self.want("session's token, middle", opened["SecurityToken"][40:104])
        session = (opened["AccessKeyId"], opened["AccessKeySecret"], opened["SecurityToken"])
        self.command(root, *assume)
        self.command(root, "admin", "account", "show")
        self.command(root, "admin", "key", "list", "--json")
        return alice, session

    def orders(self):
        """Orders that are carried out, and those that fail."""
        self.order("user/create", {"user": PLANTED["audit"]})
        self.order("account/list", {})
        self.order("ring/rekey", {})
        self.order("user/create", '{"user": "broken')
        self.order("user/list", {}, authorization=f"Bearer {self.tokens[1]}")
        self.order("user/list", {}, authorization=f"Bearer {self.tokens[1]}x")
        self.order("user/list", {}, authorization=f"Bearer  {self.tokens[0]} {self.tokens[1]}")
        self.order("user/list", {}, authorization=f"Basic {self.tokens[0]}")
        self.order("no/such", {"x": 1})
        self.order(f"user/list?token={secrets.token_hex(4)}", {})
        key = oss4.Key(account="admin")
        stamp = oss4.timestamp()
        signed = oss4.authorization(key, "POST", "user/list", "", [("x-oss-date", stamp)], stamp)
        self.want("signature without its body", signed.rpartition("=")[2])
        self.order("user/list", {}, authorization=signed)

    def by_hand(self, session):
        """Signed headers and URLs, good and refused ones."""
        stamp = oss4.timestamp()
        good = raw.Request(bucket="vec", method="GET", query="bucketInfo", stamp=stamp)
        signed = dict(good.final_headers(self.server.port))["Authorization"]
        self.want("signature in a header", signed.rpartition("=")[2])
        assert self.raw(method="GET", query="bucketInfo", stamp=stamp).status == 200
        key = oss4.Key()
        url = oss4.presigned_query(key, "GET", "vec", "bucketInfo", expires="604800")
        self.want("signature in a URL", url.rpartition("=")[2])
        plain = {"method": "GET", "signed": False, "content_md5": False}
        assert self.raw(query=url, **plain).status == 200
        of_session = oss4.Key(access_key_id=session[0], secret=session[1])
        url = oss4.presigned_query(of_session, "GET", "vec", "bucketInfo", token=session[2])
        self.want("signature in a session's URL", url.rpartition("=")[2])
        assert self.raw(query=url, **plain).status == 200
        # Good ones in the wrong place: the refusal must not repeat what would be good elsewhere.
        self.raw(query=url.replace("bucketInfo", "policy"), **plain)
        self.raw(query=url, **plain | {"method": "PUT"})
        self.raw(query=url, key=key, method="GET")
        self.raw(method="GET", query="bucketInfo", headers=[("x-oss-security-token", session[2])])
        self.raw(method="GET", query="bucketInfo", authorization=signed, headers=[("x-oss-date", stamp)])
        self.raw(method="GET", query="bucketInfo", authorization=signed.replace("Credential", "Credentials"))
        self.raw(method="GET", query="bucketInfo", authorization="AWS4-HMAC-SHA256 " + signed.partition(" ")[2])
        self.raw(method="GET", query="bucketInfo", authorization="OSS " + signed)
        self.raw(method="GET", query="nothing", headers=[("Referer", f"http://x/?{url}")])
        self.raw(method="GET", query="bucketInfo", headers=[("User-Agent", PLANTED["access log"])])
        self.raw(method="GET", query="bucketInfo", key=oss4.Key(secret="wrong-secret-0000000000000"))
        self.raw(method="POST", query="putVectors", body=b'{"indexName": ')

    def broken_off(self):
        """Connections that end in the middle of something secret; the finest log tells of them."""
        half = raw.Request(bucket="vec", query="putVectors", body=b"x" * 100).head(self.server.port) + b"x" * 10
        order = f"POST /admin/v1/user/list HTTP/1.1\r\nAuthorization: Bearer {self.tokens[0]}\r\nbroken".encode()
        for port, begun in ((self.server.port, half), (self.server.admin_port, order)):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(begun)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(65536)
        self.server.log_when("body broke off")

    def await_segment(self):
        """Rows are in a segment, too: it lies in the store beside the log."""
        deadline = time.monotonic() + 30
        while not any(self.server.data.glob("index/*/segment/*")):
            assert time.monotonic() < deadline, "no segment was ever written"
            time.sleep(0.05)

    def whole(self):
        root = sdk.by_proxy(self.server)
        root.put_vector_bucket(models.PutVectorBucketRequest(bucket="vec"))
        root.put_vector_index(models.PutVectorIndexRequest(bucket="vec", index_name="docs", **SHAPE))
        target = models.LoggingEnabled(target_bucket="logs", target_prefix="vec/")
        status = models.BucketLoggingStatus(logging_enabled=target)
        root.put_bucket_logging(models.PutBucketLoggingRequest(bucket="vec", bucket_logging_status=status))
        row = {"key": PLANTED["answers"], "data": {"float32": [1.0, 2.0]}}
        row["metadata"] = {"text": PLANTED["store, log (LZ4 or not)"]}
        rows = [row] + [row | {"key": f"row-{number}"} for number in range(50)]
        root.put_vectors(models.PutVectorsRequest(bucket="vec", index_name="docs", vectors=rows))
        self.await_segment()
        alice, session = self.people()
        root_keys = (settings.ACCESS_KEY_ID, settings.ACCESS_KEY_SECRET)
        for who, keys in {"root": root_keys, "alice": alice, "session": session, "other": OTHER_KEY}.items():
            self.data(who, keys)
        self.data("session without token", session[:2])
        self.data("token of another", (*alice, session[2]))
        self.data("tampered token", (*session[:2], session[2][:-4] + "AAAA"))
        self.data("wrong secret", (alice[0], "wrong-secret-0000000000000"))
        self.orders()
        self.by_hand(session)
        self.broken_off()
        wanted = {"indexName": "docs", "keys": [PLANTED["answers"]]}
        self.raw(method="POST", query="getVectors", body=json.dumps(wanted).encode())
        self.command(alice, "vectors-api", "list-vector-indexes", "--bucket", "vec")
        self.command(alice, "vectors-api", "list-vector-indexes", "--bucket", "none")
        self.command((alice[0], "wrong-secret-0000000000000"), "vectors-api", "list-vector-buckets")
        listed = root.list_vectors(
            models.ListVectorsRequest(bucket="vec", index_name="docs", return_metadata=True)
        )
        self.answers.append(json.dumps(listed.vectors).encode())
        metrics = self.server.admin("/metrics")[1] + self.server.admin("/readyz")[1] + self.server.admin("/nodes")[1]
        self.seen["metrics"] = metrics.encode()
        assert self.server.stop() == 0
        self.seen["standard output and error"] = self.server.log_path.read_bytes()
        self.seen["audit"] = self.audit.read_bytes()
        self.seen["answers"] = b"\n".join(map(without_echo, self.answers))
        self.seen["printed by commands"] = b"\n".join(self.printed)
        printed = subprocess.run(
            [settings.binary(), "config", "print"], env=self.server.settings(), capture_output=True, check=True
        )
        self.seen["config print"] = printed.stdout + printed.stderr
        for path in sorted(self.server.data.rglob("*")):
            if path.is_file():
                self.seen[f"store {path.relative_to(self.server.data)}"] = path.read_bytes()
        return self


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("secrets")).whole()


def test_the_run_was_whole(run):
    """What is searched is what there should be: all kinds of places, and traces of all that was done."""
    assert not run.server.panics()
    names = " ".join(run.seen)
    for part in ("store identity/", "store logs/", "/segment/"):
        assert part in names, f"{part} is missing among {sorted(run.seen)}"
    log = run.seen["standard output and error"]
    for part in (b'"DEBUG"', b'"administration"', b"SignatureDoesNotMatch", b"InvalidToken"):
        assert part in log, part
    for operation in ("PutVectors", "admin:key/create", "admin:sts/assume-role", "admin:user/list"):
        assert operation.encode() in run.seen["audit"], operation
    assert len(run.wanted) >= 14


def test_what_is_planted_is_found(run):
    """The same search finds words that went in through the same doors, where they should be."""
    hits = " ".join(searched(run.seen, {name: word.encode() for name, word in PLANTED.items()}))
    for name, place in {
        "store, log (LZ4 or not)": "in store ",
        "identities": "in store identity/",
        "access log": "in store logs/",
        "audit": "in audit",
        "answers": "in answers",
    }.items():
        assert f"{name} (plain) {place}" in hits, f"{name} is not found: {hits}"


def test_no_secret_is_left(run):
    assert searched(run.seen, run.wanted) == []


def test_every_form_of_a_secret_is_found(run):
    """One planted secret, in whatever form and place, makes the search fail."""
    place = next(iter(run.seen))
    for name, secret in run.wanted.items():
        for form, pattern in forms(secret).items():
            spoiled = run.seen | {place: run.seen[place][:100] + pattern + run.seen[place][100:]}
            assert any(hit.startswith(name) for hit in searched({place: spoiled[place]}, {name: secret})), form
        for shift in range(3):
            inside = base64.b64encode(b"x" * shift + secret + b"y" * 5)
            assert searched({"a": inside}, {name: secret}), f"{name} in base64 at {shift}"
