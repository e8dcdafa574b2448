"""Makes the folder of a set that engines read: arrays, metadata by column, filters.

    base.npy, query.npy      float32, unit length; the queries in random order, since those of the files follow their source
    shift.npy, drift.npy     rows of another distribution to put later, and queries of it: means of some rows each
    metadata.json            {key: [value of each row]}, numbers and strings
    set.json                 dimension and filters; written last
"""

import json
import os
import shutil

import numpy as np

SHARES = (0.001, 0.01, 0.1, 0.5, 0.9)
# How far the share of a real filter may be from the wanted one, as a factor.
NEAR = 1.3
# Rows that a sentence-like mean is made of, and how many of them are put.
MEAN_OF, SHIFT_SHARE = 6, 0.25
RANDOM_KEY, RANDOM_VALUES = "draw", 1000


def real_set(data, name, folder, rows=None, queries=None):
    """Prepares a set of bench/data, or a random part of it."""
    base, query = (np.load(data / f"{name}_{part}.npy") for part in ("base", "query"))
    with open(data / f"{name}_metadata.jsonl", encoding="utf-8") as file:
        metadata = [describe(name, json.loads(line)) for line in file]
    random = np.random.default_rng(11)
    if rows and rows < len(base):
        kept = np.sort(random.choice(len(base), rows, replace=False))
        base, metadata = base[kept], [metadata[i] for i in kept]
    query = query[random.permutation(len(query))[:queries]]
    return write(folder, base, query, columns_of(metadata), real_filters=True)


def describe(name, metadata):
    """What of a row's metadata is put: numbers and strings, short enough to be filtered on."""
    if name == "glove100":
        return metadata
    kept = {key: metadata.get(key) or "" for key in ("source", "section")}
    return {**kept, "length": len(metadata.get("text", "")), "name": metadata.get("name", "")[:1]}


def columns_of(metadata):
    return {key: [one[key] for one in metadata] for key in metadata[0]}


def write(folder, base, query, columns, real_filters):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(13)
    columns[RANDOM_KEY] = random.integers(0, RANDOM_VALUES, len(base)).tolist()
    mean = lambda count: unit(base[random.integers(0, len(base), (count, MEAN_OF))].mean(1))
    np.save(folder / "base.npy", base)
    np.save(folder / "query.npy", np.ascontiguousarray(query))
    np.save(folder / "shift.npy", mean(max(100, int(len(base) * SHIFT_SHARE))))
    np.save(folder / "drift.npy", mean(min(500, len(query))))
    (folder / "metadata.json").write_text(json.dumps(columns))
    card = {"rows": len(base), "dimension": base.shape[1], "filters": filters(columns, real_filters)}
    half = folder / "set.json.part"
    half.write_text(json.dumps(card))
    os.replace(half, folder / "set.json")
    return card


def unit(rows):
    return np.ascontiguousarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def filters(columns, real):
    """Named filters for each share: a random one and, if there are any of about that share, real ones."""
    found = {}
    for share in SHARES:
        percent = f"{share * 100:g}%"
        found[f"random {percent}"] = {"key": RANDOM_KEY, "op": "lt", "value": round(share * RANDOM_VALUES), "wanted": share}
        for key, test in (real_tests(columns, share) if real else ()):
            value = test["value"]
            found[f"{key} {'<' if test['op'] == 'lt' else '='} {value}"] = {"key": key, **test, "wanted": share}
    for one in found.values():
        one["share"] = float(np.mean(mask(one, columns)))
    return found


def real_tests(columns, share):
    """At most one test of a number and one of a string, those nearest to the share."""
    by_kind = {"lt": [], "eq": []}
    for key, column in columns.items():
        if key == RANDOM_KEY:
            continue
        tests = number_tests(column, share) if isinstance(column[0], int) else string_tests(column)
        for op, value, real_share in tests:
            off = max(real_share, 1e-9) / share
            by_kind[op].append((max(off, 1 / off), key, {"op": op, "value": value}))
    best = [min(tests, key=lambda test: (test[0], test[1])) for tests in by_kind.values() if tests]
    return [(key, test) for off, key, test in best if off <= NEAR]


def number_tests(column, share):
    values = np.sort(np.asarray(column))
    for value in {int(values[min(len(values) - 1, round(share * len(values)))]) + more for more in (0, 1)}:
        yield "lt", value, float(np.searchsorted(values, value)) / len(values)


def string_tests(column):
    values, counts = np.unique(np.asarray(column, dtype=str), return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist()):
        if value:
            yield "eq", value, count / len(column)


def mask(one, columns):
    """Which rows a filter keeps."""
    column = np.asarray(columns[one["key"]])
    return column < one["value"] if one["op"] == "lt" else column == one["value"]


def generated_set(folder, rows, dimension, queries=500, chunk=50_000):
    """Rows with the structure of real embeddings: topics of very different size within fields, few directions of their own each."""
    random = np.random.default_rng(dimension)
    maker = Topics(random, dimension)
    base = np.empty((rows, dimension), np.float32)
    for start in range(0, rows, chunk):
        end = min(rows, start + chunk)
        base[start:end] = maker.draw(random, end - start)
        print(f"  generated {end} of {rows} x {dimension}", flush=True)
    return write(folder, base, maker.draw(random, queries), {}, real_filters=False)


class Topics:
    """A mixture: FIELDS far apart, TOPICS around them with sizes by a power law, each row off its topic in LATENT directions of its field."""

    FIELDS, TOPICS, LATENT = 64, 4096, 48

    def __init__(self, random, dimension):
        normal = lambda *shape: random.standard_normal(shape).astype(np.float32)
        self.field_of = random.integers(0, self.FIELDS, self.TOPICS)
        self.topics = (normal(self.FIELDS, dimension)[self.field_of] + 0.8 * normal(self.TOPICS, dimension)) / np.sqrt(dimension)
        # Directions fade as the spectra of embeddings do.
        fading = (np.arange(1, self.LATENT + 1) ** -0.5).astype(np.float32)
        self.directions = normal(self.FIELDS, self.LATENT, dimension) * fading[:, None] / np.sqrt(dimension)
        weights = np.arange(1, self.TOPICS + 1) ** -0.8
        self.weights = weights / weights.sum()

    def draw(self, random, count):
        topic = np.sort(random.choice(self.TOPICS, count, p=self.weights))
        rows = self.topics[topic].copy()
        field = self.field_of[topic]
        for one in np.unique(field):
            members = np.flatnonzero(field == one)
            latent = random.standard_normal((len(members), self.LATENT)).astype(np.float32)
            rows[members] += 0.8 * latent @ self.directions[one]
        rows += (0.25 / np.sqrt(rows.shape[1])) * random.standard_normal(rows.shape, dtype=np.float32)
        return unit(rows[random.permutation(count)])
