"""usearch: HNSW over float32."""

import numpy as np

from .peer import EXPANSIONS, K, Peer


class Usearch(Peer):
    package = "usearch"
    module = "usearch.index"
    can_delete = can_put = True

    def settings(self):
        return [EXPANSIONS]

    def new(self):
        from usearch.index import Index

        self.expansion = None
        return Index(ndim=self.dimension, metric="ip", dtype="f32", connectivity=16, expansion_add=128)

    def build(self, base, columns):
        self.index = self.new()
        self.index.add(np.arange(len(base)), base, threads=1)

    def save(self):
        self.index.save(str(self.folder / "index.usearch"))

    def open(self):
        self.index = self.new()
        self.index.load(str(self.folder / "index.usearch"))

    def search(self, query, setting):
        if setting != self.expansion:
            self.index.expansion_search = setting
            self.expansion = setting
        return self.index.search(query, K, threads=1).keys

    def put(self, keys, rows, columns):
        known = keys[self.index.contains(keys)]
        if len(known):
            self.index.remove(known)
        self.index.add(keys, rows, threads=1)

    def delete(self, keys):
        self.index.remove(keys)
