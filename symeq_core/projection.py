"""Maps: points of many dimensions placed in two, and one map brought onto another.

Everything is NumPy [N, D] in, NumPy out.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .neighbours import CHUNK, Array, neighbours, squares

Tell = Callable[[str, float], object]  # (what is being done, fraction done)

LANDMARKS = 800  # of the classical scaling; with as many points or fewer it is exact
NEIGHBOURS = 15  # of UMAP
EPOCHS = 200
NEAREST = 5  # points that a further point is placed among


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
    """UMAP positions [N, 2]: exact neighbours, start by PCA, EPOCHS epochs, one seed, so one answer.

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


def joint_umap(a: Array, b: Array, seed: int = 0, tell: Tell | None = None) -> tuple[Array, Array]:
    """Positions [N, 2] of the same N things in two spaces, laid out together: neighbours near, and the two points of a
    thing drawn towards each other, so that what is apart is so in the spaces. As many neighbours and epochs as `umap`;
    the start is UMAP's own.

    Source: umap-learn's AlignedUMAP, with every point of a related to its own of b.
    """
    tell = tell or (lambda what, done: None)
    n = len(a)
    if n < 5:
        first, second = pca(a).positions, pca(b).positions
        return first, procrustes(first, second)(second)
    tell("loading UMAP", 0.1)
    from umap import AlignedUMAP

    tell("placing the points of both", 0.3)
    model = AlignedUMAP(n_neighbors=min(NEIGHBOURS, n - 1), n_epochs=EPOCHS, random_state=seed)
    with _silent():
        model.fit([a.astype(np.float32), b.astype(np.float32)], relations=[{i: i for i in range(n)}])
    first, second = (np.asarray(found, np.float32) for found in model.embeddings_)
    return _placed(first), _placed(second)


def _placed(positions: Array) -> Array:
    """Points that UMAP could not connect to any, in the middle."""
    lost = np.isnan(positions).any(axis=1, keepdims=True)
    return np.where(lost, np.nanmean(positions, 0) if not lost.all() else 0.0, positions).astype(np.float32)


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


def among(z: Array, positions: Array, further: Array, k: int = NEAREST) -> Array:
    """Where further points belong on a map without a formula: the mean position of their k nearest points of it."""
    if not len(further):
        return _none()
    found = [
        positions[np.argpartition(squares(further[i : i + CHUNK], z), min(k, len(z)) - 1, axis=1)[:, :k]].mean(1)
        for i in range(0, len(further), CHUNK)
    ]
    return np.concatenate(found).astype(np.float32)


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
