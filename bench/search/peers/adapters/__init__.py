"""The other engines by name. Each file drives one as its own documentation recommends; `PACKAGES` is what it is installed by."""

from importlib import import_module

PACKAGES = {
    "scann": "scann",
    "svs": "scalable-vs",
    "faiss": "faiss-cpu",
    "hnswlib": "hnswlib",
    "usearch": "usearch",
    "lancedb": "lancedb",
    "qdrant": "qdrant-edge-py",
    "chroma": "chromadb",
}
# Which file has it, and which class: `faiss` stands for two kinds of index.
_PLACES = {
    "scann": ("with_scann", "Scann"),
    "svs": ("with_svs", "Svs"),
    "faiss-ivf": ("with_faiss", "Ivf"),
    "faiss-hnsw": ("with_faiss", "Hnsw"),
    "hnswlib": ("with_hnswlib", "Hnswlib"),
    "usearch": ("with_usearch", "Usearch"),
    "lancedb": ("with_lancedb", "Lance"),
    "qdrant": ("with_qdrant", "Qdrant"),
    "chroma": ("with_chroma", "Chroma"),
}


def _maker(file, name):
    return lambda dimension, folder: getattr(import_module(f".{file}", __name__), name)(dimension, folder)


PEERS = {peer: _maker(*place) for peer, place in _PLACES.items()}


def package(peer):
    """The package that a peer needs."""
    return PACKAGES[peer.split("-")[0]]
