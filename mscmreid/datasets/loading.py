"""From a row to pixels, and from items to a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from mscmreid.intake import PUBLISHED, Intake, decode
from mscmreid.registry import FUNCTIONS, TRANSFORMS
from mscmreid.resizing import LANCZOS, Resize, check_size
from mscmreid.structures import ReIDDataSample

META_KEYS = ("img_path", "pid", "cam_id", "modality", "label", "role", "sample_idx")


def load_image(
    path: str,
    size: tuple[int, int],
    resize: Resize = LANCZOS,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
    intake: Intake = PUBLISHED,
) -> np.ndarray:
    """One image file, RGB, resized.

    Args:
        path: image file.
        size: (H, W) in pixels.
        resize: with which filter.
        change: what is done to the decoded image, (h, w, 3) uint8, before it is resized.
        intake: how it is decoded.

    Returns:
        (3, H, W) uint8, (H, W, 3) in memory.

    Raises:
        UnreadableImageError: the file is missing, damaged, or not as the intake asks.
    """
    decoded = decode(path, intake)
    if change is not None:
        decoded = Image.fromarray(change(np.asarray(decoded)))
    return np.array(resize(decoded, size)).transpose(2, 0, 1)  # (3, H, W)


@TRANSFORMS.register_module()
class LoadImage:
    """Row -> ``dict(inputs=(3, H, W) uint8 tensor, data_samples=ReIDDataSample)``.

    The pixels come from the data set's cache, where it put them under ``image``, else from the file.

    Args:
        size: (H, W); None takes the data set's ``image_size``.
    """

    def __init__(self, size: Sequence[int] | None = None) -> None:
        self.size = None if size is None else check_size(size)

    def __call__(self, results: Mapping) -> dict:
        """``results``: a row with ``img_path`` and its other columns, ``image_size``, ``resize``, ``intake``, and
        ``image`` if it is cached."""
        size = self.size or results.get("image_size")
        if size is None:
            raise ValueError("LoadImage needs size=(H, W), since the row has no image_size")
        image = results.get("image")
        if image is None:
            resize, intake = results.get("resize", LANCZOS), results.get("intake", PUBLISHED)
            image = load_image(results["img_path"], size, resize, None, intake)
        elif image.shape[1:] != tuple(size):
            raise ValueError(
                f"LoadImage has size {tuple(size)}, but the data set's cache was made for image_size "
                f"{image.shape[1:]}: state the size once, in the data set"
            )
        else:
            image = np.array(image, order="K")  # the map is read-only and shared; the pixels stay in their order
        return dict(inputs=torch.from_numpy(image), data_samples=make_sample(results))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


def make_sample(row: Mapping) -> ReIDDataSample:
    """The record of one row; plain numbers and words only, since tensors are slow between processes."""
    sample = ReIDDataSample()
    for key in META_KEYS:
        if key in row:
            sample.set_field(row[key], key, field_type="metainfo")
    return sample


@FUNCTIONS.register_module()
def reid_collate(items: Sequence[Mapping]) -> dict:
    """Items -> ``dict(inputs=(B, 3, H, W) uint8 tensor, data_samples=list of B ReIDDataSample)``.

    In a config: ``collate_fn=dict(type='mscmreid.reid_collate')``. The batch lies in channels_last memory, as the items
    of ``LoadImage`` do, so that nothing is transposed on the way. In a worker process it is stacked straight into
    shared memory.
    """
    inputs = [item["inputs"] for item in items]
    shapes = {tuple(image.shape) for image in inputs}
    if len(shapes) != 1:
        raise ValueError(
            f"the images of a batch must have one size, found {sorted(shapes)}: let the pipeline resize them"
        )
    stacked_BHWC = default_collate([image.permute(1, 2, 0) for image in inputs])
    return dict(inputs=stacked_BHWC.permute(0, 3, 1, 2), data_samples=[item["data_samples"] for item in items])
