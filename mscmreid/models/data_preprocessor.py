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
        mean, std: of the R, G, B values in [0, 1], for all images, or by modality ``dict(visible=..., infrared=...)``.
        views: the recipe by name: ``dict(visible_1=dict(modality='visible', ops=dict(gray=dict(type=...))), ...)``,
            see :meth:`View.build`; None takes a view of a base config away. The place among the views is the rows'
            ``stream``. Views of one stem are concatenated in this order.
        ops: operations of every view, by name; a view's own ``ops`` are differences to them.
        extra_fields: names of the data samples' meta information (numbers or arrays of one shape, such as 'cam_id')
            that the rows of training carry in ``extra``.
        seed: of the views.
        non_blocking: copy to the device without waiting (needs pinned memory to have an effect).
    """

    def __init__(
        self,
        mean: Sequence[float] | Mapping[str, Sequence[float]],
        std: Sequence[float] | Mapping[str, Sequence[float]],
        views: Mapping[str, Mapping | None] | None = None,
        ops: Mapping[str, Mapping] | None = None,
        extra_fields: Sequence[str] = (),
        seed: int = 0,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking=non_blocking)
        if seed < 0:
            raise ValueError(f"seed must be at least 0, found {seed}")
        self.seed = seed
        self.extra_fields = tuple(extra_fields)
        self.normalize = {m: Normalize(_of(mean, m), _of(std, m)) for m in MODALITIES}
        self.views: dict[str, View] = {}
        for name, cfg in (views or {}).items():
            if cfg is not None:
                source = "infrared" if cfg.get("modality") == "infrared" else "visible"
                self.views[name] = View.build(name, cfg, ops or {}, _of(mean, source), _of(std, source))
        self._labels: Tensor | None = None
        self._iteration = 0
        self._counts_itself = True

    def set_iteration(self, iteration: int, epoch: int = 0) -> None:
        """Tell which training iteration, of which epoch, comes next, both from 0. Until the first call, every training
        batch counts as one of epoch 0."""
        if iteration < 0:
            raise ValueError(f"iteration must be at least 0, found {iteration}")
        self._iteration, self._counts_itself = iteration, False
        for view in self.views.values():
            view.set_iteration(iteration, epoch)

    def set_labels(self, labels: Tensor | None) -> None:
        """From now on the label of an image is ``labels[row in the data set]``, (N,) integers; None: the sample's own.

        Data workers hold copies of the data set as it was when they started: new labels cannot come with the samples.
        """
        self._labels = None if labels is None else labels.long().cpu()

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
            inputs, rows = self._plain(images, samples, positions)
        return dict(inputs=inputs, rows=rows.to(self.device), data_samples=samples)

    def _plain(
        self, images: Tensor, samples: Samples, positions: Mapping[str, list[int]]
    ) -> tuple[dict[str, Tensor], Rows]:
        """The un-augmented images by modality."""
        inputs, parts = {}, []
        for modality, position in positions.items():
            inputs[modality] = self.normalize[modality].apply(_select(images, position), {})
            image = torch.tensor(position)
            unknown = torch.full_like(image, -1)
            parts.append(Rows.make(unknown, modality, stream=-1, image=image, index=_index(samples, position)))
        return inputs, Rows.cat(parts)

    def _make_views(
        self, images: Tensor, samples: Samples, positions: Mapping[str, list[int]]
    ) -> tuple[dict[str, Tensor], Rows]:
        """All views by stem."""
        self._check_modalities(positions)
        iteration = self._next_iteration()
        by_modality = {m: to_channels_last(_select(images, position)) for m, position in positions.items()}
        index = {m: _index(samples, position) for m, position in positions.items()}
        labels = {m: self._label(samples, position, index[m]) for m, position in positions.items()}
        extra = {m: self._extra(samples, position) for m, position in positions.items()}
        image_index = self._image_index(positions)

        views: dict[str, list[Tensor]] = {}
        rows: dict[str, list[Rows]] = {}
        for stream, view in enumerate(self.views.values()):
            m, partner = view.source, None
            if view.partner is not None:
                pairs = _partners(labels[m].tolist(), labels[view.partner].tolist(), samples, positions[m])
                partner = _select(by_modality[view.partner], pairs)
            generator = view_generator(self.seed, iteration, stream)
            views.setdefault(view.stem, []).append(self._one_view(view, by_modality[m], partner, generator))
            rows.setdefault(view.stem, []).append(
                Rows.make(labels[m], view.modality, stream, image_index[m], index[m], extra[m])
            )
        inputs = {stem: parts[0] if len(parts) == 1 else torch.cat(parts) for stem, parts in views.items()}
        return inputs, Rows.cat([part for parts in rows.values() for part in parts])

    def _one_view(self, view: View, x: Tensor, partner: Tensor | None, generator: torch.Generator) -> Tensor:
        """One view of this rank's images, with this rank's part of the global batch's draws."""
        start, n = get_rank() * len(x), len(x)
        height, width = x.shape[2:]
        draws = [
            {name: v[start : start + n].to(x.device, non_blocking=True) for name, v in drawn.items()}
            for drawn in view.draw(generator, n * get_world_size(), (height, width))
        ]
        return to_channels_last(view.apply(x, draws, partner))

    def _image_index(self, positions: Mapping[str, list[int]]) -> dict[str, Tensor]:
        """Of each modality's images: their place among all images of the global batch, visible ones first."""
        index, first = {}, 0
        for modality, position in positions.items():
            n = len(position)
            index[modality] = first + get_rank() * n + torch.arange(n)
            first += n * get_world_size()
        return index

    def _label(self, samples: Samples, position: list[int], index: Tensor) -> Tensor:
        """Labels (N,) of the samples at ``position``, the rows ``index`` of the data set."""
        if self._labels is None:
            return _labels(samples, position)
        if int(index.min()) < 0 or int(index.max()) >= len(self._labels):
            raise ValueError(
                f"there are labels of {len(self._labels)} images, found rows {int(index.min())} to {int(index.max())}: "
                "data samples need their row in the data set, 'sample_idx'"
            )
        labels = self._labels[index]
        if int(labels.min()) < 0:
            sample = samples[position[int(labels.argmin())]]
            raise ValueError(
                f"{sample.get('img_path')!r} was left out when the images were labelled anew, and is in a batch all "
                "the same: check the sampler's read_rows"
            )
        return labels

    def _extra(self, samples: Samples, position: list[int]) -> dict[str, Tensor]:
        """The ``extra_fields`` of the samples at ``position``."""
        extra = {}
        for name in self.extra_fields:
            values = [samples[i].get(name) for i in position]
            if any(value is None for value in values):
                raise ValueError(f"extra_fields names {name!r}, which not every data sample has")
            extra[name] = torch.stack([torch.as_tensor(value) for value in values])
        return extra

    def _next_iteration(self) -> int:
        iteration = self._iteration
        if self._counts_itself:
            self._iteration += 1
        return iteration

    def _check_modalities(self, positions: Mapping[str, list[int]]) -> None:
        if not self.views:
            raise ValueError("training needs views: data_preprocessor.views of the config is empty")
        wanted = {m for view in self.views.values() for m in (view.source, view.partner) if m is not None}
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
    """The images at ``position``; a view of them where they lie together in this order."""
    first, last = position[0], position[-1]
    if position == list(range(first, last + 1)):
        return images[first : last + 1]
    return images[torch.tensor(position).to(images.device, non_blocking=True)]


