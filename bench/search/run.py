#!/usr/bin/env python3
"""Measures vector search of this project and of others side by side; `cargo xtask bench search` builds and starts it.

    python3 bench/search/run.py                                   everything; an hour or more, most of it the others' builds
    python3 bench/search/run.py --quick                           a small part of each set, without the others, under two minutes
    python3 bench/search/run.py --only glove100,engine,scann      only these sets, engines, parts
    python3 bench/search/run.py --only minilm384,curve --reuse    over what an earlier run built, its results kept
    python3 bench/search/run.py --check                           the tests of these programs
    python3 bench/search/run.py --scale                           how everything grows from 10,000 to 1,000,000 generated rows

Needs the sets of bench/data. The others are packages fetched by name into a virtual environment, pinned in
requirements-peers.txt; one that cannot be had is reported as absent. Results: results.json, index.html and tables.md
under --out. Recall is counted here, from the ids that engines answer with, for all of them alike.
"""

import argparse
import datetime
import importlib.util
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS = ("core", "engine", "http")
SETS = ("glove100", "minilm384")
SCALE_SETS = {"topics256": 256, "topics768": 768}
SCALE_ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
QUICK = {"rows": 12_000, "queries": 100, "seconds": 0.15, "rounds": 1, "flush_age": 1, "settle_seconds": 60.0, "every": 0.25}


def parse_arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="comma-separated names of sets, engines and parts; a kind of which none is named is whole")
    parser.add_argument("--quick", action="store_true", help="a small part of each set; others only if named in --only")
    parser.add_argument("--check", action="store_true", help="test these programs and measure nothing")
    parser.add_argument("--scale", action="store_true", help="generated sets of growing size instead of the real ones")
    parser.add_argument("--scale-rows", type=int, default=max(SCALE_ROWS), help="the largest size")
    parser.add_argument("--reuse", action="store_true", help="open what an earlier run built, and add to its results")
    parser.add_argument("--data", type=Path, default=ROOT / "bench/data/work", help="folder of the sets of bench/data")
    parser.add_argument("--out", type=Path, help="folder for everything (default: target/bench/search, or search-quick beside it)")
    parser.add_argument("--binaries", type=Path, default=target / "release", help="folder of vectorbucket and vb-bench")
    parser.add_argument("--rows", type=int, help="rows of each set, drawn at random")
    parser.add_argument("--queries", type=int, default=1000, help="queries of each set, drawn at random")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each measurement, about")
    parser.add_argument("--rounds", type=int, default=3, help="times that settings worth it are measured")
    parser.add_argument("--settle-seconds", type=float, default=420.0, help="how long background work is waited for at most")
    parser.add_argument("--flush-age", type=int, help="seconds after which this project flushes a memtable, if not its default")
    parser.add_argument("--memory-limit", help="of this project, as 512MiB, if not its default")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between samples while rows are put")
    parser.add_argument("--at-a-time", type=int, default=10, help="queries of a sample")
    arguments = parser.parse_args()
    arguments.out = arguments.out or target / ("bench/search-quick" if arguments.quick else "bench/search")
    if arguments.quick:
        for name, value in QUICK.items():
            setattr(arguments, name, value)
    return arguments


def enter_environment(out):
    """Goes on inside a virtual environment with what this program needs; makes it on first use."""
    if importlib.util.find_spec("numpy") and Path(sys.prefix).resolve() == (out / "venv").resolve():
        return
    python = out / "venv/bin/python"
    if not python.exists():
        print(f"making the virtual environment {out / 'venv'}", flush=True)
        venv.create(out / "venv", with_pip=True)
    if Path(sys.prefix).resolve() != (out / "venv").resolve():
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        os.execv(python, [str(python), "-u", str(HERE / "run.py"), *sys.argv[1:]])


def choose(only):
    """(sets, engines, parts) that --only names; a kind of which it names none is whole."""
    sys.path.insert(0, str(HERE / "peers"))
    from adapters import PEERS
    from measure.parts import PARTS

    words = [word for word in only.split(",") if word]
    kinds = [(*SETS, *SCALE_SETS), (*OURS, *PEERS), PARTS]
    unknown = [word for word in words if not any(word in kind for kind in kinds)]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(' '.join(kind) for kind in kinds)}")
    return [[word for word in kind if word in words] or list(kind) for kind in kinds]


