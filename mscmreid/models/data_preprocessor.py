"""From uint8 images and their records to one float tensor per stem and the record of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mscmreid.models.views.intensity import Normalize
from mscmreid.models.views.rowwise import to_channels_last
from mscmreid.models.views.view import View, view_generator
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, ReIDDataSample, Rows, modality_index

Samples = Sequence[ReIDDataSample]


@MODELS.register_module()
class ReIDDataPreprocessor(BaseDataPreprocessor):
    """Normalises images on the model's device; in training makes the views of a recipe.

    What chance decides comes from (``seed``, iteration, view) alone and is drawn for the global batch, of which every
    rank uses its own rows: device, number of ranks and earlier draws change nothing.

    Args:
        mean, std: of the R, G, B values in [0, 1].
        views: the recipe: ``dict(modality='visible', stem='visible_1', ops=[dict(type='PadCrop'), ...])`` each. The
            place in this list is the rows' ``stream``. Views of one stem are concatenated in this order.
        seed: of the views.
        non_blocking: copy to the device without waiting (needs pinned memory to have an effect).
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        views: Sequence[Mapping] = (),
        seed: int = 0,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if seed < 0:
            raise ValueError(f"seed must be at least 0, found {seed}")
        self.seed = seed
        self.normalize = Normalize(mean, std)
        self.views = [View.build(cfg, mean, std) for cfg in views]
        self._iteration = 0
        self._counts_itself = True

    def set_iteration(self, iteration: int, epoch: int = 0) -> None:
        """Tell which training iteration comes next. Until the first call, every training batch counts as one."""
        if iteration < 0:
            raise ValueError(f"iteration must be at least 0, found {iteration}")
        self._iteration, self._counts_itself = iteration, False

    @torch.no_grad()
    def forward(self, data: Mapping, training: bool = False) -> dict:
        """The model's input.

        Args:
            data: ``dict(inputs, data_samples)``: images (B, 3, H, W) uint8, or a list of (3, H, W), in any order of
                modalities, and one :class:`ReIDDataSample` each with ``modality`` (in training also ``label``).
            training: make the views; otherwise only normalise.

        Returns:
            ``dict(inputs, rows, data_samples)``. ``inputs`` maps a stem (training) or a modality (otherwise) to
            (N, 3, H, W) float32 in channels_last memory; ``rows`` are its rows in the order of ``inputs``;
            ``data_samples`` is the list that came in. ``rows.image`` counts, in training, the global batch's visible
            images, then its infrared ones; otherwise the data samples.

        Raises:
            ValueError: the images are not uint8 of one size, their number is not that of the records, a modality or
                label is missing or unknown, or the batch's modalities are not those of the views.
        """
        images, samples = _unpack(data)
        images = images.to(self.device, non_blocking=self._non_blocking)
        positions = _positions(samples)
        if training:
            inputs, rows = self._make_views(images, samples, positions)
        else:
            inputs, rows = self._plain(images, positions)
        return dict(inputs=inputs, rows=rows.to(self.device), data_samples=samples)

    def _plain(self, images: Tensor, positions: Mapping[str, list[int]]) -> tuple[dict[str, Tensor], Rows]:
        """The un-augmented images by modality."""
        inputs, parts = {}, []
        for modality, position in positions.items():
            inputs[modality] = self.normalize.apply(_select(images, position), {})
            image = torch.tensor(position)
            parts.append(Rows.make(torch.full_like(image, -1), modality, stream=-1, image=image))
        return inputs, Rows.cat(parts)

    def _make_views(
        self, images: Tensor, samples: Samples, positions: Mapping[str, list[int]]
    ) -> tuple[dict[str, Tensor], Rows]:
        """All views by stem."""
        self._check_modalities(positions)
        iteration = self._next_iteration()
        by_modality = {m: to_channels_last(_select(images, position)) for m, position in positions.items()}
        labels = {m: _labels(samples, position) for m, position in positions.items()}
        image_index = self._image_index(positions)

        views: dict[str, list[Tensor]] = {}
        rows: dict[str, list[Rows]] = {}
        for stream, view in enumerate(self.views):
            x = by_modality[view.modality]
            generator = view_generator(self.seed, iteration, stream)
            views.setdefault(view.stem, []).append(self._one_view(view, x, generator))
            rows.setdefault(view.stem, []).append(
                Rows.make(labels[view.modality], view.modality, stream, image_index[view.modality])
            )
        inputs = {stem: parts[0] if len(parts) == 1 else torch.cat(parts) for stem, parts in views.items()}
        return inputs, Rows.cat([part for parts in rows.values() for part in parts])

    def _one_view(self, view: View, x: Tensor, generator: torch.Generator) -> Tensor:
        """One view of this rank's images, with this rank's part of the global batch's draws."""
        start, n = get_rank() * len(x), len(x)
        height, width = x.shape[2:]
        draws = [
            {name: v[start : start + n].to(x.device, non_blocking=True) for name, v in drawn.items()}
            for drawn in view.draw(generator, n * get_world_size(), (height, width))
        ]
        return to_channels_last(view.apply(x, draws))

    def _image_index(self, positions: Mapping[str, list[int]]) -> dict[str, Tensor]:
        """Of each modality's images: their place among all images of the global batch, visible ones first."""
        index, first = {}, 0
        for modality, position in positions.items():
            n = len(position)
            index[modality] = first + get_rank() * n + torch.arange(n)
            first += n * get_world_size()
        return index

    def _next_iteration(self) -> int:
        iteration = self._iteration
        if self._counts_itself:
            self._iteration += 1
        return iteration

    def _check_modalities(self, positions: Mapping[str, list[int]]) -> None:
        if not self.views:
            raise ValueError("training needs views: data_preprocessor.views of the config is empty")
        wanted = {view.modality for view in self.views}
        if wanted != set(positions):
            raise ValueError(
                f"the views are made of {sorted(wanted)} images, this training batch has {sorted(positions)}: check "
                "the sampler (every batch needs images of each modality) and data_preprocessor.views"
            )


