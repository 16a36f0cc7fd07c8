"""Maps: points of many dimensions placed in two, how far a map can be trusted, and how alike two spaces are.

Everything is NumPy [N, D] in, NumPy out. Distances are Euclidean unless said otherwise; between codes of bits that is
the square root of the Hamming distance, so nearest neighbours are the same.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Tell = Callable[[str, float], object]  # (what is being done, fraction done)

LANDMARKS = 800  # of the classical scaling; with as many points or fewer it is exact
NEIGHBOURS = 15  # of UMAP and of the trustworthiness
EPOCHS = 200
CHUNK = 500  # rows of distances held at once


@dataclass(frozen=True)
class Map:
    """Positions [N, 2] of the points, those [M, 2] of further points placed among them, and figures by name."""

    positions: Array
    further: Array
    facts: dict[str, float] = field(default_factory=dict)


def _none() -> Array:
    return np.zeros((0, 2), np.float32)


def native(z: Array, further: Array | None = None) -> Map:
    """Two-dimensional points as they are."""
    return Map(z[:, :2].astype(np.float32), _none() if further is None else further[:, :2].astype(np.float32))


def pca(z: Array, further: Array | None = None) -> Map:
    """The two directions of largest variance; the facts say what share of it they hold.

    By NumPy, as scikit-learn's PCA (a test holds them equal) takes a second to import, and this map is there at once.
    """
    mean = z.mean(0, dtype=np.float64)
    centred = z - mean
    values, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1, 1)
    axes = np.pad(axes, ((0, 0), (0, 2 - axes.shape[1])))
    total = values.sum()
    share = float(values[::-1][:2].sum() / total) if total > 0 else 0.0
    placed = _none() if further is None else ((further - mean) @ axes).astype(np.float32)
    return Map((centred @ axes).astype(np.float32), placed, {"variance shown": share})


def hamming(z: Array, further: Array | None = None, seed: int = 0) -> Map:
    """Classical scaling of Hamming distances; of bit probabilities, of sum_j |p_j - p'_j|, which equals it on 0 and 1.

    Up to LANDMARKS points exactly; of more, seeded landmarks are scaled and the rest triangulated.
    Source: Torgerson 1952; de Silva & Tenenbaum, Sparse multidimensional scaling using landmark points, 2004.
    """
    from scipy.linalg import eigh
    from scipy.spatial.distance import cdist

    n = len(z)
    if n < 3:
        return pca(z, further)
    chosen = np.arange(n)
    if n > LANDMARKS:
        chosen = np.sort(np.random.default_rng(seed).choice(n, LANDMARKS, replace=False))
    marks = z[chosen].astype(np.float64)
    square = cdist(marks, marks, "cityblock") ** 2
    mean = square.mean(0)
    gram = -0.5 * (square - mean - mean[:, None] + square.mean())
    m = len(chosen)
    values, vectors = eigh(gram, subset_by_index=[m - 2, m - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    vectors = vectors * np.where(vectors[np.abs(vectors).argmax(0), [0, 1]] < 0, -1, 1)
    ok = values > 1e-9 * max(1.0, abs(values[0]))
    project = np.where(ok, vectors / np.sqrt(np.where(ok, values, 1.0)), 0.0)

    def place(points: Array) -> Array:
        parts = [
            -0.5 * (cdist(points[i : i + CHUNK].astype(np.float64), marks, "cityblock") ** 2 - mean) @ project
            for i in range(0, len(points), CHUNK)
        ]
        return np.concatenate(parts).astype(np.float32) if parts else _none()

    return Map(place(z), _none() if further is None else place(further), {"landmarks": float(m)})


def umap(z: Array, seed: int = 0, tell: Tell | None = None) -> Array:
    """UMAP positions [N, 2]: neighbours by scikit-learn, start by PCA, EPOCHS epochs, one seed, so one answer.

    Source: McInnes, Healy & Melville 2018. Takes seconds, and ten more in a fresh process: never in the app's own.
    """
    tell = tell or (lambda what, done: None)
    n = len(z)
    if n < 5:
        return pca(z).positions
    tell("finding nearest neighbours", 0.05)
    k = min(NEIGHBOURS, n - 1)
    index, distance = neighbours(z, k - 1, with_distance=True)
    index = np.hstack((np.arange(n)[:, None], index))
    distance = np.hstack((np.zeros((n, 1), np.float32), distance))
    tell("loading UMAP", 0.1)
    from umap import UMAP

    tell("placing the points", 0.4)  # UMAP compiles itself first
    model = UMAP(
        n_neighbors=k,
        n_epochs=EPOCHS,
        init="pca" if z.shape[1] > 2 else z.astype(np.float32),
        random_state=seed,
        n_jobs=1,
        precomputed_knn=(index.astype(np.int32), distance.astype(np.float32), None),
        verbose=True,
        tqdm_kwds={"file": _Bar(tell), "bar_format": "{n_fmt}/{total_fmt}\n", "mininterval": 0.2, "disable": False},
    )
    with _silent():
        return np.asarray(model.fit_transform(z.astype(np.float32)), np.float32)


class _Bar:
    """A file that UMAP's bar writes to: its counts become progress."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def write(self, text: str) -> None:
        done, _, total = text.strip().partition("/")
        if done.isdecimal() and total.isdecimal():
            self.tell("placing the points", 0.4 + 0.6 * int(done) / int(total))

    def flush(self) -> None:
        pass