def install(peers):
    """Installs each peer's package; returns {peer: why not} of those that cannot be had."""
    from adapters import package

    absent = {}
    for name in dict.fromkeys(package(peer) for peer in peers):
        if is_installed(name):
            continue
        print(f"installing {name}", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "-c", HERE / "requirements-peers.txt", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
            print(f"  {name} is absent: {why}", flush=True)
            absent |= {peer: why for peer in peers if package(peer) == name}
    return absent


def is_installed(name):
    from importlib import metadata

    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


class Options:
    """What a run was asked for, as the measuring modules need it."""

    def __init__(self, arguments, parts):
        self.arguments, self.parts = arguments, parts
        for name in ("reuse", "seconds", "rounds", "settle_seconds", "every", "at_a_time"):
            setattr(self, name, getattr(arguments, name))

    def engine_folder(self, data, engine):
        return self.arguments.out / "engines" / data.name / engine

    def start(self, data, engine, folder):
        """A worker for an engine over a folder of its own."""
        from measure.worker import Worker

        log = folder.parent / f"{folder.name}.log"
        folder.mkdir(parents=True, exist_ok=True)
        if engine in OURS:
            return Worker(self.own(data, engine, folder), log)
        return Worker([sys.executable, str(HERE / "peers/worker.py"), "--peer", engine, "--set", str(data.folder), "--folder", str(folder)], log)

    def own(self, data, engine, folder):
        binaries = self.arguments.binaries
        command = [str(binaries / "vb-bench"), "--server", str(binaries / "vectorbucket"), "--work", str(self.arguments.out)]
        command += ["search-worker", "--engine", engine, "--set", str(data.folder), "--folder", str(folder)]
        for flag in ("flush_age", "memory_limit"):
            value = getattr(self.arguments, flag)
            command += [f"--{flag.replace('_', '-')}", str(value)] if value is not None else []
        return command


def prepared(arguments, name):
    """The folder of a set as engines read it, made on first use."""
    from measure import prepare
    from measure.parts import Set

    quick = f"-{arguments.rows}" if arguments.rows else ""
    folder = arguments.out / "sets" / f"{name}{quick}-{arguments.queries}"
    if not (folder / "set.json").exists():
        if not (arguments.data / f"{name}.json").exists():
            raise SystemExit(f"{arguments.data} lacks {name}: python3 bench/data/make.py {name}")
        say(f"preparing {folder}")
        prepare.real_set(arguments.data, name, folder, arguments.rows, arguments.queries)
    return Set(name, folder)


def measure_set(arguments, options, data, engines, results):
    """Everything that was asked for about one set."""
    from measure.parts import Measure

    measure = Measure(data, results, options, lambda engine, folder: options.start(data, engine, folder), say)
    wants, workers = measure.wants, {}
    try:
        if any(wants(part) for part in ("build", "fresh", "open", "curve", "filter", "drift")):
            for engine in engines:
                if worker := measure.tried(engine, "build", lambda: measure.build(engine)):
                    workers[engine] = worker
                elif "build" in measure.of(engine) and (worker := measure.tried(engine, "open", lambda: measure.open(engine))):
                    workers[engine] = worker
        if wants("curve"):
            measure.curves(workers)
            if "http" in workers:
                measure.tried("http", "connections", lambda: measure.connections("http", workers["http"]))
        if wants("filter"):
            measure.filters(workers)
        if wants("drift"):
            for engine, worker in workers.items():
                measure.tried(engine, "drift", lambda: measure.drift(engine, worker))
    finally:
        for worker in workers.values():
            worker.close()
    if wants("update"):
        for engine in engines:
            measure.tried(engine, "update", lambda: measure.update(engine))


def measure_scale(arguments, options, sets, engines, results):
    """Growing sizes of generated rows; each size in a process of its own. Returns what failed, as the closing line names it."""
    from measure import prepare
    from measure.parts import Measure, Set

    most, failed = arguments.scale_rows, []
    for name in sets:
        folder = arguments.out / "sets" / f"{name}-{most}"
        if not (folder / "set.json").exists():
            say(f"generating {folder}")
            prepare.generated_set(folder, most, SCALE_SETS[name])
        for rows in [rows for rows in SCALE_ROWS if rows < most] + [most]:
            data = Set(name, folder, rows)
            for engine in engines:
                measure = Measure(data, {}, options, lambda engine, place: options.start(data, engine, place), say)
                found = measure.tried(engine, "scale", lambda: one_size(measure, engine))
                if not found:
                    failed.append(f"{name} {engine} {rows}")
                else:
                    results.setdefault(name, {}).setdefault(engine, {})[str(rows)] = found
                    point = found["points"][0]
                    say(f"{name} {rows} {engine}: {found['cpu']:.1f} CPU s, recall {point['recall']:.3f}, {point['qps']:.0f} QPS per core, {point.get('bytes', 0):.0f} bytes per query")
    return failed


def one_size(measure, engine):
    """Build, memory, speed and bytes at one size."""
    worker = measure.build(engine)
    worker = worker or measure.open(engine)
    try:
        settings = ["default" if engine != "core" else "0.98", "0.95", "0.99"]
        points = [measure.run(worker, setting) for setting in settings]
    finally:
        worker.close()
    build = measure.of(engine)["build"]
    stays = measure.of(engine).get("open", {}).get("memory_stays")
    cpu = build["cpu"] + build.get("background_cpu", 0)
    return {"cpu": cpu, "disk": build["disk"], "notes": build.get("notes"), "memory_at_most": build["memory_at_most"], "memory_share": stays and stays / measure.data.raw, "points": points}


def say(line):
    print(f"{datetime.datetime.now():%H:%M:%S} {line}", flush=True)


def machine():
    cpu = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")), "unknown")
    memory = int(open("/proc/meminfo", encoding="utf-8").readline().split()[1]) * 1024
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "memory_gb": round(memory / 1e9)}