def _index(samples: Samples, position: list[int]) -> Tensor:
    """Rows (N,) in the data set of the samples at ``position``, -1 where they do not say."""
    return torch.tensor([samples[i].get("sample_idx", -1) for i in position], dtype=torch.int64)


def _partners(labels: list[int], others: list[int], samples: Samples, position: list[int]) -> list[int]:
    """For each label the place of an equal one among ``others``: the n-th of a label gets the n-th, round and round."""
    places: dict[int, list[int]] = {}
    for place, label in enumerate(others):
        places.setdefault(label, []).append(place)
    seen: dict[int, int] = {}
    found = []
    for label, i in zip(labels, position, strict=True):
        if label not in places:
            raise ValueError(
                f"a view reads the other modality, of which the batch has no image of {samples[i].get('img_path')!r}'s "
                "person: use a sampler that gives both"
            )
        count = seen[label] = seen.get(label, -1) + 1
        found.append(places[label][count % len(places[label])])
    return found


def _of(value: Sequence[float] | Mapping[str, Sequence[float]], modality: str) -> Sequence[float]:
    """A modality's three numbers, where they are given by modality."""
    return value[modality] if isinstance(value, Mapping) else value


def _labels(samples: Samples, position: list[int]) -> Tensor:
    """Labels (N,) of the samples at ``position``."""
    labels = [samples[i].get("label") for i in position]
    if None in labels:
        sample = samples[position[labels.index(None)]]
        raise ValueError(
            f"training needs a label (class index) in every data sample, found none for {sample.get('img_path')!r}"
        )
    return torch.tensor(labels, dtype=torch.int64)
