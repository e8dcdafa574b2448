"""Intel SVS: a Vamana graph over LVQ codes, which the library has on Intel CPUs alone; elsewhere over float16 rows."""

import numpy as np

from .peer import K, Peer


class Svs(Peer):
    package = "scalable-vs"
    module = "svs"

    def __init__(self, dimension, folder):
        super().__init__(dimension, folder)
        import svs

        self.svs = svs
        self.window = None
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            self.has_codes = "GenuineIntel" in file.read()

    def version(self):
        return f"{super().version()}, {'LVQ 4x8' if self.has_codes else 'float16: LVQ needs an Intel CPU'}"

    def settings(self):
        return [[10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 100, 128, 160, 200, 256, 384, 512]]

    def build(self, base, columns):
        svs = self.svs
        parameters = svs.VamanaBuildParameters(graph_max_degree=32, window_size=100, alpha=0.95)
        data = self.codes(base) if self.has_codes else base.astype(np.float16)
        self.index = svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=1)

    def codes(self, base):
        """4 bits for the way, 8 for the last distances; it reads them from a file."""
        source = self.folder / "source.fvecs"
        self.svs.write_vecs(np.ascontiguousarray(base), str(source))
        loader = self.svs.VectorDataLoader(str(source), self.svs.DataType.float32, dims=self.dimension)
        return self.svs.LVQLoader(loader, primary=4, residual=8)

    def save(self):
        (self.folder / "source.fvecs").unlink(missing_ok=True)
        for part in ("config", "graph", "data"):
            (self.folder / part).mkdir(exist_ok=True)
        self.index.save(*(str(self.folder / part) for part in ("config", "graph", "data")))

    def open(self):
        svs, place = self.svs, lambda part: str(self.folder / part)
        data = svs.LVQLoader(place("data")) if self.has_codes else svs.VectorDataLoader(place("data"), svs.DataType.float16)
        self.index = svs.Vamana(place("config"), svs.GraphLoader(place("graph")), data, svs.DistanceType.MIP, num_threads=1)

    def search(self, query, setting):
        if setting != self.window:
            self.index.search_window_size = setting
            self.window = setting
        return self.index.search(query[None], K)[0][0]
