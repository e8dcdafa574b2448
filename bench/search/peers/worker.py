"""One other engine, told line by line what to do; the requests are those of bench/src/search/mod.rs.

    python worker.py --peer scann --set FOLDER --folder FOLDER

One thread for everything: the figure that is compared is queries per CPU second.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "LANCE_CPU_THREADS", "TOKIO_WORKER_THREADS")
for name in THREADS:
    os.environ[name] = "1"

import numpy as np  # after the threads are bounded: it reads that once

import adapters

BATCH, WARMING, K = 500, 20, 10


class Worker:
    def __init__(self, peer, folder, place):
        self.folder, self.place = Path(folder), Path(place)
        card = json.loads((self.folder / "set.json").read_text())
        self.filters = card["filters"]
        self.peer = adapters.PEERS[peer](card["dimension"], self.place)
        self.arrays, self.columns = {}, None
        # What rows are known by, current: filters of engines without metadata need it.
        self.kept = {}

    def array(self, name):
        if name not in self.arrays:
            self.arrays[name] = np.load(self.folder / f"{name}.npy")
        return self.arrays[name]

    def metadata(self):
        if self.columns is None:
            self.columns = json.loads((self.folder / "metadata.json").read_text())
        return self.columns

    def hello(self):
        can = [name for name in ("filter", "put", "delete", "open") if getattr(self.peer, f"can_{name}")]
        settings = [[json.dumps(setting) for setting in group] for group in self.peer.settings()]
        return {"version": self.peer.version(), "settings": settings, "can": can, "pid": os.getpid()}

    def build(self, rows):
        base, columns = self.array("base")[:rows], self.metadata()
        start, cpu = time.monotonic(), time.process_time()
        self.peer.build(base, {key: column[:rows] for key, column in columns.items()})
        took = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - start}
        self.peer.save()
        return {**took, "disk": bytes_in(self.place)}

    def settle(self, seconds):
        return {"cpu": 0.0, "wall": 0.0}

    def open(self):
        query = self.array("query")[0]
        start = time.monotonic()
        self.peer.open()
        opened = time.monotonic()
        self.peer.search(query, self.peer.settings()[0][0])
        return {"open": opened - start, "first": time.monotonic() - opened}

    def run(self, setting, queries, seconds, filter=None, all=False, connections=None):
        queries, setting = self.array(queries), json.loads(setting)
        if filter is None:
            ask = lambda place: self.peer.search(queries[place], setting)
        else:
            if filter not in self.kept:
                self.kept[filter] = self.peer.filter(self.filters[filter], self.keeps(filter))
            prepared = self.kept[filter]
            ask = lambda place: self.peer.filtered(queries[place], setting, prepared)
        for place in range(WARMING):
            ask(place * 37 % len(queries))
        return measure(ask, len(queries), seconds, all)

    def keeps(self, name):
        """Which rows a filter keeps."""
        one = self.filters[name]
        column = np.asarray(self.metadata()[one["key"]])
        return column < one["value"] if one["op"] == "lt" else column == one["value"]

    def records(self, start, end, vectors, offset):
        rows, columns = self.array(vectors), self.metadata()
        keys = np.arange(start, end)
        count = len(next(iter(columns.values())))
        metadata = {key: [column[k % count] for k in keys] for key, column in columns.items()}
        return keys, rows[(keys + offset) % len(rows)], metadata

    def put(self, to, vectors, offset, **request):
        start, cpu = time.monotonic(), time.process_time()
        for first in range(request["from"], to, BATCH):
            self.peer.put(*self.records(first, min(to, first + BATCH), vectors, offset))
        return {"cpu": time.process_time() - cpu, "wall": time.monotonic() - start}

    def delete(self, to, step, **request):
        start, cpu = time.monotonic(), time.process_time()
        self.peer.delete(np.arange(request["from"], to, step))
        return {"cpu": time.process_time() - cpu, "wall": time.monotonic() - start}

    def answer(self, line):
        request = json.loads(line)
        return getattr(self, request.pop("do"))(**request)


def measure(ask, count, seconds, all):
    ids, micros = [], []
    start, cpu = time.monotonic(), time.process_time()
    place = 0
    while True:
        asked = time.perf_counter()
        found = ask(place)
        micros.append((time.perf_counter() - asked) * 1e6)
        if len(ids) < count:
            ids.append(found)
        place = (place + 1) % count
        if (not all or len(ids) == count) and time.monotonic() - start > seconds:
            break
    took = {"cpu": time.process_time() - cpu, "wall": time.monotonic() - start}
    return {**took, "ids": [[int(i) for i in found] for found in ids], "count": len(micros), "p50": float(np.percentile(micros, 50)), "p99": float(np.percentile(micros, 99))}


def bytes_in(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", required=True, choices=sorted(adapters.PEERS))
    parser.add_argument("--set", required=True)
    parser.add_argument("--folder", required=True)
    arguments = parser.parse_args()
    Path(arguments.folder).mkdir(parents=True, exist_ok=True)
    worker = None
    for line in sys.stdin:
        try:
            worker = worker or Worker(arguments.peer, arguments.set, arguments.folder)
            answer = worker.answer(line)
        except Exception as error:  # whatever a library raises is this peer's answer, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(answer), flush=True)
    sys.stdout.flush()
    # Some libraries' threads do not end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
