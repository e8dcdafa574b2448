"""LanceDB: IVF_PQ with refinement, scalar indexes on the metadata."""

import numpy as np

from .peer import K, Peer, partitions

ROWS = 20_000


class Lance(Peer):
    package = "lancedb"
    module = "lancedb"
    can_filter = can_put = can_delete = True

    def settings(self):
        return [[[probes, factor] for probes in (4, 8, 16, 32, 64, 128, 256)] for factor in (4, 10, 30)]

    def batch(self, keys, rows, columns):
        import pyarrow

        vectors = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.ascontiguousarray(rows).ravel()), self.dimension)
        arrays = [pyarrow.array(keys), vectors, *(pyarrow.array(column) for column in columns.values())]
        return pyarrow.RecordBatch.from_arrays(arrays, names=["id", "vector", *columns])

    def batches(self, base, columns):
        for start in range(0, len(base), ROWS):
            part = slice(start, min(len(base), start + ROWS))
            yield self.batch(np.arange(part.start, part.stop), base[part], {key: column[part] for key, column in columns.items()})

    def build(self, base, columns):
        import lancedb
        import pyarrow

        first = next(self.batches(base, columns))
        self.table = lancedb.connect(str(self.folder)).create_table("table", data=pyarrow.RecordBatchReader.from_batches(first.schema, self.batches(base, columns)))
        self.table.create_index(metric="cosine", index_type="IVF_PQ", num_partitions=partitions(len(base)), num_sub_vectors=self.dimension // 4)
        self.table.create_scalar_index("id")
        for key in columns:
            self.table.create_scalar_index(key)

    def open(self):
        import lancedb

        self.table = lancedb.connect(str(self.folder)).open_table("table")

    def query(self, query, setting):
        probes, factor = setting
        search = self.table.search(query, vector_column_name="vector").distance_type("cosine")
        return search.limit(K).select(["id"]).nprobes(probes).refine_factor(factor)

    def search(self, query, setting):
        return self.query(query, setting).to_arrow()["id"].to_numpy()

    def filter(self, test, keeps):
        value = test["value"]
        quoted = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else value
        return f"{test['key']} {'<' if test['op'] == 'lt' else '='} {quoted}"

    def filtered(self, query, setting, prepared):
        return self.query(query, setting).where(prepared, prefilter=True).to_arrow()["id"].to_numpy()

    def put(self, keys, rows, columns):
        update = self.table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        update.execute(self.batch(keys, rows, columns))

    def delete(self, keys):
        for start in range(0, len(keys), ROWS):
            self.table.delete(f"id IN ({', '.join(map(str, keys[start:start + ROWS]))})")
