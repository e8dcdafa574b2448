"""hnswlib: HNSW over float32."""

import numpy as np

from .peer import EXPANSIONS, K, Peer


class Hnswlib(Peer):
    package = "hnswlib"
    module = "hnswlib"
    can_delete = can_put = True

    def settings(self):
        return [EXPANSIONS]

    def new(self):
        import hnswlib

        self.expansion = None
        return hnswlib.Index(space="ip", dim=self.dimension)

    def build(self, base, columns):
        self.index = self.new()
        self.index.init_index(max_elements=len(base), ef_construction=200, M=16)
        self.index.add_items(base, np.arange(len(base)), num_threads=1)

    def save(self):
        self.index.save_index(str(self.folder / "index.hnsw"))

    def open(self):
        self.index = self.new()
        self.index.load_index(str(self.folder / "index.hnsw"))
        self.index.set_num_threads(1)

    def search(self, query, setting):
        if setting != self.expansion:
            self.index.set_ef(setting)
            self.expansion = setting
        return self.index.knn_query(query, k=K, num_threads=1)[0][0]

    def put(self, keys, rows, columns):
        if int(keys[-1]) >= self.index.get_max_elements():
            self.index.resize_index(int(keys[-1]) + 1)
        self.index.add_items(rows, keys, num_threads=1)

    def delete(self, keys):
        for key in keys:
            self.index.mark_deleted(int(key))
