"""Chroma: a persistent collection with HNSW."""

from .peer import K, Peer

ROWS = 5_000


class Chroma(Peer):
    package = "chromadb"
    module = "chromadb"
    can_filter = can_put = can_delete = True

    def settings(self):
        # What it searches with is fixed when a collection is made.
        return [[100]]

    def client(self):
        import chromadb

        return chromadb.PersistentClient(str(self.folder), settings=chromadb.Settings(anonymized_telemetry=False))

    def build(self, base, columns):
        hnsw = {"space": "cosine", "ef_search": 100, "max_neighbors": 16, "ef_construction": 100, "num_threads": 1}
        self.table = self.client().create_collection("table", embedding_function=None, configuration={"hnsw": hnsw})
        for start in range(0, len(base), ROWS):
            end = min(len(base), start + ROWS)
            self.put(range(start, end), base[start:end], {key: column[start:end] for key, column in columns.items()})

    def open(self):
        self.table = self.client().get_collection("table", embedding_function=None)

    def search(self, query, setting, where=None):
        found = self.table.query(query_embeddings=query[None], n_results=K, include=[], where=where)
        return [int(key) for key in found["ids"][0]]

    def filter(self, test, keeps):
        return {test["key"]: {f"${test['op']}": test["value"]}}

    def filtered(self, query, setting, prepared):
        return self.search(query, setting, prepared)

    def put(self, keys, rows, columns):
        metadata = [dict(zip(columns, values)) for values in zip(*columns.values())]
        self.table.upsert(ids=[str(key) for key in keys], embeddings=rows, metadatas=metadata)

    def delete(self, keys):
        for start in range(0, len(keys), ROWS):
            self.table.delete(ids=[str(key) for key in keys[start:start + ROWS]])
