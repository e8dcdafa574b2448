"""What is measured of each engine on one set; every function fills in one part of the results.

    build     rows in batches of 500, then whatever the engine does behind them: CPU, memory at most, disk
    fresh     straight after the last put, before that work is done (this project only)
    open      a new process: seconds until it can answer, the first query, memory that stays
    curve     recall against queries per CPU second, over the engine's settings
    filter    the same with filters, random and real
    drift     queries from another distribution than the rows
    update    recall each second while all rows are put, then while all are overwritten; half deleted; another
              distribution put on top
"""

import json
import math
import shutil
import statistics
import time

import numpy as np

from . import exact
from .prepare import mask
from .worker import Failed

PARTS = ("build", "fresh", "open", "curve", "filter", "drift", "update")
# A group of settings is swept no further than this recall, or this slow.
ENOUGH, TOO_SLOW = 0.997, 60
# Settings tried per filter of an engine that has no default: from fast to exact until the recall is here.
FILTER_RECALL = 0.98
BATCH = 500


class Set:
    """A prepared folder and its truth, which is kept in files beside it."""

    def __init__(self, name, folder, rows=None):
        self.name, self.folder = name, folder
        card = json.loads((folder / "set.json").read_text())
        self.dimension, self.filters = card["dimension"], card["filters"]
        self.rows = rows or card["rows"]
        self.base = np.load(folder / "base.npy", mmap_mode="r")
        self.columns = None

    @property
    def raw(self):
        return self.rows * self.dimension * 4

    def array(self, name):
        return np.load(self.folder / f"{name}.npy")

    def keeps(self, name):
        """The mask of a filter."""
        self.columns = self.columns or json.loads((self.folder / "metadata.json").read_text())
        return mask(self.filters[name], self.columns)[: self.rows]

    def truth(self, queries="query", filter=None):
        """(k-th products, rows to find), for `exact.recall`."""
        words = f"{queries} {self.rows} {json.dumps(self.filters[filter]) if filter else ''}"
        path = self.folder / f"truth-{''.join(c if c.isalnum() else '-' for c in words)}.npy"
        allowed = np.flatnonzero(self.keeps(filter)) if filter else None
        wanted = min(exact.K, self.rows if allowed is None else len(allowed))
        if not path.exists():
            np.save(path, exact.kth_products(self.base[: self.rows], self.array(queries), allowed)[0])
        return np.load(path), wanted


