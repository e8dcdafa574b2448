"""Qdrant, embedded: a shard with HNSW and payload indexes."""

from .peer import EXPANSIONS, K, Peer

ROWS = 1_000


class Qdrant(Peer):
    package = "qdrant-edge-py"
    module = "qdrant_edge"
    can_filter = can_put = can_delete = True

    def __init__(self, dimension, folder):
        super().__init__(dimension, folder)
        import qdrant_edge

        self.edge = qdrant_edge

    def settings(self):
        return [EXPANSIONS]

    def build(self, base, columns):
        edge = self.edge
        hnsw = edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000, max_indexing_threads=1)
        vectors = edge.EdgeVectorParams(size=self.dimension, distance=edge.Distance.Cosine)
        self.index = edge.EdgeShard.create(str(self.folder), edge.EdgeConfig(vectors=vectors, hnsw_config=hnsw))
        for start in range(0, len(base), ROWS):
            end = min(len(base), start + ROWS)
            self.put(range(start, end), base[start:end], {key: column[start:end] for key, column in columns.items()})
        for key, column in columns.items():
            kind = edge.PayloadSchemaType.Integer if isinstance(column[0], int) else edge.PayloadSchemaType.Keyword
            self.index.update(edge.UpdateOperation.create_field_index(key, kind))
        self.index.flush()
        self.index.optimize()

    def save(self):
        self.index.flush()

    def open(self):
        self.index = self.edge.EdgeShard.load(str(self.folder))

    def search(self, query, setting, condition=None):
        edge = self.edge
        request = edge.SearchRequest(
            query=edge.Query.Nearest(query.tolist()), limit=K, with_vector=False, with_payload=False, params=edge.SearchParams(hnsw_ef=setting, exact=False), filter=condition
        )
        return [found.id for found in self.index.search(request)]

    def filter(self, test, keeps):
        edge = self.edge
        if test["op"] == "lt":
            condition = edge.FieldCondition(key=test["key"], range=edge.RangeFloat(lt=float(test["value"])))
        else:
            condition = edge.FieldCondition(key=test["key"], match=edge.MatchValue(test["value"]))
        return edge.Filter(must=[condition])

    def filtered(self, query, setting, prepared):
        return self.search(query, setting, prepared)

    def put(self, keys, rows, columns):
        payload = [dict(zip(columns, values)) for values in zip(*columns.values())]
        points = [self.edge.Point(int(key), row.tolist(), one) for key, row, one in zip(keys, rows, payload)]
        self.index.update(self.edge.UpdateOperation.upsert_points(points))

    def delete(self, keys):
        self.index.update(self.edge.UpdateOperation.delete_points([int(key) for key in keys]))
