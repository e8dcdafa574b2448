"""What an adapter does. Rows have unit length; ids are row numbers; every search returns the ids of the 10 nearest."""

from importlib import import_module, metadata

K = 10
EXPANSIONS = [10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 800]


class Peer:
    """`settings()` are groups of settings, each from fast to exact; the sweep of a group ends where it is exact enough."""

    package = module = ""
    can_filter = can_put = can_delete = False
    can_open = True

    def __init__(self, dimension, folder):
        self.dimension, self.folder = dimension, folder
        # Before memory is looked at: what the library itself takes is no part of an index.
        import_module(self.module)

    def version(self):
        return f"{self.package} {metadata.version(self.package)}"

    def settings(self):
        return [[None]]

    def build(self, base, columns):
        """Indexes all rows; `columns` is their metadata by key."""
        raise NotImplementedError

    def save(self):
        """Writes what `open` needs into the folder."""

    def open(self):
        raise NotImplementedError

    def search(self, query, setting):
        raise NotImplementedError

    def filter(self, test, keeps):
        """A filter as `filtered` takes it. `test`: key, op (lt, eq) and value; `keeps`: a mask over all rows."""
        raise NotImplementedError

    def filtered(self, query, setting, prepared):
        raise NotImplementedError

    def put(self, keys, rows, columns):
        raise NotImplementedError

    def delete(self, keys):
        raise NotImplementedError


def partitions(rows):
    """About twice the root of the rows, a power of two."""
    return 1 << max(4, round((2 * rows ** 0.5)).bit_length() - 1)
