"""Disk trouble: full, not writable, no permission. Clear errors, reads go on, everything acknowledged stays, and writing
works again once there is room.

A small tmpfs gives a truly full disk where the run may mount (root); a file-size limit of the process stands in for it
everywhere.
"""

import errno
import os
import resource
import subprocess

import pytest
from harness.raw import Client
from harness.server import NOBODY, Server, StartFailed

BUCKET = "fault-bucket"
DIMENSION = 256


def rows(batch, count=100):
    return [
        {"key": f"b{batch}-{i}", "data": {"float32": [batch + i / 1000] * DIMENSION}, "metadata": {"batch": batch}}
        for i in range(count)
    ]


def put(client, batch, count=100):
    return client.post("putVectors", {"indexName": "items", "vectors": rows(batch, count)}, BUCKET)


def prepare(client):
    assert client.call("PUT", "", bucket=BUCKET).status == 200
    body = {"indexName": "items", "dataType": "float32", "dimension": DIMENSION, "distanceMetric": "euclidean"}
    assert client.post("putVectorIndex", body, BUCKET).status == 200


def stored(client) -> dict:
    """batch -> number of rows."""
    found, token = {}, None
    while True:
        body = {"indexName": "items", "maxResults": 1000, "returnMetadata": True}
        answer = client.post("listVectors", body | ({"nextToken": token} if token else {}), BUCKET)
        assert answer.status == 200, answer.body
        page = answer.json()
        for vector in page["vectors"]:
            batch = vector["metadata"]["batch"]
            found[batch] = found.get(batch, 0) + 1
        token = page.get("nextToken")
        if not token:
            return found


def check_refused(answer, *words):
    """A storage failure is the server's: 5xx, so that SDKs try again, in the wire's shape with a telling message."""
    assert answer.status in (500, 503), answer.body
    assert answer.header("content-type") == "application/json"
    assert answer.code in ("ServiceUnavailable", "InternalError")
    assert any(word in answer.error["Message"].lower() for word in words), answer.error


def fill_until_refused(client, first=0, most=400):
    """Puts batches until one is refused; returns the acknowledged batch numbers and the refusal."""
    done = []
    for batch in range(first, first + most):
        answer = put(client, batch)
        if answer.status != 200:
            return done, answer
        done.append(batch)
    raise AssertionError("the disk never filled")


def check_whole(client, acknowledged, refused):
    found = stored(client)
    assert {b: n for b, n in found.items() if b not in refused} == {b: 100 for b in acknowledged}
    assert all(found.get(b, 0) in (0, 100) for b in refused), found


@pytest.fixture
def small_disk(tmp_path):
    """A 16 MB tmpfs; skipped where mounting is not allowed."""
    at = tmp_path / "disk"
    at.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(at)], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root with CAP_SYS_ADMIN")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


def test_full_disk(tmp_path, small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (4 << 20))
    with Server(tmp_path / "full", {"VECTORBUCKET_STORE": str(small_disk / "data")}) as server:
        client = Client(server.port)
        prepare(client)
        acknowledged, answer = fill_until_refused(client)
        check_refused(answer, "full", "space")
        refused = {len(acknowledged)}
        assert server.alive()
        for method, query in (("GET", "bucketInfo"), ("POST", "listVectorIndexes")):
            assert client.call(method, query, bucket=BUCKET).status == 200
        check_whole(client, acknowledged, refused)
        hit = client.post(
            "queryVectors", {"indexName": "items", "queryVector": {"float32": [0.0] * DIMENSION}, "topK": 3}, BUCKET
        )
        assert hit.status == 200 and len(hit.json()["vectors"]) == 3
        assert any(word in server.log().lower() for word in ("no space", "full", "enospc"))
        ballast.unlink()
        assert put(client, 1000).status == 200
        acknowledged.append(1000)
        check_whole(client, acknowledged, refused)
        server.kill()
        server.start()
        check_whole(client, acknowledged, refused)
    assert server.panics() == []