def _unpack(data: Mapping) -> tuple[Tensor, list[ReIDDataSample]]:
    """Images (B, 3, H, W) uint8 and as many data samples."""
    if not {"inputs", "data_samples"} <= set(data):
        raise ValueError(f"a batch must have inputs and data_samples, found {sorted(data)}")
    images, samples = data["inputs"], list(data["data_samples"])
    if not isinstance(images, Tensor):
        shapes = sorted({tuple(image.shape) for image in images})
        if len(shapes) != 1:
            raise ValueError(f"the images of a batch must be of one size, found {shapes}")
        images = torch.stack(list(images))
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be uint8 (B, 3, H, W), found {images.dtype} {tuple(images.shape)}")
    if len(images) != len(samples) or not samples:
        raise ValueError(f"a batch needs one data sample an image, found {len(samples)} for {len(images)} images")
    return images, samples


def _positions(samples: Samples) -> dict[str, list[int]]:
    """Positions of the visible and of the infrared samples, in this order; a modality without any is left out."""
    positions: dict[str, list[int]] = {modality: [] for modality in MODALITIES}
    for i, sample in enumerate(samples):
        positions[MODALITIES[modality_index(sample.get("modality"))]].append(i)
    return {modality: position for modality, position in positions.items() if position}


def _select(images: Tensor, position: list[int]) -> Tensor:
    """The images at the ascending ``position``; a view of them where they lie together."""
    first, last = position[0], position[-1]
    if last - first + 1 == len(position):
        return images[first : last + 1]
    return images[torch.tensor(position).to(images.device, non_blocking=True)]


def _labels(samples: Samples, position: list[int]) -> Tensor:
    """Labels (N,) of the samples at ``position``."""
    labels = [samples[i].get("label") for i in position]
    if None in labels:
        sample = samples[position[labels.index(None)]]
        raise ValueError(
            f"training needs a label (class index) in every data sample, found none for {sample.get('img_path')!r}"
        )
    return torch.tensor(labels, dtype=torch.int64)
