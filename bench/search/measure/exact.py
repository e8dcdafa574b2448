"""The exactly nearest rows, and how many of them an answer has."""

import numpy as np

K = 10
# One rounding of single precision around 1: distances this close are equal.
TIE = 2e-6


def kth_products(base, queries, allowed=None, k=K, chunk=50_000):
    """For each query the k-th largest inner product with the allowed rows, and how many rows there are to find.

    Rows have unit length, so the largest products are the smallest cosine distances. `allowed`: indices, ascending, or
    None for all. A query that has fewer than k rows to find gets -inf: every allowed row is right.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    count = len(base) if allowed is None else len(allowed)
    for start in range(0, count, chunk):
        rows = base[start:start + chunk] if allowed is None else base[allowed[start:start + chunk]]
        products = queries @ rows.T
        if products.shape[1] > k:
            products = np.partition(products, products.shape[1] - k, axis=1)[:, -k:]
        best = np.sort(np.concatenate([best, products], 1), axis=1)[:, -k:]
    return best[:, 0], min(k, count)


def recall(rows, queries, ids, kth, wanted, counts=None):
    """(mean recall, answers with too few rows, rows that should not be there).

    An id is right if it is a row of `rows` (current vectors), counts (`counts`: a mask over rows, None: all), and its
    product is at least the k-th; ties do not distort it. Ids count once.
    """
    hits, short, wrong = 0, 0, 0
    for query, found, bound in zip(queries, ids, kth):
        distinct = np.unique(np.asarray(found, np.int64))
        known = distinct[(distinct >= 0) & (distinct < len(rows))]
        if counts is not None:
            known = known[counts[known]]
        wrong += len(found) - len(known)
        short += len(known) < wanted
        hits += min(wanted, int((rows[known] @ query >= bound - TIE).sum()))
    return hits / max(1, wanted * len(ids)), short, wrong