def test_start_on_a_full_disk_and_again_with_room(tmp_path, small_disk):
    """A server that cannot even write its probe says so; with room it opens the same directory."""
    environment = {"VECTORBUCKET_STORE": str(small_disk / "data")}
    with Server(tmp_path / "first", environment) as server:
        prepare(Client(server.port))
        assert put(Client(server.port), 0).status == 200
    ballast = small_disk / "ballast"
    fill(ballast)
    try:
        with Server(tmp_path / "second", environment) as server:
            check_whole(Client(server.port), [0], set())
    except StartFailed as failed:
        assert any(word in failed.log.lower() for word in ("no space", "full")), failed.log
    ballast.unlink()
    with Server(tmp_path / "third", environment) as server:
        check_whole(Client(server.port), [0], set())
        assert put(Client(server.port), 1).status == 200


def fill(path):
    """Writes a file until the disk is full."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(file, b"x" * 4096)
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(file)


def own(folder, mode):
    """Gives a folder and all below it to the server's user, with this mode for the folders."""
    for at, _, _ in os.walk(folder):
        if os.geteuid() == 0:
            os.chown(at, NOBODY, NOBODY)
        os.chmod(at, mode)


def passable(folder):
    """Lets any user through to a folder of this test."""
    for at in (folder, folder.parent, folder.parent.parent):
        at.chmod(0o755)


def test_folder_that_becomes_unwritable(tmp_path):
    """No file can be made any more: writes are refused, reads go on, and with the right back all is well."""
    server = Server(tmp_path / "server", ordinary_user=True)
    passable(tmp_path)
    server.data.mkdir()
    own(server.data, 0o755)
    with server:
        client = Client(server.port)
        prepare(client)
        assert put(client, 0).status == 200
        own(server.data, 0o555)
        try:
            check_refused(put(client, 1), "denied", "not writable", "unavailable", "storage", "internal")
            refused = client.call("PUT", "", bucket="another-bucket")
            check_refused(refused, "denied", "not writable", "unavailable", "storage", "internal")
            assert any(word in server.log().lower() for word in ("permission", "denied")), server.log()[-2000:]
            check_whole(client, [0], {1})
        finally:
            own(server.data, 0o755)
        assert put(client, 2).status == 200
        assert client.call("PUT", "", bucket="another-bucket").status == 200
        check_whole(client, [0, 2], {1})
        server.kill()
        server.start()
        check_whole(client, [0, 2], {1})
    assert server.panics() == []


def test_file_size_limit_as_a_full_disk(tmp_path):
    """The limit refuses every file beyond it with EFBIG; lifting it while the process runs is freeing space."""
    server = Server(tmp_path / "limit", file_size_max=300 * 1024)
    with server:
        client = Client(server.port)
        prepare(client)
        assert put(client, 0).status == 200
        answer = put(client, 1, 500)
        check_refused(answer, "full", "space", "large", "unavailable", "storage", "internal")
        found = stored(client)
        assert found[0] == 100 and found.get(1, 0) == 0
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert put(client, 1, 500).status == 200
        assert stored(client) == {0: 100, 1: 500}
    assert server.panics() == []


@pytest.mark.parametrize("kind", ["below a file", "a file"])
def test_impossible_store_is_a_clear_start_failure(tmp_path, kind):
    blocker = tmp_path / "blocker"
    blocker.write_text("not a folder")
    store = blocker / "data" if kind == "below a file" else blocker
    with pytest.raises(StartFailed) as raised:
        Server(tmp_path / "server", {"VECTORBUCKET_STORE": str(store)}).start()
    assert raised.value.code not in (0, "no answer")
    assert str(blocker) in raised.value.log
    assert "panicked" not in raised.value.log


def test_folder_without_permission_is_a_clear_start_failure(tmp_path):
    """A folder of somebody else's."""
    server = Server(tmp_path / "server", ordinary_user=True)
    passable(tmp_path)
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755 if os.geteuid() == 0 else 0o555)
    server.environment["VECTORBUCKET_STORE"] = str(theirs / "data")
    with pytest.raises(StartFailed) as raised:
        server.start()
    assert raised.value.code not in (0, "no answer")
    assert "ermission" in raised.value.log and str(theirs) in raised.value.log
    assert "panicked" not in raised.value.log