class Measure:
    """The results of one set, `{engine: {part: ...}}`, as they come."""

    def __init__(self, data, results, options, start, say):
        self.data, self.results, self.options, self.start, self.say = data, results, options, start, say

    def of(self, engine):
        return self.results.setdefault(engine, {})

    def tried(self, engine, part, work):
        """Runs `work`; a failure is kept as the part's result, and the run goes on."""
        started = time.monotonic()
        self.of(engine).get("failed", {}).pop(part, None)
        try:
            return work()
        except (Failed, OSError) as error:
            self.of(engine).setdefault("failed", {})[part] = str(error)
            self.say(f"{self.data.name} {engine} {part}: FAILED after {time.monotonic() - started:.0f} s: {error}")
            return None

    def wants(self, part):
        return part in self.options.parts

    # Building and opening

    def build(self, engine):
        """Builds into the engine's folder; returns the worker if it cannot be opened again, else None."""
        folder = self.options.engine_folder(self.data, engine)
        kept = folder.with_suffix(".built.json")
        if self.options.reuse and kept.exists():
            self.of(engine).update(json.loads(kept.read_text()))
            return None
        shutil.rmtree(folder, ignore_errors=True)
        kept.unlink(missing_ok=True)
        worker = self.start(engine, folder)
        try:
            self.fill(worker, engine)
        except Failed:
            worker.close()
            raise
        if "open" not in worker.about["can"]:
            return worker
        worker.close()
        kept.write_text(json.dumps({part: self.of(engine)[part] for part in ("build", "fresh") if part in self.of(engine)}))
        return None

    def fill(self, worker, engine):
        built = worker.ask(do="build", rows=self.data.rows)
        at_most = worker.resident()["VmHWM"]
        build = {"cpu": built["cpu"], "wall": built["wall"], "version": worker.about["version"]}
        if "settle" in worker.about["can"]:
            if self.wants("fresh"):
                self.of(engine)["fresh"] = {"notes": built.get("notes"), "points": self.sweep(worker)}
            settled = worker.ask(do="settle", seconds=self.options.settle_seconds)
            build |= {"background_cpu": settled["cpu"], "settled": settled["wall"]}
            built, at_most = settled, worker.resident()["VmHWM"]
        self.of(engine)["build"] = build | {"disk": built.get("disk"), "notes": built.get("notes"), "memory_at_most": at_most}
        self.say(f"{self.data.name} {engine} built: {build['cpu'] + build.get('background_cpu', 0):.1f} CPU s, {at_most / 1e6:.0f} MB at most")

    def open(self, engine):
        """A new process over what was built."""
        worker = self.start(engine, self.options.engine_folder(self.data, engine))
        try:
            opened = worker.ask(do="open")
            self.run(worker, self.usual(worker))
        except Failed:
            worker.close()
            raise
        self.of(engine)["open"] = {"open": opened["open"], "first": opened["first"], "memory_stays": worker.resident()["VmRSS"]}
        return worker

    # Queries

    def run(self, worker, setting, filter=None, queries="query", **more):
        """One measurement: recall, queries per CPU second, latencies."""
        request = {"setting": setting, "queries": queries, "seconds": self.options.seconds, **more}
        if filter:
            request["filter"] = filter
        answer = worker.ask(do="run", **request)
        kth, wanted = self.data.truth(queries, filter)
        counts = self.data.keeps(filter) if filter else None
        found, short, wrong = exact.recall(self.data.base[: self.data.rows], self.data.array(queries), answer["ids"], kth, wanted, counts)
        rate = answer["count"] / max(answer["cpu"], 1e-9)
        point = {"setting": setting, "recall": found, "qps": rate, "wall_qps": answer["count"] / answer["wall"], "p50": answer["p50"], "p99": answer["p99"]}
        point |= {"short": short, "wrong": wrong, "answers": len(answer["ids"])}
        return point | ({"bytes": answer["bytes"]} if "bytes" in answer else {})

    def usual(self, worker):
        """The default, or for engines without one a setting from the middle."""
        group = groups(worker)[0]
        return "default" if "default" in group else group[len(group) // 3]

    def sweep(self, worker):
        """A point per setting; each group until it is exact enough or too slow."""
        points = []
        for group in groups(worker):
            for setting in group:
                points.append(self.run(worker, setting))
                if points[-1]["recall"] >= ENOUGH or points[-1]["qps"] < TOO_SLOW:
                    break
        return points

    def curves(self, workers):
        """All engines in turn, again and again, so that a slow minute of the machine meets them all; medians count."""
        points = {}
        for engine, worker in workers.items():
            swept = self.tried(engine, "curve", lambda: self.sweep(worker))
            if swept:
                points[engine] = {point["setting"]: [point] for point in swept}
                self.say(f"{self.data.name} {engine}: {len(swept)} settings, recall {swept[0]['recall']:.3f} to {max(p['recall'] for p in swept):.3f}")
        for round in range(1, self.options.rounds):
            self.say(f"{self.data.name} round {round + 1} of {self.options.rounds}")
            for engine, by_setting in points.items():
                for setting in worth(by_setting):
                    again = self.tried(engine, "curve", lambda: self.run(workers[engine], setting))
                    by_setting[setting] += [again] if again else []
        for engine, by_setting in points.items():
            self.of(engine)["curve"] = [median(many) for many in by_setting.values()]

    def filters(self, workers):
        for name, test in self.data.filters.items():
            for engine, worker in workers.items():
                if "filter" in worker.about["can"]:
                    points = self.tried(engine, "filter", lambda: self.filter_points(worker, name))
                    if points:
                        shown = {"filter": name, "share": test["share"], "wanted": test["wanted"], "is_random": name.startswith("random")}
                        self.of(engine).setdefault("filter", {})[name] = shown | {"points": points}
            self.say(f"{self.data.name} filter {name} (keeps {test['share'] * 100:.2f} %) done")

    def filter_points(self, worker, name):
        """At the default; without one, from fast to exact until the recall is what the default promises."""
        if "default" in groups(worker)[0]:
            return [self.run(worker, "default", name)]
        points = []
        for setting in groups(worker)[-1]:
            points.append(self.run(worker, setting, name))
            if points[-1]["recall"] >= FILTER_RECALL or points[-1]["qps"] < TOO_SLOW / 4:
                break
        return points

    def drift(self, engine, worker):
        if "default" in groups(worker)[0]:
            self.of(engine)["drift"] = self.run(worker, "default", queries="drift", all=True)

    def connections(self, engine, worker):
        """Two connections at a time."""
        self.of(engine)["connections"] = {count: self.run(worker, "default", connections=count) for count in (1, 2)}

    # Updates

    def update(self, engine):
        """In a process and a folder of its own."""
        folder = self.options.engine_folder(self.data, f"{engine}-update")
        shutil.rmtree(folder, ignore_errors=True)
        worker = self.start(engine, folder)
        try:
            if "churn" in worker.about["can"]:
                self.of(engine)["update"] = self.churn(worker)
            elif "delete" in worker.about["can"]:
                worker.ask(do="build", rows=self.data.rows)
                self.of(engine)["update"] = {"deleted": self.delete_half(worker, np.array(self.data.base[: self.data.rows]))}
        finally:
            worker.close()
            shutil.rmtree(folder, ignore_errors=True)

    def churn(self, worker):
        rows, base, shift = self.data.rows, np.array(self.data.base[: self.data.rows]), self.data.array("shift")
        worker.ask(do="build", rows=BATCH)
        done = {"insert": self.put(worker, base, BATCH, rows, BATCH, "base", 0, None, "query")}
        # Every key gets the row of another.
        offset = rows // 3 + 1
        moved = np.roll(base, -offset, axis=0)
        done["overwrite"] = self.put(worker, base, 0, rows, rows, "base", self.wrapped(offset), moved, "query")
        done["deleted"] = self.delete_half(worker, moved)
        alive = np.ones(rows + len(shift), bool)
        alive[:rows:2] = False
        both = np.concatenate([moved, shift])
        offset = (len(shift) - rows % len(shift)) % len(shift)
        done["shift"] = self.put(worker, both, rows, len(both), rows, "shift", offset, None, "drift", alive)
        return done

    def wrapped(self, offset):
        """Rows of a longer array than is measured would not come in this order."""
        if len(self.data.base) != self.data.rows:
            raise Failed("updates are measured on whole sets")
        return offset

    def put(self, worker, current, start, end, known, vectors, offset, rows, queries, alive=None):
        """Puts keys start..end at full rate; recall per sample.

        `current` (keys x dimension) is what keys are once they are there; `rows` what they become, if they had been
        there before. Keys from `known` on are not there at first; `alive` masks those that were deleted.
        """
        answer = worker.ask(
            do="churn", **{"from": start, "to": end}, vectors=vectors, offset=offset, queries=queries, at_a_time=self.options.at_a_time, every=self.options.every
        )
        asked = self.data.array(queries)
        alive = np.ones(len(current), bool) if alive is None else alive
        samples = []
        for sample in answer["samples"]:
            before, after = sample["before"], min(end, sample["after"] + BATCH)
            now = current if rows is None else both_states(current, rows, start, before)
            certain = alive & (np.arange(len(current)) < max(before, known))
            certain[before:after] = False
            samples.append({"at": sample["at"], "recall": sampled(now, certain, asked[sample["query"]], sample["ids"], (before, after)), "seconds": sample["seconds"]})
        rate = (end - start) / answer["wall"]
        worst = min(sample["recall"] for sample in by_second(samples))
        self.say(f"{self.data.name} put {vectors} {start}..{end} at {rate:.0f}/s: recall at least {worst:.3f}")
        return {"rate": rate, "cpu": answer["cpu"], "worst": worst, "seconds": by_second(samples), "notes": answer.get("notes")}

    def delete_half(self, worker, current):
        took = worker.ask(do="delete", **{"from": 0, "to": len(current)}, step=2)
        counts = np.arange(len(current)) % 2 == 1
        queries = self.data.array("query")
        kth, wanted = exact.kth_products(current, queries, np.flatnonzero(counts))
        points = []
        for setting in ["default"] if "default" in groups(worker)[0] else groups(worker)[-1]:
            answer = worker.ask(do="run", setting=setting, queries="query", seconds=self.options.seconds)
            found, short, wrong = exact.recall(current, queries, answer["ids"], kth, wanted, counts)
            points.append({"setting": setting, "recall": found, "qps": answer["count"] / answer["cpu"], "short": short, "wrong": wrong})
            if found >= FILTER_RECALL:
                break
        self.say(f"{self.data.name} half deleted: recall {points[-1]['recall']:.3f}, {points[-1]['qps']:.0f} QPS per core")
        return {"cpu": took["cpu"], "wall": took["wall"], "points": points}


def both_states(current, rows, start, before):
    """What keys are now: those put before have their new row."""
    now = current.copy() if before > start else current
    now[start:before] = rows[start:before]
    return now


def sampled(now, certain, query, ids, uncertain):
    """Recall of one answer given while rows `uncertain` (a range) were being put: whichever state they are in is right."""
    products = now @ query
    right = products[certain]
    wanted = min(exact.K, len(right))
    if wanted == 0:
        return 1.0
    kth = np.partition(right, len(right) - wanted)[len(right) - wanted]
    found = np.unique(np.asarray(ids, np.int64))
    found = found[(found >= 0) & (found < len(now))]
    is_uncertain = (found >= uncertain[0]) & (found < uncertain[1])
    hits = is_uncertain | (certain[found] & (products[found] >= kth - exact.TIE))
    return min(wanted, int(hits.sum())) / wanted


def by_second(samples):
    """Means of each second."""
    seconds = {}
    for sample in samples:
        seconds.setdefault(int(sample["at"]), []).append(sample)
    mean = lambda many, name: statistics.mean(one[name] for one in many)
    return [{"second": second, "recall": mean(many, "recall"), "ms": 1e3 * mean(many, "seconds")} for second, many in sorted(seconds.items())]


def groups(worker):
    """An engine's settings: groups, each from fast to exact."""
    settings = worker.about["settings"]
    return settings if settings and isinstance(settings[0], list) else [settings]


def worth(by_setting, factor=0.8):
    """Settings near the front: those that no other beats in recall by more than a fifth of the speed."""
    points = [many[0] for many in by_setting.values()]
    beaten = lambda one: any(other["recall"] >= one["recall"] and other["qps"] * factor > one["qps"] for other in points)
    return [one["setting"] for one in points if not beaten(one)]


def median(points):
    """One point out of several of the same setting."""
    middle = {name: statistics.median(point[name] for point in points) for name in ("qps", "wall_qps", "p50", "p99")}
    spread = max(point["qps"] for point in points) / max(min(point["qps"] for point in points), 1e-9)
    return {**points[0], **middle, "rounds": len(points), "spread": round(spread, 3) if math.isfinite(spread) else None}
