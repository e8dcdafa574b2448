#!/usr/bin/env python3
"""Three server processes over a real S3 server, everything between them broken again and again, every answer checked.

    python3 tests/reliability/run.py [--seconds 60 | --minutes 10] [--seed N] [--peers] [--report docs/reliability.md]

Writers put, overwrite and delete; readers query, get and list, each request through a node of its choice. A vector holds
the number of its key and the version of the write, so the distance that a query returns proves which version it saw.
A nemesis kills (SIGKILL), stops (SIGSTOP, longer than any request waits) and cuts nodes off, and lets their proxies lose,
delay and repeat requests. `checker.py` says what a read may show. Closes with `N passed, N failed`: one test per kind of
violation that was looked for, and one that enough happened at all.
"""

import argparse
import collections
import math
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from checker import GONE, History  # noqa: E402
from cluster import Cluster, StartFailed  # noqa: E402
from harness import settings  # noqa: E402
from harness.raw import Client, Closed, Connection  # noqa: E402

BUCKET, INDEX = "reliability", "checked"
DIMENSION = 16
WRITERS, READERS = 6, 4
KEYS_AT_ONCE = 12
"""Active keys of a writer."""
GROUP_KEYS_MAX = 80
"""A filter selects one group; with topK 100 all of it must be returned."""
CLIENT_TIMEOUT = 15
STOP_SECONDS = (6, 20)
"""A stopped node outlasts every deadline: 5 s for a request to the store, 15 s for a client's."""

SETTINGS = {
    # Folds, merges and collections all the time, so that faults hit them.
    "VECTORBUCKET_FLUSH_MEMTABLE_BYTES_MAX": "64KiB",
    "VECTORBUCKET_FLUSH_AGE_MAX": "1s",
    "VECTORBUCKET_COLLECT_GRACE": "5s",
    "VECTORBUCKET_MEMORY_LIMIT": "256MiB",
}

BACKGROUND = {
    "flushes": "vectorbucket_engine_flushes_total",
    "merges": "vectorbucket_engine_merges_total",
    "objects collected": "vectorbucket_engine_objects_collected_total",
}
"""What the nodes do by themselves, as far as they lived to tell."""

FAULTS = {
    "cut": {"cut": 0.1},
    "lost replies": {"lost": 0.15},
    "half-open": {"half_before": 0.03, "half_after": 0.03},
    "busy": {"busy": 0.3},
    "errors after execution": {"error": 0.15},
    "slow": {"slow": 0.3},
    "late": {"late": 0.06},
    "everything": {
        "cut": 0.03, "lost": 0.03, "half_before": 0.01, "half_after": 0.01, "busy": 0.05, "error": 0.03, "slow": 0.05, "late": 0.02,
    },
}  # fmt: skip


def main() -> int:
    options = arguments()
    seconds = options.minutes * 60 if options.minutes else options.seconds
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"{seconds:.0f} s, seed {seed}, {settings.binary()}", flush=True)
    run = Run(seed, seconds)
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        try:
            with Cluster(Path(folder), SETTINGS, options.peers) as cluster:
                run.everything(cluster)
                panics = [line for node in cluster.nodes for line in node.server.panics()]
                if options.keep:
                    keep_logs(cluster, Path(options.keep))
        except StartFailed as failure:
            print(f"{failure}\n0 passed, 1 failed")
            return 1
    results = [("the checker finds what it is there to find", checker_fails()), *run.results(panics)]
    for name, problem in results:
        print(f"{'FAILED' if problem else 'ok'}: {name}{': ' + problem if problem else ''}")
    if options.report:
        Path(options.report).write_text(run.document(options, seconds, results))
    failed = sum(bool(problem) for _, problem in results)
    print(f"\n{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--peers", action="store_true", help="tell the nodes of each other, so that they forward")
    parser.add_argument("--report", help="write a report in Markdown to this file")
    parser.add_argument("--keep", help="copy the nodes' logs into this folder")
    return parser.parse_args()


