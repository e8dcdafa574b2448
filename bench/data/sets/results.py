"""From rows to the files of a set: distinct rows, held-out queries, exact ground truth, atomic writing."""

import hashlib
import json
import os
import time

import numpy as np

from .progress import Progress

NEIGHBOURS = 100
CANDIDATES = 2 * NEIGHBOURS


def unit_rows(rows):
    """Rows of length one, float32. A zero row stays zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    length[length == 0] = 1.0
    return np.ascontiguousarray(rows / length, dtype=np.float32)


def distinct(rows, decimals):
    """Ascending indices of the first of each group of rows equal after rounding.

    Near copies would make neighbours tie, and which of two tied rows is "right" says nothing about a search.
    """
    rounded = np.ascontiguousarray(np.round(rows, decimals))
    as_bytes = rounded.view(np.dtype((np.void, rounded.dtype.itemsize * rounded.shape[1]))).ravel()
    return np.sort(np.unique(as_bytes, return_index=True)[1])


def split(candidates, query_count, seed=7):
    """(base, query): a random sample is held out, the rest stays in order."""
    query = np.sort(np.random.default_rng(seed).choice(candidates, query_count, replace=False))
    return np.setdiff1d(candidates, query), query


def nearest(base, query, chunk=25_000):
    """Exact (indices, distances) of the NEIGHBOURS nearest base rows by cosine distance, ties by index.

    float32 products pick CANDIDATES a chunk, which is twice what is kept; float64 orders them.
    """
    count = min(NEIGHBOURS, len(base))
    pool_index = np.empty((len(query), 0), np.int64)
    pool_product = np.empty((len(query), 0), np.float32)
    progress = Progress("ground truth", len(base))
    for start in range(0, len(base), chunk):
        product = query @ base[start:start + chunk].T
        best = _largest(product, CANDIDATES)
        pool_index = np.concatenate([pool_index, best + start], 1)
        pool_product = np.concatenate([pool_product, np.take_along_axis(product, best, 1)], 1)
        best = _largest(pool_product, CANDIDATES)
        pool_index = np.take_along_axis(pool_index, best, 1)
        pool_product = np.take_along_axis(pool_product, best, 1)
        progress.add(min(chunk, len(base) - start))
    indices = np.empty((len(query), count), np.int32)
    distances = np.empty((len(query), count), np.float32)
    for row, pool in enumerate(pool_index):
        exact = 1.0 - base[pool].astype(np.float64) @ query[row].astype(np.float64)
        order = np.lexsort((pool, exact))[:count]
        indices[row], distances[row] = pool[order], exact[order]
    return indices, distances


def _largest(values, count):
    if values.shape[1] <= count:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(-values, count - 1, axis=1)[:, :count]


def write_set(out, name, rows, keys, metadata, query_count, decimals, notes):
    """Splits, measures and writes the set; `rows` are float32 (n, d), `keys` and `metadata` have n entries."""
    unit = unit_rows(rows)
    base, query = split(distinct(unit, decimals), query_count)
    started = time.monotonic()
    indices, distances = nearest(unit[base], unit[query])
    notes = {**notes, "ground_truth_seconds": round(time.monotonic() - started, 1), "rows_before_dedup": len(rows)}
    write_array(out / f"{name}_base.npy", unit[base])
    write_array(out / f"{name}_query.npy", unit[query])
    write_array(out / f"{name}_gt.npy", indices)
    write_array(out / f"{name}_gtd.npy", distances)
    for infix, chosen in (("", base), ("query_", query)):
        write_lines(out / f"{name}_{infix}keys.txt", (keys[i] for i in chosen))
        write_lines(out / f"{name}_{infix}metadata.jsonl", (json.dumps(metadata[i], ensure_ascii=False) for i in chosen))
    _write_card(out, name, unit[base], len(query), notes)


def _write_card(out, name, base, query_count, notes):
    checksum = hashlib.sha256((out / f"{name}_base.npy").read_bytes()).hexdigest()
    card = {"name": name, "metric": "cosine", "n": len(base), "d": base.shape[1], "queries": query_count, "sha256_base": checksum, **notes}
    write_lines(out / f"{name}.json", [json.dumps(card, indent=1)])
    print(json.dumps(card), flush=True)


def write_array(path, array):
    _atomically(path, "wb", lambda file: np.save(file, array))


def write_lines(path, lines):
    _atomically(path, "w", lambda file: file.writelines(line + "\n" for line in lines))


def _atomically(path, mode, fill):
    half = path.with_name(path.name + ".part")
    with open(half, mode, **({} if "b" in mode else {"encoding": "utf-8"})) as file:
        fill(file)
    os.replace(half, path)
