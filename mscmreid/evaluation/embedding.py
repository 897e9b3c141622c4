"""Features in two dimensions, to look at: principal components, or UMAP or t-SNE, which need an extra.

Two dimensions cannot keep the distances of hundreds. PCA is linear: what it shows apart is apart (in the share of the
variance that it says), what it shows together need not be. UMAP and t-SNE keep near neighbours and make islands; the
distances between islands and their sizes mean nothing. Neither proves what the numbers do not say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EMBEDDINGS = ("pca", "umap", "tsne", "none")
EXTRA = "pip install 'mscmreid[embed]'"
FIRST_COMPONENTS = 50
FEWEST = 4  # rows


@dataclass(frozen=True)
class Embedding:
    """Points of a plane.

    Attributes:
        points: (N, 2) float64.
        told: how they were made, in a few words.
    """

    points: np.ndarray
    told: str


def embed(features: np.ndarray, how: str = "pca", seed: int = 0) -> Embedding:
    """Features (N, D) in two dimensions.

    Args:
        how: 'pca'; 'umap' or 'tsne', on the first 50 principal components.
        seed: of UMAP and t-SNE, which also begin with the first two components.

    Raises:
        ValueError: an unknown way, fewer than four rows.
        ImportError: UMAP or t-SNE without the extra ``embed``.
    """
    if how not in ("pca", "umap", "tsne"):
        raise ValueError(f"expected one of pca, umap, tsne, found {how!r}")
    if len(features) < FEWEST:
        raise ValueError(f"a picture of features needs at least {FEWEST} rows, found {len(features)}")
    if how == "pca":
        points, shares = principal_components(features, 2)
        return Embedding(points, f"two principal components, {100 * shares.sum():.0f} % of the variance")
    points, _ = principal_components(features, min(FIRST_COMPONENTS, *np.shape(features)))
    start = points[:, :2] / max(float(points[:, 0].std()), 1e-12)
    if how == "umap":
        try:
            from umap import UMAP
        except ImportError as error:
            raise ImportError(f"UMAP is not installed: {EXTRA}") from error
        found = UMAP(n_neighbors=min(15, len(points) - 1), init=10 * start, random_state=seed, n_jobs=1)
        return Embedding(np.asarray(found.fit_transform(points), np.float64), "UMAP, 15 neighbours")
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError(f"t-SNE is not installed: {EXTRA}") from error
    perplexity = float(min(30, (len(points) - 1) / 3))
    model = TSNE(init=1e-4 * start, perplexity=perplexity, random_state=seed)
    return Embedding(np.asarray(model.fit_transform(points), np.float64), f"t-SNE, perplexity {perplexity:g}")


def principal_components(features: np.ndarray, num: int) -> tuple[np.ndarray, np.ndarray]:
    """The first components of rows.

    Args:
        features: (N, D).
        num: how many, at most min(N, D).

    Returns:
        (N, num) coordinates, in the order of their variance; each component's largest weight is positive, so that the
        picture does not turn over from machine to machine. (num,) shares of the variance.
    """
    x = np.asarray(features, dtype=np.float64)
    x = x - x.mean(axis=0)
    by_rows = len(x) < x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if by_rows else x.T @ x)
    values, vectors = values[::-1][:num].clip(min=0), vectors[:, ::-1][:, :num]
    axes = x.T @ vectors if by_rows else vectors  # (D, num)
    points = vectors * np.sqrt(values) if by_rows else x @ vectors
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    total = float((x**2).sum())
    return points * np.where(largest < 0, -1.0, 1.0), values / total if total else values
