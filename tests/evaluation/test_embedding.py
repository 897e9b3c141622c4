"""Two dimensions: components against a plain decomposition; UMAP and t-SNE keep neighbours and their seed."""

from __future__ import annotations

import numpy as np
import pytest

from mscmreid.evaluation.embedding import embed, principal_components


@pytest.mark.parametrize("shape", [(40, 8), (9, 50)])
def test_components_are_those_of_the_singular_values(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1)
    points, shares = principal_components(x, 3)
    centred = x - x.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(points), np.abs((u * s)[:, :3]), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(shares, s[:3] ** 2 / (s**2).sum(), rtol=1e-9)
    axes = np.linalg.lstsq(points, centred, rcond=None)[0]
    assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)  # the same way round on every machine


def test_equal_rows_are_one_point():
    found = embed(np.ones((6, 4)))
    assert np.allclose(found.points, 0) and "0 % of the variance" in found.told


@pytest.mark.slow
@pytest.mark.parametrize("how", ["umap", "tsne"])
def test_islands_stay_islands(how):
    pytest.importorskip("umap" if how == "umap" else "sklearn", reason="needs the extra 'embed'")
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(4), 30)
    x = 4 * rng.normal(size=(4, 20))[person] + 0.3 * rng.normal(size=(120, 20))
    found = embed(x, how)
    again = embed(x, how)
    assert found.points.shape == (120, 2) and np.isfinite(found.points).all() and found.told == again.told
    np.testing.assert_array_equal(found.points, again.points)
    distance = np.linalg.norm(found.points[:, None] - found.points, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (person[distance.argmin(1)] == person).mean() > 0.98


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="expected one of pca, umap, tsne, found 'lda'"):
        embed(np.eye(5), "lda")
    with pytest.raises(ValueError, match="at least 4 rows, found 3"):
        embed(np.eye(3))
