"""faiss: IVF with 4-bit product codes scanned fast and exact refinement; and HNSW."""

import numpy as np

from .peer import EXPANSIONS, K, Peer, partitions


class Faiss(Peer):
    package = "faiss-cpu"
    module = "faiss"
    can_filter = True

    def __init__(self, dimension, folder):
        super().__init__(dimension, folder)
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss = faiss

    @property
    def file(self):
        return str(self.folder / "index.faiss")

    def save(self):
        self.faiss.write_index(self.index, self.file)

    def open(self):
        self.index = self.faiss.read_index(self.file)

    def search(self, query, setting):
        return self.index.search(query[None], K, params=self.parameters(setting))[1][0]

    def filter(self, test, keeps):
        bits = np.packbits(keeps, bitorder="little")
        # The selector does not own the bits.
        return self.faiss.IDSelectorBitmap(bits), bits

    def filtered(self, query, setting, prepared):
        found = self.index.search(query[None], K, params=self.parameters(setting, prepared[0]))[1][0]
        return found[found >= 0]


class Ivf(Faiss):
    can_filter = False

    def settings(self):
        probes = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
        return [[[probe, factor] for probe in probes] for factor in (4, 10, 30)]

    def build(self, base, columns):
        faiss = self.faiss
        inner = faiss.index_factory(self.dimension, f"IVF{partitions(len(base))},PQ{self.dimension // 2}x4fs", faiss.METRIC_INNER_PRODUCT)
        inner.train(base[:: max(1, len(base) // 60_000)])
        self.index = faiss.IndexRefineFlat(inner)
        self.index.add(base)
        self.inner = inner

    def parameters(self, setting, selector=None):
        probes, factor = setting
        inner = self.faiss.SearchParametersIVF(nprobe=probes, sel=selector)
        return self.faiss.IndexRefineSearchParameters(k_factor=factor, base_index_params=inner)


class Hnsw(Faiss):
    can_put = True

    def settings(self):
        return [EXPANSIONS]

    def build(self, base, columns):
        self.index = self.faiss.IndexHNSWFlat(self.dimension, 16, self.faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = 200
        self.index.add(base)

    def put(self, keys, rows, columns):
        self.index.add(rows)

    def parameters(self, setting, selector=None):
        return self.faiss.SearchParametersHNSW(efSearch=setting, sel=selector)
