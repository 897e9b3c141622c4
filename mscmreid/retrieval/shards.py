"""Features of all images in a folder, in shards on disk: bounded memory, and a killed run goes on where it stood."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mscmreid.apis.config import config_hash
from mscmreid.datasets import UndecodableImageError, list_images
from mscmreid.evaluation import FeatureTable
from mscmreid.fileio import written_atomically
from mscmreid.models.folding import inference_copy
from mscmreid.progress import Progress
from mscmreid.retrieval.extract import FeatureBatch, inference_meta, stream_features
from mscmreid.structures import modality_index

SHARD = 4096


@dataclass(frozen=True)
class FolderFeatures:
    """Features of a folder's images.

    Attributes:
        folder: absolute.
        modality: of all of them.
        paths: relative to ``folder``, sorted.
        shards: (n_i, D) float32 each, memory-mapped, one behind the other as ``paths``.
        undecodable: images that were left out.
    """

    folder: str
    modality: str
    paths: list[str]
    shards: list[np.ndarray]
    undecodable: list[str]

    def blocks(self, size: int) -> Iterator[tuple[int, np.ndarray]]:
        """(position of the first row, at most ``size`` rows) one after another."""
        start = 0
        for shard in self.shards:
            for first in range(0, len(shard), size):
                yield start + first, shard[first : first + size]
            start += len(shard)


def extract_folder(
    model: nn.Module,
    folder: str | Path,
    modality: str,
    cache_dir: str | Path,
    *,
    feature: str = "feat_bn",
    batch_size: int = 64,
    num_workers: int | None = None,
    precision: str = "float32",
    on_error: str = "raise",
    shard_size: int = SHARD,
) -> FolderFeatures:
    """Features of every image in a folder and below, kept in ``cache_dir``.

    A shard's name is a digest of all that decides its content: weights, config, options, and path, size and
    modification time of each of its images. What is there already is not made again; a change makes new shards.

    Args:
        model: of :func:`mscmreid.apis.init_model`; a copy with folded batch norms is used.
        folder: images, in subfolders too.
        modality: 'visible' or 'infrared', of all of them.
        cache_dir: where shards are written and found again.
        feature: option of :meth:`FeatureTable.matrix`: 'feat_bn', 'feat_pool', 'sum', 'blend=0.1'. A model with
            ``inference.flip`` joins the mirrored images' features.
        batch_size, num_workers, precision: see :func:`stream_features`.
        on_error: 'raise' stops at an image that cannot be decoded; 'skip' leaves it out, with a warning.
        shard_size: images a shard: what a kill can cost at most.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        UndecodableImageError: an image that cannot be read, named; or none that can.
    """
    modality_index(modality)
    folder = os.path.abspath(folder)
    paths = list_images(folder)
    key = _model_key(model, feature, modality, precision)
    model = inference_copy(model)
    progress = Progress(f"features of {os.path.basename(folder)}", len(paths))
    shards: list[np.ndarray] = []
    left_out: list[str] = []
    reused = 0
    for start in range(0, len(paths), shard_size):
        names = paths[start : start + shard_size]
        file = Path(cache_dir) / f"{_shard_key(key, folder, names)}.npy"
        array = _read_shard(file, len(names))
        if array is not None and not (on_error == "raise" and _unknown(array).any()):
            reused += len(names)
            progress.advance(len(names))
        else:
            full = [os.path.join(folder, name) for name in names]
            batches = stream_features(
                model,
                full,
                modality,
                batch_size=batch_size,
                num_workers=num_workers,
                precision=precision,
                on_error=on_error,
            )
            array = _write_shard(file, _fill(batches, full, modality, feature, inference_meta(model), progress))
        bad = _unknown(array)
        left_out += [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
        if not bad.all():
            shards.append(array[~bad] if bad.any() else array)
    if reused:
        print_log(f"{reused:,} of {len(paths):,} images had their features in {cache_dir} already", "current")
    if not shards:
        raise UndecodableImageError(f"none of the {len(paths)} images in {folder!r} can be decoded")
    if left_out:
        print_log(
            f"{len(left_out)} of {len(paths)} images in {folder} cannot be decoded and are left out, such as "
            f"{left_out[0]}",
            "current",
            logging.WARNING,
        )
    gone = set(left_out)
    return FolderFeatures(folder, modality, [path for path in paths if path not in gone], shards, left_out)


def _fill(
    batches: Iterator[FeatureBatch],
    paths: Sequence[str],
    modality: str,
    feature: str,
    meta: dict,
    progress: Progress,
) -> np.ndarray:
    """(N, D) features of a shard's images; rows of NaN for those that cannot be decoded ((N, 1) if none can)."""
    array = None
    for batch in batches:
        if batch.features:
            unknown = np.full(len(batch.kept), -1)
            named = [paths[batch.start + i] for i in batch.kept]
            table = FeatureTable(named, unknown, unknown, np.full(len(named), modality), batch.features, meta)
            matrix = table.matrix(feature, flip=table.has_flip)
            if array is None:
                array = np.full((len(paths), matrix.shape[1]), np.nan, dtype=np.float32)
            array[batch.start + batch.kept] = matrix
        progress.advance(batch.num)
    return np.full((len(paths), 1), np.nan, dtype=np.float32) if array is None else array


def _unknown(array: np.ndarray) -> np.ndarray:
    """(N,) bool: rows of images that could not be decoded."""
    return np.isnan(array[:, 0])


def _model_key(model: nn.Module, feature: str, modality: str, precision: str) -> str:
    """Digest of the model's weights and config, and of what is asked of it."""
    digest = hashlib.sha256(repr(("folded", feature, modality, precision, model.inference)).encode())
    cfg = getattr(model, "cfg", None)
    digest.update((config_hash(Config(dict(model=cfg.model.to_dict()))) if cfg is not None else repr(model)).encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _shard_key(model_key: str, folder: str, names: Sequence[str]) -> str:
    digest = hashlib.sha256(model_key.encode())
    for name in names:
        stat = os.stat(os.path.join(folder, name))
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:24]


def _read_shard(file: Path, num_rows: int) -> np.ndarray | None:
    """A finished shard, memory-mapped; None if there is none, or none that is whole."""
    if not file.is_file():
        return None
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError):
        array = None
    if array is None or array.ndim != 2 or len(array) != num_rows or array.dtype != np.float32:
        print_log(f"{file} is damaged: its features are made again", "current", logging.WARNING)
        return None
    return array


def _write_shard(file: Path, array: np.ndarray) -> np.ndarray:
    """The array as it lies on disk, memory-mapped."""
    with written_atomically(file) as temporary, temporary.open("wb") as out:
        np.save(out, array, allow_pickle=False)
    return np.load(file, mmap_mode="r", allow_pickle=False)
