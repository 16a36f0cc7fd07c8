"""Nearest neighbours: those of points, how alike two spaces are by them, and how far a map can be trusted.

Everything is NumPy [N, D] in, NumPy out. Distances are Euclidean; between codes of bits that is the square root of the
Hamming distance, so nearest neighbours are the same.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
CHUNK = 500  # rows of distances held at once


def squares(a: Array, b: Array) -> Array:
    """Squared Euclidean distances [len(a), len(b)]; exact between codes of bits."""
    d = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    return np.maximum(d, 0)


def neighbours(z: Array, k: int, with_distance: bool = False) -> tuple[NDArray[np.int64], Array]:
    """Indices [N, k] of the nearest other points, nearest first, and their distances [N, k] (zeros unless asked)."""
    z = np.ascontiguousarray(z, np.float32)
    k = min(k, len(z) - 1)
    index, distance = np.zeros((len(z), k), np.int64), np.zeros((len(z), k), np.float32)
    for start in range(0, len(z), CHUNK):
        d = squares(z[start : start + CHUNK], z)
        rows = np.arange(len(d))
        d[rows, start + rows] = np.inf
        part = np.argpartition(d, k - 1, axis=1)[:, :k] if k else np.zeros((len(d), 0), np.int64)
        order = np.argsort(np.take_along_axis(d, part, 1), axis=1, kind="stable")
        index[start : start + CHUNK] = np.take_along_axis(part, order, 1)
        if with_distance:
            distance[start : start + CHUNK] = np.sqrt(np.take_along_axis(d, index[start : start + CHUNK], 1))
    return index, distance


def shared_neighbours(a: Array, b: Array, k: int) -> Array:
    """For every point [N], the share of its k nearest neighbours in space a that are so in space b too; in [0, 1].

    Points tied for the last places share them (a fuzzy neighbourhood), so the order of the points plays no part, and
    a space has all neighbours in common with itself. By chance k / (N - 1) is shared.
    """
    a, b = np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
    k = min(k, len(a) - 1)
    if k < 1:
        return np.zeros(len(a), np.float32)
    parts = []
    for start in range(0, len(a), CHUNK):
        weights = [_membership(squares(z[start : start + CHUNK], z), start, k) for z in (a, b)]
        parts.append(np.minimum(*weights).sum(1) / k)
    return np.concatenate(parts).astype(np.float32)


def _membership(d: Array, start: int, k: int) -> Array:
    """Weights [n, N] in [0, 1], each row's sum k: 1 for the nearest, parts of a place for those tied for the last."""
    rows = np.arange(len(d))
    d[rows, start + rows] = np.inf
    last = np.partition(d, k - 1, axis=1)[:, k - 1 : k]
    slack = 1e-5 * np.maximum(last, 1e-3)  # rounding of float32
    nearer = d < last - slack
    tied = (d <= last + slack) & ~nearer
    left = (k - nearer.sum(1)) / np.maximum(tied.sum(1), 1)
    return (nearer + tied * left[:, None]).astype(np.float32)


def trustworthiness(z: Array, positions: Array, k: int = 15, most: int = 1000) -> tuple[float, int]:
    """(how far near neighbours on the map are near in the space, 1 at best; of how many points): the first `most`.

    Source: Venna & Kaski 2001, as scikit-learn computes it.
    """
    from sklearn.manifold import trustworthiness as measure

    n = min(len(z), most)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan"), n
    return float(measure(z[:n], positions[:n], n_neighbors=k)), n


def mixing(a: Array, b: Array, k: int = 10, seed: int = 0) -> tuple[float, float]:
    """(share, standard error) of points of b among the k nearest of each point of a; 1/2 where both are alike.

    Equal numbers of both are kept; points tied are taken in random order. Source: Schilling 1986.
    """
    n = min(len(a), len(b))
    g = np.random.default_rng(seed)
    a, b = a[g.permutation(len(a))[:n]], b[g.permutation(len(b))[:n]]
    d = squares(a, np.vstack((a, b)))
    d = d + 1e-4 * g.random(d.shape, np.float32)
    d[np.arange(n), np.arange(n)] = np.inf
    near = np.argpartition(d, k - 1, axis=1)[:, :k] >= n
    share = near.mean(1)
    expected = (2 * n - 1) / (2 * n)  # of the 2n - 1 others, n are of b
    return float(share.mean() * expected), float(share.std() / np.sqrt(n))
