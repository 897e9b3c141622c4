"""Labelled pairs for a calibration: of a gallery's own images, a list, a feature file, a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.retrieval.calibration import Pairs, pairs_of_images, read_pairs, scored_pairs
from mscmreid.retrieval.encoder import Encoder, unit_rows
from mscmreid.retrieval.gallery import Gallery


def of_gallery(gallery: Gallery) -> tuple[dict[str, Pairs], str]:
    """Pairs of the gallery's images whose person is known, and where they are from in words.

    Raises:
        ValueError: no person is known.
    """
    known = [(place, hit) for place, hit in _rows(gallery) if hit.id is not None]
    if not known:
        raise ValueError(
            "no image of the gallery has a person's id: add labelled images with ids (--id-pattern, --table), or give "
            "labelled pairs (--pairs), features (--features) or a data set (--config, --split)"
        )
    features = gallery.snapshot.features(np.array([place for place, _ in known]))
    hits = [hit for _, hit in known]
    pairs = pairs_of_images(
        features, [hit.id for hit in hits], [hit.modality for hit in hits], [hit.camera for hit in hits]
    )
    return pairs, f"{len(hits):,} labelled images of {len({hit.id for hit in hits}):,} people in the gallery"


def of_list(gallery: Gallery, encoder: Encoder, path: Path) -> tuple[dict[str, Pairs], str]:
    """Pairs of a CSV (:func:`mscmreid.retrieval.calibration.read_pairs`), their images' features made anew."""
    listed = read_pairs(path)
    features: dict[tuple[str, str], np.ndarray] = {}
    for modality in sorted({m for one, first, other, second, _ in listed for m in (first, second)}):
        images = sorted(
            {image for a, first, b, second, _ in listed for image, m in ((a, first), (b, second)) if m == modality}
        )
        found = encoder.encode(images, modality)
        features |= {(image, modality): feature for image, feature in zip(images, found, strict=True)}
    return scored_pairs(listed, features), f"{len(listed):,} pairs of {path.name}"


def of_features(gallery: Gallery, path: Path) -> tuple[dict[str, Pairs], str]:
    """Pairs of a feature file's rows (of ``tools/test.py --out-features``), if it is of the gallery's feature.

    Raises:
        ValueError: another width, or no such feature; ids that are unknown.
    """
    from mscmreid.evaluation.features import FeatureTable

    table = FeatureTable.load(path)
    features = unit_rows(table.matrix(gallery.identity.get("feature", "feat_bn"), flip=table.has_flip))
    if features.shape[1] != gallery.dim:
        raise ValueError(f"features of {path} have width {features.shape[1]}, the gallery's {gallery.dim}")
    people = [None if pid < 0 else str(pid) for pid in table.pid]
    pairs = pairs_of_images(features, people, table.modality.tolist(), [str(cam) for cam in table.cam_id])
    return pairs, f"{len(table):,} images of {len(set(table.pid.tolist())):,} people in {path.name}"


def of_split(gallery: Gallery, encoder: Encoder, cfg: Any, split: str) -> tuple[dict[str, Pairs], str]:
    """Pairs of a data set of a config.

    Args:
        cfg: the config.
        split: 'val' or 'test': of which data loader.
    """
    from mscmreid.registry import DATASETS

    dataset = DATASETS.build(cfg[f"{split}_dataloader"].dataset)
    rows, root = dataset.rows(), Path(dataset.metainfo["data_root"])
    features = np.zeros((len(rows["path"]), gallery.dim), dtype=np.float32)
    for modality in np.unique(rows["modality"]).tolist():
        here = np.flatnonzero(rows["modality"] == modality)
        features[here] = encoder.encode([str(root / rows["path"][i]) for i in here], modality)
    people = [None if pid < 0 else str(pid) for pid in rows["pid"]]
    pairs = pairs_of_images(features, people, rows["modality"].tolist(), [str(cam) for cam in rows["cam_id"]])
    return pairs, f"{len(people):,} images of {len(set(people)):,} people in {dataset.metainfo['dataset_name']} {split}"


def _rows(gallery: Gallery) -> list[tuple[int, Any]]:
    return [(int(place), gallery.hit(int(place))) for place in np.flatnonzero(gallery.snapshot.alive)]