def write(arguments, results):
    """Results, page and tables, after every set, so that a stopped run leaves what it has."""
    from measure import page, table

    (arguments.out / "results.json").write_text(json.dumps(results, indent=1))
    (arguments.out / "index.html").write_text(page.page(results), encoding="utf-8")
    (arguments.out / "tables.md").write_text(table.tables(results), encoding="utf-8")
    if image := page.growth_image(results["scale"], "bytes"):
        (arguments.out / "growth.svg").write_text(image, encoding="utf-8")


def earlier(arguments):
    path = arguments.out / "results.json"
    kept = json.loads(path.read_text()) if arguments.reuse and path.exists() else {}
    return {"sets": {}, "scale": {}, **kept, "machine": machine(), "date": f"{datetime.date.today()}"}


def closing(results):
    """Rates at two recalls and what this project's are of each other's."""
    from measure import summary

    for name, one in results["sets"].items():
        say(f"{name}: QPS per core at recall, ours as a multiple (index alone in brackets)")
        for line in summary.ratios(one["engines"]):
            ratio = f"{summary.shown(line['engine_ratio'], 2, 'x')} ({summary.shown(line['core_ratio'], 2, 'x')})"
            say(f"  {line['recall']}  {summary.name(line['engine']):32} {summary.shown(line['qps']):>8}  {'' if line['engine'] in OURS else ratio}")


def main():
    arguments = parse_arguments()
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    enter_environment(arguments.out)
    if arguments.check:
        import test_measure

        return test_measure.run()
    started = time.monotonic()
    sets, engines, parts = choose(arguments.only)
    named = arguments.only.split(",")
    if arguments.quick or arguments.scale:
        engines = [engine for engine in engines if engine in OURS or engine in named]
    if arguments.scale:
        engines = [engine for engine in engines if engine != "http" or "http" in named]
    results = earlier(arguments)
    results["absent"] = install([engine for engine in engines if engine not in OURS])
    engines = [engine for engine in engines if engine not in results["absent"]]
    options = Options(arguments, parts)
    failed = []
    if arguments.scale:
        failed = measure_scale(arguments, options, [name for name in sets if name in SCALE_SETS], engines, results["scale"])
    for name in [] if arguments.scale else [name for name in sets if name in SETS]:
        data = prepared(arguments, name)
        kept = results["sets"].setdefault(name, {"engines": {}})
        kept |= {"rows": data.rows, "dimension": data.dimension, "raw": data.raw}
        measure_set(arguments, options, data, engines, kept["engines"])
        write(arguments, results)
    write(arguments, results)
    closing(results)
    failed += [f"{name} {engine} {part}" for name, one in results["sets"].items() for engine, found in one["engines"].items() for part in found.get("failed", {})]
    say(f"done in {time.monotonic() - started:.0f} s: {arguments.out / 'index.html'}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    # Another engine's failure is a result; one of this project's is an error.
    return any(name.split()[1] in OURS for name in failed)


if __name__ == "__main__":
    sys.exit(main())
