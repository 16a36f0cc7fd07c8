"""Maps and their figures against cases whose answer is known."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from symeq_core import neighbours as near
from symeq_core import projection


def cube(d):
    return np.array(list(itertools.product((0, 1), repeat=d)), np.float32)


def cloud(n=200, d=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32) * np.arange(d, 0, -1, dtype=np.float32)


def test_pca_is_scikit_learns():
    from sklearn.decomposition import PCA

    z, more = cloud(), cloud(30, seed=1)
    model = PCA(2).fit(z)
    found = projection.pca(z, more)
    signs = np.sign((found.positions * model.transform(z)).sum(0))
    np.testing.assert_allclose(found.positions, model.transform(z) * signs, atol=1e-4)
    np.testing.assert_allclose(found.further, model.transform(more) * signs, atol=1e-4)
    assert found.facts["variance shown"] == pytest.approx(model.explained_variance_ratio_.sum(), abs=1e-6)


@pytest.mark.parametrize("z", [np.zeros((5, 3), np.float32), np.ones((4, 1), np.float32), cloud(3, 1), cloud(2, 4)])
def test_maps_of_next_to_nothing_are_finite(z):
    for layout in (projection.pca, projection.hamming):
        found = layout(z, z[:1])
        assert found.positions.shape == (len(z), 2)
        assert found.further.shape == (1, 2)
        assert np.isfinite(found.positions).all()


def test_hamming_scaling_of_a_square_and_of_points_on_a_line_is_exact():
    square = projection.hamming(cube(2)).positions
    side = cdist(square, square)
    assert side[0, 3] == pytest.approx(side[1, 2])  # the diagonals
    assert side[0, 1] == pytest.approx(side[0, 2])
    line = np.tril(np.ones((9, 8), np.float32), -1)  # thermometer codes: Hamming distance |i - j|
    positions = projection.hamming(line).positions
    np.testing.assert_allclose(cdist(positions, positions), cdist(line, line, "cityblock"), atol=1e-4)


def test_hamming_scaling_is_the_best_of_its_kind():
    """Torgerson: the two leading eigenvectors of the doubly centred matrix, by another route."""
    z = cube(4)[[0, 1, 3, 7, 8, 9, 12, 15]]
    square = cdist(z, z, "cityblock") ** 2
    centre = np.eye(len(z)) - 1 / len(z)
    gram = -0.5 * centre @ square @ centre
    values, vectors = np.linalg.eigh(gram)
    best = (vectors[:, -2:] * values[-2:]) @ vectors[:, -2:].T
    positions = projection.hamming(z).positions
    np.testing.assert_allclose(positions @ positions.T, best, atol=1e-4)


def test_landmarks_put_the_other_points_where_they_belong(monkeypatch):
    line = np.tril(np.ones((61, 60), np.float32), -1)
    exact = cdist(line, line, "cityblock")
    monkeypatch.setattr(projection, "LANDMARKS", 20)
    found = projection.hamming(line, line[::7])
    np.testing.assert_allclose(cdist(found.positions, found.positions), exact, atol=1e-2)
    np.testing.assert_allclose(found.further, found.positions[::7], atol=1e-4)


def test_neighbours_are_the_nearest_and_never_oneself():
    z = cloud(1203)
    index, distance = near.neighbours(z, 6, with_distance=True)
    d = cdist(z, z)
    np.fill_diagonal(d, np.inf)
    np.testing.assert_array_equal(index, np.argsort(d, 1)[:, :6])
    np.testing.assert_allclose(distance, np.sort(d, 1)[:, :6], rtol=1e-3, atol=1e-3)


def test_a_space_shares_all_neighbours_with_itself_however_it_is_turned():
    z = cloud(300)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0].astype(np.float32)
    assert near.shared_neighbours(z, z, 10) == pytest.approx(1.0)
    assert near.shared_neighbours(z, 3 * z @ turn + 5, 10).mean() > 0.999
    codes = np.random.default_rng(2).integers(0, 2, (500, 6)).astype(np.float32)  # 64 codes: mostly ties
    assert near.shared_neighbours(codes, codes, 10) == pytest.approx(1.0)


def test_unrelated_spaces_share_as_many_as_chance_gives():
    """1,000 independent points: 10 / 999 on average; three standard errors of the mean."""
    found = near.shared_neighbours(cloud(1000), cloud(1000, seed=1), 10)
    assert abs(found.mean() - 10 / 999) < 3 * found.std() / np.sqrt(1000)


def test_ties_are_shared_by_hand():
    a = np.array([[0], [1], [1], [5]], np.float32)
    b = np.array([[0], [1], [9], [8]], np.float32)
    # point 0, k = 1: in a the two at distance 1 share the place, in b it is point 1's
    assert near.shared_neighbours(a, b, 1)[0] == pytest.approx(0.5)


def test_trustworthiness_and_rank_correlation_know_a_good_map():
    z = cloud(200, 2)
    assert near.trustworthiness(z, z) == (pytest.approx(1.0), 200)
    shuffled = z[np.random.default_rng(0).permutation(200)]
    assert near.trustworthiness(z, shuffled)[0] < 0.65
    assert projection.faithfulness(z, z) > 0.95
    assert abs(projection.faithfulness(z, shuffled)) < 0.1
    assert near.trustworthiness(cloud(1500, 2), cloud(1500, 2))[1] == 1000


@pytest.mark.parametrize("mirrored", [False, True])
def test_procrustes_recovers_a_turn(mirrored):
    a = cloud(50, 2)
    angle = 0.7
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([1, -1])
    b = 2.5 * a @ turn + [3, -4]
    fit = projection.procrustes(a, b)
    np.testing.assert_allclose(fit(b), a, atol=1e-4)
    assert fit.scale == pytest.approx(1 / 2.5, rel=1e-4)
    assert fit.disparity == pytest.approx(0, abs=1e-6)
    rigid = projection.procrustes(a, b / 2.5, scaled=False)
    assert rigid.scale == 1.0
    np.testing.assert_allclose(rigid(b / 2.5), a, atol=1e-4)


def test_procrustes_agrees_with_scipy():
    from scipy.spatial import procrustes

    a, b = cloud(40, 2), cloud(40, 2, seed=3)
    assert projection.procrustes(a, b).disparity == pytest.approx(procrustes(a, b)[2], abs=1e-5)


def test_samples_of_one_distribution_mix_and_others_do_not():
    """Half the neighbours within three standard errors; n = 500, seed fixed."""
    g = np.random.default_rng(0)
    a, b = (g.normal(size=(500, 5)).astype(np.float32) for _ in range(2))
    share, error = near.mixing(a, b)
    assert abs(share - 0.5) < 3 * error
    assert near.mixing(a, b + 20)[0] == 0
    codes = g.integers(0, 2, (2, 400, 4)).astype(np.float32)  # 16 codes: all ties
    share, error = near.mixing(*codes)
    assert abs(share - 0.5) < 3 * error


def test_further_points_lie_among_their_nearest():
    z = cloud(100, 3)
    positions = z[:, :2] * 10
    np.testing.assert_allclose(projection.among(z, positions, z[:5], k=1), positions[:5])
    assert projection.among(z, positions, z[:0]).shape == (0, 2)


def test_umap_keeps_clusters_together_and_tells_its_progress():
    g = np.random.default_rng(0)
    centres = g.integers(0, 2, (3, 20)) * 4.0
    z = np.concatenate([c + g.normal(size=(40, 20)) for c in centres]).astype(np.float32)
    told = []
    positions = projection.umap(z, tell=lambda what, done: told.append(done))
    assert positions.shape == (120, 2)
    assert near.trustworthiness(z, positions)[0] > 0.85
    label = np.repeat([0, 1, 2], 40)
    closest, _ = near.neighbours(positions, 5)
    assert (label[closest] == label[:, None]).mean() > 0.95
    assert told == sorted(told)
    assert told[-1] > 0.9
    np.testing.assert_array_equal(positions, projection.umap(z))


def test_a_joint_layout_keeps_clusters_and_brings_each_thing_to_itself():
    """Two spaces of the same 60 things in three clusters, the second one turned and noisy; seed 0."""
    g = np.random.default_rng(0)
    cluster = np.repeat(np.arange(3), 20)
    z = (8 * np.eye(3)[cluster] @ g.normal(size=(3, 6)) + g.normal(size=(60, 6))).astype(np.float32)
    turned = (z @ np.linalg.qr(g.normal(size=(6, 6)))[0] + 0.1 * g.normal(size=z.shape)).astype(np.float32)
    a, b = projection.joint_umap(z, turned)
    assert a.shape == b.shape == (60, 2)
    centres = np.stack([np.concatenate((a[cluster == k], b[cluster == k])).mean(0) for k in range(3)])
    for own in (a, b):
        assert (((own[:, None] - centres) ** 2).sum(2).argmin(1) == cluster).all(), "clusters, and one frame for both"
    again = projection.joint_umap(z, turned)
    np.testing.assert_array_equal(a, again[0])
    few = projection.joint_umap(z[:4], turned[:4])
    assert few[0].shape == few[1].shape == (4, 2)
