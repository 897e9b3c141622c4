"""Which outputs of a model are an image's features, and how they become one vector an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mscmreid.structures import Rows

BRANCHES = ("concat", "mean", "sum")
FLIPS = (None, "add", "add_normalized", "mean")


@dataclass(frozen=True)
class InferenceFeatures:
    """What a config says about features in inference; it is part of every result and feature file.

    Attributes:
        features: names of the outputs (N, D) that are features, the best one last.
        branches: how an image's several rows (branches of a plugin) become one feature of unit length:
            'concat': each of unit length, concatenated; the inner product of two images is then the mean of their
            branches' similarities. 'mean': the mean of the features as they are. 'sum': the sum of unit features.
        flip: how the unit feature u' of the mirrored image joins the image's own, u: None: it is not extracted.
            'add': u + u'. 'add_normalized': (u + u') / ||u + u'||. 'mean': (u + u') / 2.

    Raises:
        ValueError: no feature, or an unknown way.
    """

    features: tuple[str, ...] = ("feat_pool", "feat_bn")
    branches: str = "concat"
    flip: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple(self.features))
        if not self.features:
            raise ValueError("inference.features must name at least one output, found none")
        for name, allowed in (("branches", BRANCHES), ("flip", FLIPS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"inference.{name} must be one of {allowed}, found {getattr(self, name)!r}")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "features": list(self.features)}

    def of_images(self, outputs: Mapping[str, Tensor], rows: Rows, num_images: int) -> dict[str, Tensor]:
        """Features by name, (num_images, D) fp32 of unit length, in the order of ``rows.image``.

        Args:
            outputs: of the model; every feature (N, D), N a multiple of ``num_images``.
            rows: their record; every image has the same branches 0, 1, ...
            num_images: how many images these are rows of.
        """
        missing = [name for name in self.features if name not in outputs]
        if missing:
            raise ValueError(f"inference.features names {missing}, but the model's outputs are {sorted(outputs)}")
        num_branches = len(rows) // num_images
        position = rows.image * num_branches + rows.branch
        found = {}
        for name in self.features:
            values = outputs[name].float()
            ordered = torch.empty_like(values).index_copy_(0, position, values)
            found[name] = self.join_branches(ordered.view(num_images, num_branches, -1))
        return found

    def join_branches(self, x_NBD: Tensor) -> Tensor:
        """One feature of unit length an image, (N, B * D) for 'concat', else (N, D), of its rows (N, B, D) fp32."""
        if self.branches != "mean":
            x_NBD = F.normalize(x_NBD, dim=2)
        if self.branches == "concat":
            return x_NBD.flatten(1) / x_NBD.shape[1] ** 0.5
        return F.normalize(x_NBD.sum(1), dim=1)
