#!/usr/bin/env python3
"""Bucket logging under kills: every request that was answered is in the delivered logs.

    python3 tests/logging/run.py [--requests 1000] [--kills 2] [--clients 4]

Clients of their own (standard library only, signing included) send requests to a server whose process is killed (SIGKILL)
several times on the way and started again; at the end it is stopped. Then every object in the store's folder of logs must have
the documented name, every line must be read by `parse.py`, and the id of every answered request must be in some line, with
its status and operation. Header values try to break lines; some requests are signed by URL, some wrongly: no signature and no
secret may be in any log. Closes with `N passed, N failed`.
"""

import argparse
import hashlib
import hmac
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import parse

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = Path(os.environ.get("VECTORBUCKET_BIN", TARGET / "debug/vectorbucket"))
ACCOUNT, KEY_ID, SECRET, REGION = "1234567890123456", "LTAIlogtest", "logging-test-secret", "cn-hangzhou"
DOMAIN = f"{REGION}.oss-vectors.aliyuncs.com"
BUCKET, INDEX, PREFIX = "logged", "idx", "My-Log-"
PATIENCE_SECONDS = 120


def sha(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(method, query, headers, bucket, at):
    """Signature V4 of the vector interface."""
    day = at[:8]
    resource = f"/acs:ossvector:{REGION}:{ACCOUNT}:{bucket}/"
    signed = sorted((k.lower(), v) for k, v in headers.items() if k.lower().startswith(("x-oss-", "content-type")))
    pairs = sorted(query.split("&")) if query else []
    canonical = "\n".join(
        [method, quote(resource, safe="/-._~"), "&".join(pairs), "".join(f"{k}:{v}\n" for k, v in signed), "", "UNSIGNED-PAYLOAD"]
    )
    scope = f"{day}/{REGION}/oss/aliyun_v4_request"
    text = "\n".join(["OSS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"aliyun_v4{SECRET}".encode()
    for part in scope.split("/"):
        key = sha(key, part)
    return scope, sha(key, text).hex()


def prepare(method, query, by_url=False, forged=False):
    """Target and headers of a signed request on the bucket, and its signature."""
    at = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    headers = {"Content-Type": "application/json"}
    if by_url:
        scope = f"{at[:8]}/{REGION}/oss/aliyun_v4_request"
        query += f"&x-oss-credential={quote(KEY_ID + '/' + scope, safe='')}&x-oss-date={at}&x-oss-expires=600"
        query += "&x-oss-signature-version=OSS4-HMAC-SHA256"
    else:
        headers |= {"x-oss-date": at, "x-oss-content-sha256": "UNSIGNED-PAYLOAD"}
    scope, code = signature(method, query, headers, BUCKET, at)
    if forged:
        code = hashlib.sha256(code.encode()).hexdigest()
    if by_url:
        query += f"&x-oss-signature={code}"
    else:
        headers["Authorization"] = f"OSS4-HMAC-SHA256 Credential={KEY_ID}/{scope},Signature={code}"
    return f"/?{query}" if query else "/", headers, code


class Server:
    """One process over one folder, killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = open(folder / "server.log", "ab")
        self.start()

    def start(self):
        settings = {
            "LISTEN": f"127.0.0.1:{self.port}",
            "ADMIN_LISTEN": "127.0.0.1:0",
            "STORE": str(self.folder / "store"),
            "ACCOUNT_ID": ACCOUNT,
            "ROOT_ACCESS_KEY_ID": KEY_ID,
            "ROOT_ACCESS_KEY_SECRET": SECRET,
            "LOGGING_OBJECT_AGE_MAX": "2s",
            "LOGGING_OBJECT_BYTES_MAX": "64KiB",
            "AUDIT_OUTPUT": str(self.folder / "audit.jsonl"),
        }
        environment = {f"VECTORBUCKET_{name}": value for name, value in settings.items()}
        command = [BINARY, "serve", "--log-format", "json"]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, f"the server ended: {self.folder / 'server.log'}"
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)


def send(connection, method, target, headers, body):
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", f"{BUCKET}-{ACCOUNT}.{DOMAIN}")
    connection.putheader("Content-Length", str(len(body)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    response.read()
    return response


class Clients:
    """Send a number of requests, and note of each that was answered: id, status, operation."""

    def __init__(self, server, total, count, seed):
        self.server, self.left, self.lock = server, total, threading.Lock()
        self.answered, self.codes, self.unexpected = {}, [], []
        self.threads = [threading.Thread(target=self.run, args=(random.Random(f"{seed}/{n}"),)) for n in range(count)]

    def begin(self):
        for thread in self.threads:
            thread.start()

    def run(self, chance):
        connection = None
        while True:
            with self.lock:
                if self.left <= 0:
                    return
            operation, method, query, body, status, options = choose(chance)
            target, headers, code = prepare(method, query, **options)
            headers |= {"User-Agent": hostile(chance), "Referer": hostile(chance)}
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
                response = send(connection, method, target, headers, body)
            except (OSError, http.client.HTTPException):
                # Killed: the answer is unknown, and so is the id.
                connection = None
                time.sleep(0.01)
                continue
            with self.lock:
                if response.status != status:
                    self.unexpected.append(f"{operation} {target}: {response.status}")
                self.left -= 1
                self.answered[response.headers["x-oss-request-id"]] = (operation, str(response.status))
                self.codes.append(code)

    def progress(self, left):
        deadline = time.monotonic() + PATIENCE_SECONDS + self.left / 20
        while self.left > left:
            assert time.monotonic() < deadline, f"requests stopped with {self.left} left"
            assert any(thread.is_alive() for thread in self.threads) or self.left <= 0, "the clients failed"
            time.sleep(0.005)

    def end(self):
        for thread in self.threads:
            thread.join()


def choose(chance):
    """Operation, method, query, body, expected status, and how to sign."""
    key = f"k{chance.randrange(1000)}"
    tag = f"&x-tag={chance.randrange(10**9)}"
    vector = {"key": key, "data": {"float32": [chance.random(), chance.random()]}}
    named = json.dumps({"indexName": INDEX}).encode()
    return chance.choice(
        [
            ("PutVectors", "POST", "putVectors" + tag, json.dumps({"indexName": INDEX, "vectors": [vector]}).encode(), 200, {}),
            ("ListVectors", "POST", "listVectors" + tag, named, 200, {}),
            ("GetVectorIndex", "POST", "getVectorIndex" + tag, named, 200, {}),
            ("GetVectorBucket", "GET", "bucketInfo" + tag, b"", 200, {"by_url": True}),
            ("GetBucketPolicy", "GET", "policy" + tag, b"", 404, {}),
            ("GetBucketLogging", "GET", "logging" + tag, b"", 200, {}),
        ]
    )


def hostile(chance):
    """Any bytes that a header can carry."""
    pieces = ['"', "\\", " - ", "\t", "[", "]", '" 200 "', "x", "\xff", "\x80", "?x-oss-signature=" + SECRET, "%22", "é"]
    return "a" + "".join(chance.choices(pieces, k=chance.randrange(8))) + "z"


def refused(server, count):
    """Requests signed wrongly: they are answered with 403 and logged once the bucket is known."""
    ids, connection = {}, http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(count):
        target, headers, _ = prepare("GET", "bucketInfo", forged=True)
        response = send(connection, "GET", target, headers, b"")
        assert response.status == 403, response.status
        ids[response.headers["x-oss-request-id"]] = ("GetVectorBucket", "403")
    return ids


def set_up(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    index = {"indexName": INDEX, "dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}
    target = {"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "log-bucket", "TargetPrefix": PREFIX}}}
    for method, query, body in [("PUT", "", None), ("POST", "putVectorIndex", index), ("PUT", "logging", target)]:
        path, headers, _ = prepare(method, query)
        response = send(connection, method, path, headers, json.dumps(body).encode() if body else b"")
        assert response.status == 200, (query, response.status)


def logged(folder):
    """All delivered lines by request id."""
    lines, objects = {}, 0
    for path in (folder / "store/logs" / ACCOUNT / "log-bucket").rglob("*"):
        objects += 1
        for line in parse.log_object(path.name, path.read_bytes().decode("ascii"), PREFIX):
            lines.setdefault(line["RequestID"], []).append(line)
    return lines, objects


def check(name, problems, results):
    results.append(not problems)
    print(f"{'ok' if not problems else 'FAILED'}: {name}", *problems[:5], sep="\n    " if problems else "", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        server = Server(folder)
        set_up(server)
        clients = Clients(server, arguments.requests, arguments.clients, arguments.seed)
        clients.begin()
        for kill in range(1, arguments.kills + 1):
            clients.progress(arguments.requests * (arguments.kills + 1 - kill) // (arguments.kills + 1))
            server.kill()
            server.start()
        clients.end()
        denied = refused(server, 20)
        code = server.stop()
        expected = clients.answered | denied
        results = []
        check("the server stops cleanly", [] if code == 0 else [f"exit code {code}"], results)
        check("every request is answered as expected", clients.unexpected, results)
        lines, objects = logged(folder)
        missing = [f"{request} {expected[request]}" for request in expected if request not in lines]
        check(f"{len(expected)} answered requests are in {objects} objects", missing, results)
        wrong = [
            f"{request}: {line}"
            for request, found in lines.items()
            for line in found
            if request in expected and (line["Operation"], line["HTTPStatus"]) != expected[request]
        ]
        check("each line tells operation and status", wrong, results)
        copies = sum(len(found) - 1 for found in lines.values())
        check(f"lines that are there twice: {copies}", [] if copies <= len(expected) // 100 else ["too many"], results)
        texts = [p.read_text("utf-8", "replace") for p in folder.rglob("*") if "logs" in p.parts and p.is_file()]
        texts += [(folder / name).read_text("utf-8", "replace") for name in ("server.log", "audit.jsonl")]
        secrets = [text[:200] for text in texts if SECRET in text or any(code in text for code in clients.codes[:2000])]
        check("no signature and no secret is in any log", secrets, results)
        left = [str(path) for path in (folder / "store/log-spool").glob("*") if path.name != "lock"]
        check("nothing is left in the spool", left, results)
        events = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines() if line.endswith("}")]
        print(f"{len(events)} audit events")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
