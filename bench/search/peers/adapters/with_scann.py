"""ScaNN: partitions with SOAR, anisotropic codes, exact reordering."""

from .peer import K, Peer, partitions


class Scann(Peer):
    package = "scann"
    module = "scann"

    def settings(self):
        leaves = (2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
        return [[[leaf, reorder] for leaf in leaves] for reorder in (30, 60, 100, 200, 400)]

    def build(self, base, columns):
        import scann

        builder = scann.scann_ops_pybind.builder(base, K, "dot_product").set_n_training_threads(1)
        builder = builder.tree(
            num_leaves=partitions(len(base)), num_leaves_to_search=10, training_sample_size=min(len(base), 250_000), soar_lambda=1.5, overretrieve_factor=2.0
        )
        self.index = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def save(self):
        self.index.serialize(str(self.folder))

    def open(self):
        import scann

        self.index = scann.scann_ops_pybind.load_searcher(str(self.folder))

    def search(self, query, setting):
        leaves, reorder = setting or (10, 100)
        return self.index.search(query, final_num_neighbors=K, leaves_to_search=leaves, pre_reorder_num_neighbors=reorder)[0]