def checker_fails() -> str:
    command = [sys.executable, "-m", "unittest", "-q", "test_checker"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stderr[-500:]


def keep_logs(cluster, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for node in cluster.nodes:
        (folder / f"{node.name}.log").write_text(node.server.log())


# --- records ---


def vector_of(number: int, version: int) -> list:
    """Coordinate 0 is the version, coordinate 1 the key, the others follow from both."""
    return [float(version), float(number), *(float((version * (i + 3) + number * i) % 17) / 16 for i in range(DIMENSION - 2))]


def record(key, version: int) -> dict:
    metadata = {"g": key.group, "v": version, "k": key.number}
    return {"key": key.name, "data": {"float32": vector_of(key.number, version)}, "metadata": metadata}


def distance(number: int, version: int) -> float:
    """From the origin."""
    return math.sqrt(sum(x * x for x in vector_of(number, version)))


class Run:
    def __init__(self, seed: int, seconds: float):
        self.seed, self.seconds = seed, seconds
        self.history = History()
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.events = []
        self.stop = threading.Event()
        self.groups = {}
        """Group -> its keys, retired ones included."""
        self.names = 0
        self.problems = []
        self.proxies = []

    def count(self, what: str, n: int = 1):
        with self.lock:
            self.counts[what] += n

    def event(self, text: str):
        with self.lock:
            self.events.append((time.monotonic() - self.began, text))
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    # --- the run ---

    def everything(self, cluster):
        self.cluster = cluster
        self.began = time.monotonic()
        self.prepare()
        threads = [threading.Thread(target=self.guarded, args=(self.write, n)) for n in range(WRITERS)]
        threads += [threading.Thread(target=self.guarded, args=(self.read, n)) for n in range(READERS)]
        for thread in threads:
            thread.start()
        try:
            self.nemesis()
        finally:
            self.stop.set()
            cluster.heal()
            for thread in threads:
                thread.join(4 * CLIENT_TIMEOUT)
                if thread.is_alive():
                    self.problems.append("a client did not come to an end")
        self.event("all faults ended; the last checks")
        self.last_checks()
        for node in cluster.nodes:
            self.harvest(node)
        self.proxies = [node.proxy.report() for node in cluster.nodes]

    def prepare(self):
        client = Client(self.cluster.nodes[0].port)
        answer = client.call("PUT", "", bucket=BUCKET)
        assert answer.status == 200, answer.body
        body = {"indexName": INDEX, "dataType": "float32", "dimension": DIMENSION, "distanceMetric": "euclidean"}
        answer = client.post("putVectorIndex", body, BUCKET)
        assert answer.status == 200, answer.body

    def guarded(self, work, number):
        try:
            work(number, random.Random(f"{self.seed}/{work.__name__}/{number}"))
        except Exception as problem:  # noqa: BLE001 - a thread's end must not pass unseen
            self.problems.append(f"{work.__name__} {number}: {type(problem).__name__}: {problem}")
            raise

    def post(self, node, operation: str, body: dict):
        """The answer, or None if there was none."""
        try:
            with Connection(node.port, CLIENT_TIMEOUT) as connection:
                return Client(node.port).post(operation, body, BUCKET, connection=connection)
        except (Closed, OSError):
            self.count("requests without an answer")
            return None

    def any_node(self, rng):
        running = [node for node in self.cluster.nodes if node.running()]
        # Now and then one that is not: a client does not know.
        return rng.choice(running if running and rng.random() < 0.97 else self.cluster.nodes)

    # --- writers ---

    def write(self, number, rng):
        group, keys = self.new_group(number), []
        while not self.stop.is_set():
            keys = [key for key in keys if not key.retired]
            while len(keys) < KEYS_AT_ONCE:
                if len(self.groups[group]) >= GROUP_KEYS_MAX:
                    group = self.new_group(number)
                keys.append(self.new_key(group))
            self.write_batch(rng, rng.sample(keys, rng.randrange(1, KEYS_AT_ONCE)))

    def new_group(self, writer: int) -> int:
        with self.lock:
            group = len(self.groups) + 1
            self.groups[group] = []
            return group

    def new_key(self, group: int):
        with self.lock:
            self.names += 1
            name = f"key-{self.names:05}"
        key = self.history.add(name, group)
        with self.lock:
            self.groups[group] = [*self.groups[group], key]
        return key

    def write_batch(self, rng, keys):
        delete = rng.random() < 0.25
        node = self.any_node(rng)
        versions = self.history.begin(keys, delete)
        if delete:
            answer = self.post(node, "deleteVectors", {"indexName": INDEX, "keys": [key.name for key in keys]})
        else:
            rows = [record(key, version) for key, version in zip(keys, versions)]
            answer = self.post(node, "putVectors", {"indexName": INDEX, "vectors": rows})
        if answer is not None and answer.status == (204 if delete else 200):
            self.history.acknowledge(keys)
            self.count("acknowledged batches")
            self.count("acknowledged writes", len(keys))
        else:
            self.history.unknown(keys)
            self.count("batches of unknown outcome")
            if answer is not None and answer.status < 500:
                self.problems.append(f"a write was answered {answer.status} {answer.body[:200]}")
            if answer is not None:
                self.count(f"writes answered {answer.status} {answer.code}")

    # --- readers ---

    def read(self, number, rng):
        while not self.stop.is_set():
            with self.lock:
                groups = [group for group, keys in self.groups.items() if keys]
            if not groups:
                time.sleep(0.01)
                continue
            # The newest groups are written, the others show what became of unknown outcomes.
            group = rng.choice(groups[-2 * WRITERS :] if rng.random() < 0.8 else groups)
            how = rng.choices([self.query, self.get, self.list], [6, 3, 1])[0]
            how(self.any_node(rng), group, rng)

    def query(self, node, group, rng):
        keys = self.groups[group]
        floors = self.history.floors(keys)
        body = {
            "indexName": INDEX,
            "queryVector": {"float32": [0.0] * DIMENSION},
            "topK": 100,
            "filter": {"g": group},
            "returnMetadata": True,
            "returnDistance": True,
        }
        answer = self.answered(node, "queryVectors", body)
        if answer is None:
            return False
        what = f"query of group {group} through {node.name}"
        found = {}
        for row in answer["vectors"]:
            key, version = self.history.keys.get(row["key"]), row["metadata"]["v"]
            if key is None or row["metadata"] != {"g": group, "v": version, "k": key.number}:
                self.history.broken(what, f"{row}")
                continue
            seen, expected = row["distance"], distance(key.number, version)
            if abs(seen - expected) > 1e-5 * expected + 1e-6:
                self.history.broken(what, f"{row['key']}: distance {seen} belongs to another version than {version} ({expected})")
            if row["key"] in found:
                self.history.broken(what, f"{row['key']} twice")
            found[row["key"]] = version
        self.history.check(what, floors, found)
        self.count("queries")
        return True

    def get(self, node, group, rng):
        keys = self.groups[group]
        keys = rng.sample(keys, min(len(keys), 40))
        floors = self.history.floors(keys)
        body = {"indexName": INDEX, "keys": [key.name for key in keys], "returnData": True, "returnMetadata": True}
        answer = self.answered(node, "getVectors", body)
        if answer is None:
            return False
        what = f"get of {len(keys)} keys through {node.name}"
        self.history.check(what, floors, self.whole(what, answer["vectors"]))
        self.count("gets")
        return True

    def list(self, node, group, rng):
        keys = list(self.history.keys.values())
        floors = self.history.floors(keys)
        rows, token = [], None
        while True:
            body = {"indexName": INDEX, "maxResults": 500, "returnData": True, "returnMetadata": True}
            answer = self.answered(node, "listVectors", body | ({"nextToken": token} if token else {}))
            if answer is None:
                return False
            rows += answer["vectors"]
            token = answer.get("nextToken")
            if not token:
                break
        what = f"list through {node.name}"
        self.history.check(what, floors, self.whole(what, rows))
        self.count("lists")
        return True

    def answered(self, node, operation, body):
        """The answer to a read; None if there was none, which is no violation."""
        answer = self.post(node, operation, body)
        if answer is None:
            return None
        if answer.status != 200:
            self.count(f"reads answered {answer.status} {answer.code}")
            if answer.status < 500:
                self.problems.append(f"{operation} was answered {answer.status} {answer.body[:200]}")
            return None
        return answer.json()

    def whole(self, what, rows) -> dict:
        """Name -> version of rows with their vectors, each compared bit for bit with what that version was."""
        found = {}
        for row in rows:
            key, version = self.history.keys.get(row["key"]), row["metadata"]["v"]
            if key is None or row["data"]["float32"] != vector_of(key.number, version) or row["key"] in found:
                self.history.broken(what, f"{row}")
            found[row["key"]] = version
        return found

    # --- what goes wrong ---

    def nemesis(self):
        rng = random.Random(f"{self.seed}/nemesis")
        acts = [self.kill, self.kill, self.stall, self.cut_off, self.faults, self.faults, self.faults]
        turn = []
        while time.monotonic() - self.began < self.seconds:
            turn = turn or rng.sample(acts, len(acts))
            turn.pop()(rng)
            self.pause(rng.uniform(0.5, 2))

    def pause(self, seconds):
        left = self.seconds - (time.monotonic() - self.began)
        time.sleep(max(0, min(seconds, left)))

    def harvest(self, node):
        """Adds what a node did in the background since it was started; called before it is killed."""
        try:
            text = node.server.admin("/metrics")[1]
        except OSError:
            return
        for what, metric in BACKGROUND.items():
            found = re.search(rf"^{metric} (\S+)$", text, re.M)
            self.count(what, int(float(found.group(1))) if found else 0)

    def kill(self, rng):
        node = rng.choice(self.cluster.nodes)
        self.harvest(node)
        self.event(f"kill -9 {node.name}")
        self.count("kill -9")
        node.kill()
        self.pause(rng.uniform(0, 2))
        node.start()

    def stall(self, rng):
        node = rng.choice(self.cluster.nodes)
        seconds = rng.uniform(*STOP_SECONDS)
        self.event(f"SIGSTOP {node.name} for {seconds:.1f} s")
        self.count("SIGSTOP")
        node.pause()
        self.pause(seconds)
        if rng.random() < 0.2:
            self.event(f"kill -9 {node.name} while it is stopped")
            self.count("kill -9")
            node.kill()
            node.start()
        else:
            node.resume()

    def cut_off(self, rng):
        node = rng.choice(self.cluster.nodes)
        link = rng.choice(["hang", "refuse"])
        self.event(f"{node.name} cut off from the store ({link})")
        self.count("cut off from the store")
        node.proxy.order(link=link)
        self.pause(rng.uniform(2, 9))
        node.proxy.order(link="ok")

    def faults(self, rng):
        name = rng.choice(list(FAULTS))
        nodes = rng.sample(self.cluster.nodes, rng.randrange(1, 4))
        self.event(f"{name} on the way of {', '.join(sorted(node.name for node in nodes))}")
        self.count("fault bursts")
        for node in nodes:
            node.proxy.order(faults=FAULTS[name])
        self.pause(rng.uniform(2, 8))
        for node in nodes:
            node.proxy.order(faults={})

    # --- the end ---

    def last_checks(self):
        """Every node shows every group, once all is well: also what became of unknown outcomes."""
        rng = random.Random(self.seed)
        for node in self.cluster.nodes:
            for group in [group for group, keys in self.groups.items() if keys]:
                self.insist(self.query, node, group, rng)
            self.insist(self.list, node, 0, rng)

    def insist(self, how, node, group, rng):
        deadline = time.monotonic() + 60
        while not how(node, group, rng):
            if time.monotonic() > deadline:
                self.problems.append(f"{node.name} does not answer although nothing is broken any more")
                return
            time.sleep(0.2)

    # --- the report ---

    def results(self, panics) -> list:
        """(test, what is wrong or "")."""
        kinds = collections.defaultdict(list)
        for violation in self.history.violations:
            kinds[violation.kind].append(violation.text)
        named = ["under-return or lost write", "stale read", "back from deletion", "invented", "broken record"]
        results = [(f"no {kind}", summary(kinds[kind])) for kind in named]
        results.append(("no panic", summary(panics)))
        results.append(("clients had no other trouble", summary(self.problems)))
        busy = self.counts["acknowledged batches"] >= self.seconds and self.history.reads >= self.seconds
        enough = busy and self.counts["flushes"] > 0
        results.append(("enough happened", "" if enough else f"{dict(self.counts)}"))
        return results

    def document(self, options, seconds, results) -> str:
        return report(self, options, seconds, results)


def summary(texts: list) -> str:
    return f"{len(texts)}, first: {'; '.join(texts[:3])}" if texts else ""


def report(run, options, seconds, results) -> str:
    faults, requests = collections.Counter(), 0
    for proxy in run.proxies:
        requests += proxy["requests"]
        faults.update(proxy["faults"])
    unknown = sum(key.retired for key in run.history.keys.values())
    counted = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(run.counts.items()))
    broken = "\n".join(f"| {name} | {count:,} |" for name, count in sorted(faults.items()))
    checked = "\n".join(f"| {name} | {problem or 'held'} |" for name, problem in results)
    return (HERE / "report.txt").read_text().format(
        minutes=f"{seconds / 60:g}",
        command=f"cargo xtask soak reliability --minutes {seconds / 60:g} --seed {run.seed}{' --peers' if options.peers else ''}",
        forwarding="forward requests to each other" if options.peers else "serve each request themselves",
        acknowledged=run.counts["acknowledged writes"],
        reads=run.history.reads,
        rows=run.history.rows,
        keys=len(run.history.keys),
        unknown=unknown,
        requests=requests,
        injected=sum(faults.values()),
        counted=counted,
        broken=broken,
        checked=checked,
    )


if __name__ == "__main__":
    sys.exit(main())
