"""Ranked lists of images against a folder, for once: a gallery that is made to fit the folder, and asked."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mscmreid.intake import UnreadableImageError, check_images, list_reasons, unreadable_images
from mscmreid.retrieval.adding import AddReport
from mscmreid.retrieval.answers import Answer, answers
from mscmreid.retrieval.encoder import Encoder
from mscmreid.retrieval.files import ImageFile
from mscmreid.retrieval.gallery import Gallery


def fit(gallery: Gallery, files: Sequence[ImageFile], modality: str, on_error: str = "raise") -> AddReport:
    """Make a gallery hold these images and no others."""
    report = gallery.add([file.path for file in files], modality, on_error=on_error)
    wanted = {file.path for file in files} - set(report.skipped)
    gone = [hit.row for hit in gallery.hits() if hit.path not in wanted]
    if gone:
        gallery.remove(rows=gone)
    return report


def kept_gallery(folder: Path, encoder: Encoder, name: str) -> Gallery:
    """The gallery ``name`` of an encoder's features below a folder, made if it is not there. Features of another
    encoder have another folder."""
    digest = hashlib.sha256(json.dumps(encoder.identity, sort_keys=True).encode()).hexdigest()[:12]
    path = folder / digest / name
    if (path / "manifest.json").is_file():
        return Gallery.open(path, encoder)
    return Gallery.create(path, encoder)


def rank_images(
    encoder: Encoder,
    queries: Sequence[ImageFile],
    gallery: Sequence[ImageFile],
    modalities: tuple[str, str],
    folder: Path,
    top: int = 10,
    on_error: str = "raise",
) -> tuple[list[Answer], dict[str, str]]:
    """The ``top`` most similar gallery images of every query; memory does not grow with their features.

    Features are kept in two galleries in ``folder``: what was done before an interruption, or on another day, is not
    done again.

    Args:
        encoder: makes the features.
        queries, gallery: the images.
        modalities: of the queries, of the gallery.
        folder: where features are kept.
        top: how many each.
        on_error: 'raise' or 'skip', of images that cannot be read.

    Returns:
        The answers, in the order of the queries, and path -> reason of images that were left out.

    Raises:
        ValueError: an image on both sides, ``top`` under 1.
        UnreadableImageError: images that cannot be read.
    """
    check_separate(queries, gallery)
    sides = [kept_gallery(folder, encoder, name) for name in ("queries", "gallery")]
    skipped: dict[str, str] = {}
    for side, name, files, modality in zip(sides, ("query", "gallery"), (queries, gallery), modalities, strict=True):
        try:
            skipped |= fit(side, files, modality, on_error).skipped
        except UnreadableImageError as error:  # of the queries: the gallery's are told together with them
            others = check_images([file.path for file in gallery], side.intake) if name == "query" else {}
            raise unreadable_images({**error.unreadable, **others}) from error
        if not len(side):
            raise UnreadableImageError(f"none of the {len(files)} {name} images can be read: {list_reasons(skipped)}")
    place = {hit.path: position for position, hit in enumerate(sides[0].hits())}
    names = [file.path for file in queries if file.path in place]
    alive = np.flatnonzero(sides[0].snapshot.alive)
    features = sides[0].snapshot.features(alive[[place[name] for name in names]])
    return answers(sides[1], names, features.astype(np.float32), modalities[0], top), skipped


def check_separate(queries: Sequence[ImageFile], gallery: Sequence[ImageFile]) -> None:
    """Raise a ValueError if an image is on both sides."""
    ours = {os.path.realpath(file.path) for file in queries}
    for file in gallery:
        if os.path.realpath(file.path) in ours:
            raise ValueError(
                f"queries and gallery must be separate, or images would find themselves; {file.path!r} is in both"
            )
