"""Intel SVS: a Vamana graph over LVQ codes, as its documentation recommends for each dimension."""

import numpy as np

from .peer import Peer, K


class Svs(Peer):
    package = "scalable-vs"

    def __init__(self, dimension, folder):
        super().__init__(dimension, folder)
        import svs

        self.svs = svs
        self.window = None

    def settings(self):
        return [[10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 384, 512]]

    def build(self, base, columns):
        svs = self.svs
        parameters = svs.VamanaBuildParameters(graph_max_degree=32, window_size=100, alpha=0.95)
        source = self.folder / "source.fvecs"
        svs.write_vecs(np.ascontiguousarray(base), str(source))
        loader = svs.VectorDataLoader(str(source), svs.DataType.float32, dims=self.dimension)
        # 4 bits for the way, 8 for the last distances.
        data = svs.LVQLoader(loader, primary=4, residual=8)
        self.index = svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=1)
        source.unlink()

    def save(self):
        for part in ("config", "graph", "data"):
            (self.folder / part).mkdir(exist_ok=True)
        self.index.save(*(str(self.folder / part) for part in ("config", "graph", "data")))

    def open(self):
        svs = self.svs
        graph, data = svs.GraphLoader(str(self.folder / "graph")), svs.LVQLoader(str(self.folder / "data"))
        self.index = svs.Vamana(str(self.folder / "config"), graph, data, svs.DistanceType.MIP, num_threads=1)

    def search(self, query, setting):
        if setting != self.window:
            self.index.search_window_size = setting
            self.window = setting
        return self.index.search(query[None], K)[0][0]
