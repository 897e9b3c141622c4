"""Features of images, with a model outside a run: streamed, so that memory does not grow with their number."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mscmreid.cores import available_cores
from mscmreid.datasets.loading import Resize, check_size, make_sample
from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS, usable_precision
from mscmreid.evaluation import FeatureTable
from mscmreid.intake import PUBLISHED, Intake, UnreadableImageError
from mscmreid.intake import decode as decode_image
from mscmreid.models.precision import inference_precision
from mscmreid.progress import Progress


@dataclass(frozen=True)
class FeatureBatch:
    """Features of consecutive images of a list.

    Attributes:
        start: position of the first of them.
        num: how many images these are.
        kept: positions, from ``start``, of the images that could be decoded.
        features: name -> (len(kept), D) float32.
        undecodable: path -> reason, of the others.
    """

    start: int
    num: int
    kept: np.ndarray
    features: dict[str, np.ndarray]
    undecodable: dict[str, str]


def stream_features(
    model: nn.Module,
    images: Sequence[Any],
    modality: str | Sequence[str],
    *,
    batch_size: int = 64,
    num_workers: int | None = None,
    precision: str = "float32",
    on_error: str = "raise",
    intake: Intake = PUBLISHED,
) -> Iterator[FeatureBatch]:
    """Features of images, a batch at a time; decoding threads work a few batches ahead.

    Args:
        model: of :func:`mscmreid.apis.init_model`; its ``image_size`` is what images are resized to, with the filter of
            its config's test data.
        images: files, Pillow images, or arrays (:func:`mscmreid.intake.open_image`).
        modality: of all images, or one of each.
        batch_size: images a forward pass.
        num_workers: decoding threads; None: one a core, at most eight.
        precision: 'float32', 'tf32', 'bfloat16', 'float16' of the forward pass; 'mixed' where the model is such a copy.
        on_error: 'raise' stops at an image that cannot be decoded; 'skip' leaves it out and says so in the batch.
        intake: how images are decoded.

    Raises:
        UnreadableImageError: an image that cannot be read, named.
        ValueError: an unknown option; a feature with NaN or infinite values, its image named.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error must be 'raise' or 'skip', found {on_error!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, found {batch_size}")
    modalities = [modality] * len(images) if isinstance(modality, str) else list(modality)
    if len(modalities) != len(images):
        raise ValueError(f"{len(images)} images need as many modalities, found {len(modalities)}")
    device_type = next(model.parameters()).device.type
    dtype = EXTRACTION_PRECISIONS[usable_precision(precision, device_type, EXTRACTION_PRECISIONS)]
    size, resize = check_size(model.image_size), resize_of_test_data(model)  # type: ignore[arg-type]
    for start, decoded in _decoded_batches(images, size, resize, intake, batch_size, num_workers):
        names = [name_of(image, start + i) for i, image in enumerate(images[start : start + len(decoded)])]
        bad = {name: str(found) for name, found in zip(names, decoded, strict=True) if isinstance(found, Exception)}
        if bad and on_error == "raise":
            raise UnreadableImageError(next(iter(bad.values())))
        kept = np.array([i for i, name in enumerate(names) if name not in bad], dtype=np.int64)
        features: dict[str, np.ndarray] = {}
        if len(kept):
            pixels_NHWC = np.stack([decoded[i].transpose(1, 2, 0) for i in kept])  # as they lie in memory
            inputs = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2)
            samples = [make_sample(dict(img_path=names[i], modality=modalities[start + i])) for i in kept]
            with torch.inference_mode(), inference_precision(device_type, dtype, tf32=precision == "tf32"):
                outputs = model.test_step(  # type: ignore[operator]
                    dict(inputs=inputs, data_samples=samples)
                )
            features = {
                key: torch.stack([sample.get(key) for sample in outputs]).float().cpu().numpy()
                for key in outputs[0].keys()  # noqa: SIM118  (a data sample is no dict)
            }
            _check_finite(features, [names[i] for i in kept])
        yield FeatureBatch(start, len(names), kept, features, bad)


def extract_table(
    model: nn.Module,
    columns: Mapping[str, Any],
    data_root: str | Path,
    *,
    batch_size: int = 64,
    num_workers: int | None = None,
    precision: str = "float32",
    intake: Intake = PUBLISHED,
) -> FeatureTable:
    """Features of a data set's images, held in memory.

    Args:
        model: see :func:`stream_features`.
        columns: ``dict(path, pid, cam_id, modality)`` of the images, such as a data set's ``rows()`` or a feature
            table's ``columns``; paths are relative to ``data_root``.
        data_root: folder of the data set.
        batch_size, num_workers, precision, intake: see :func:`stream_features`.
    """
    paths = [os.path.join(data_root, path) for path in columns["path"]]
    progress = Progress("features", len(paths))
    parts: dict[str, list[np.ndarray]] = {}
    for batch in stream_features(
        model,
        paths,
        list(columns["modality"]),
        batch_size=batch_size,
        num_workers=num_workers,
        precision=precision,
        intake=intake,
    ):
        for name, part in batch.features.items():
            parts.setdefault(name, []).append(part)
        progress.advance(batch.num)
    features = {name: np.concatenate(part) for name, part in parts.items()}
    metadata = {name: columns[name] for name in ("pid", "cam_id", "modality")}
    return FeatureTable(
        list(columns["path"]), **metadata, features=features, meta=inference_meta(model), role=columns.get("role")
    )


def inference_meta(model: nn.Module) -> dict[str, Any]:
    """What a feature table's ``meta`` says of the model's features."""
    return dict(inference=model.inference.to_dict())  # type: ignore[operator, union-attr]


def resize_of_test_data(model: nn.Module) -> Resize:
    """The filter that the test data of the model's config are resized with."""
    loader = (getattr(model, "cfg", None) or {}).get("test_dataloader") or {}
    return Resize.parse((loader.get("dataset") or {}).get("resize", "lanczos"))


def name_of(image: Any, position: int) -> str:
    """How a message calls an image."""
    return os.fspath(image) if isinstance(image, str | os.PathLike) else f"image {position}"


def _decoded_batches(
    images: Sequence[Any],
    size: tuple[int, int],
    resize: Resize,
    intake: Intake,
    batch_size: int,
    num_workers: int | None,
) -> Iterator[tuple[int, list[np.ndarray | Exception]]]:
    """(start, images or errors) of batch after batch; at most three batches are decoded or waiting to be."""

    def decode(image: Any) -> np.ndarray | Exception:
        try:
            return np.array(resize(decode_image(image, intake), size)).transpose(2, 0, 1)
        except UnreadableImageError as error:
            return error

    workers = num_workers or min(8, available_cores())
    waiting: deque[tuple[int, list[Future]]] = deque()
    starts = iter(range(0, len(images), batch_size))
    executor = ThreadPoolExecutor(workers)
    try:
        while True:
            while len(waiting) < 3 and (start := next(starts, None)) is not None:
                batch = images[start : start + batch_size]
                waiting.append((start, [executor.submit(decode, image) for image in batch]))
            if not waiting:
                return
            first, futures = waiting.popleft()
            yield first, [future.result() for future in futures]
    finally:
        executor.shutdown(cancel_futures=True)


def _check_finite(features: dict[str, np.ndarray], names: Sequence[str]) -> None:
    for key, array in features.items():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad):
            raise ValueError(
                f"{key} of {names[bad[0]]} has NaN or infinite values ({len(bad)} of {len(names)} images of its "
                "batch): look at the checkpoint, or use precision='float32'"
            )