def _silent() -> contextlib.ExitStack:
    """UMAP prints what it does when asked for a bar, and warns of points that are equal."""
    stack = contextlib.ExitStack()
    stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    return stack


def among(z: Array, positions: Array, further: Array, k: int = 5) -> Array:
    """Where further points belong on a map without a formula: the mean position of their k nearest points of it."""
    if not len(further):
        return _none()
    found = [
        positions[np.argpartition(_squares(further[i : i + CHUNK], z), min(k, len(z)) - 1, axis=1)[:, :k]].mean(1)
        for i in range(0, len(further), CHUNK)
    ]
    return np.concatenate(found).astype(np.float32)


def _squares(a: Array, b: Array) -> Array:
    """Squared Euclidean distances [len(a), len(b)]; exact between codes of bits."""
    d = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    return np.maximum(d, 0)


def neighbours(z: Array, k: int, with_distance: bool = False) -> tuple[NDArray[np.int64], Array]:
    """Indices [N, k] of the nearest other points, nearest first, and their distances [N, k] (zeros unless asked)."""
    z = np.ascontiguousarray(z, np.float32)
    k = min(k, len(z) - 1)
    index, distance = np.zeros((len(z), k), np.int64), np.zeros((len(z), k), np.float32)
    for start in range(0, len(z), CHUNK):
        d = _squares(z[start : start + CHUNK], z)
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
        weights = [_membership(_squares(z[start : start + CHUNK], z), start, k) for z in (a, b)]
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


def trustworthiness(z: Array, positions: Array, k: int = NEIGHBOURS, most: int = 1000) -> tuple[float, int]:
    """(how far near neighbours on the map are near in the space, 1 at best; of how many points): the first `most`.

    Source: Venna & Kaski 2001, as scikit-learn computes it.
    """
    from sklearn.manifold import trustworthiness as measure

    n = min(len(z), most)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan"), n
    return float(measure(z[:n], positions[:n], n_neighbors=k)), n


def faithfulness(z: Array, positions: Array, seed: int = 0, pairs: int = 5000) -> float:
    """Rank correlation of distances on the map with Hamming (city-block) distances, over seeded random pairs."""
    from scipy.stats import spearmanr

    g = np.random.default_rng(seed)
    i, j = g.integers(len(z), size=(2, pairs))
    far, near = np.abs(z[i] - z[j]).sum(1), np.linalg.norm(positions[i] - positions[j], axis=1)
    if far.std() == 0 or near.std() == 0:
        return float("nan")
    return float(spearmanr(far, near).statistic)


@dataclass(frozen=True)
class Fit:
    """y = scale * x @ rotation + shift brings map b onto map a; `disparity` is the squared distance left, 0 to 1."""

    rotation: Array
    scale: float
    shift: Array
    disparity: float

    def __call__(self, x: Array) -> Array:
        return (self.scale * x @ self.rotation + self.shift).astype(np.float32)


def procrustes(a: Array, b: Array, scaled: bool = True) -> Fit:
    """The rotation or reflection, shift and (unless scaled=False) size that bring the points b onto the points a."""
    from scipy.linalg import orthogonal_procrustes

    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = a.mean(0), b.mean(0)
    rotation, trace = orthogonal_procrustes(b - mean_b, a - mean_a)
    spread = ((b - mean_b) ** 2).sum()
    scale = float(trace / spread) if scaled and spread > 0 else 1.0
    fit = Fit(rotation, scale, mean_a - scale * mean_b @ rotation, 0.0)
    total = ((a - mean_a) ** 2).sum()
    left = float(((fit(b) - a) ** 2).sum() / total) if total > 0 else 0.0
    return Fit(rotation, fit.scale, fit.shift, left)


def mixing(a: Array, b: Array, k: int = 10, seed: int = 0) -> tuple[float, float]:
    """(share, standard error) of points of b among the k nearest of each point of a; 1/2 where both are alike.

    Equal numbers of both are kept; points tied are taken in random order. Source: Schilling 1986.
    """
    n = min(len(a), len(b))
    g = np.random.default_rng(seed)
    a, b = a[g.permutation(len(a))[:n]], b[g.permutation(len(b))[:n]]
    d = _squares(a, np.vstack((a, b)))
    d = d + 1e-4 * g.random(d.shape, np.float32)
    d[np.arange(n), np.arange(n)] = np.inf
    near = np.argpartition(d, k - 1, axis=1)[:, :k] >= n
    share = near.mean(1)
    expected = (2 * n - 1) / (2 * n)  # of the 2n - 1 others, n are of b
    return float(share.mean() * expected), float(share.std() / np.sqrt(n))
