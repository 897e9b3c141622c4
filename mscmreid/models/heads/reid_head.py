"""Classifier and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mscmreid.models.build import build_part
from mscmreid.models.gather import gather_rows, named_columns
from mscmreid.registry import MODELS
from mscmreid.structures import Rows

SAMPLES = "data_samples"


@MODELS.register_module()
class ReIDHead(BaseModule):
    """A classifier, which adds ``logits`` to the outputs, and any number of losses by name.

    A loss is a module with ``reads``, the names of what it takes in this order: outputs of the model, columns of
    :class:`mscmreid.structures.Rows` (those in ``extra``, too), ``data_samples`` (this process's). It is built with
    ``in_channels`` and ``num_classes`` if its constructor names them, and gets the rows of all processes unless it says
    ``gathers = False``. It returns a scalar, or scalars by name.

    Args:
        in_channels: size of the features.
        num_classes: training identities; checked against the data when training starts. None: no classifier.
        losses: name -> config of a loss, with these keys for the head: ``weight`` (default 1), ``start_iter`` (weight 0
            before this iteration), ``ramp_iters`` (from there it rises linearly), ``from_epoch`` and ``until_epoch``
            (weight 0 outside ``from_epoch`` <= epoch < ``until_epoch``, counted from 0), and ``reads``, which names
            other outputs to take than those the loss asks for: ``reads=dict(feat_pool='feat_bn')``. None: no such loss.
        feature: the output that the classifier reads.
    """

    loss_weights: Tensor
    float32_parts = ("losses",)

    def __init__(
        self,
        in_channels: int,
        num_classes: int | None = None,
        losses: Mapping[str, dict | None] | None = None,
        feature: str = "feat_bn",
    ) -> None:
        super().__init__()
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, or None for no classifier, found {num_classes}")
        self.num_classes = num_classes
        self.feature = feature
        self.classifier: nn.Linear | None = None
        if num_classes is not None:
            self.classifier = nn.Linear(in_channels, num_classes, bias=False)
            nn.init.normal_(self.classifier.weight, 0.0, 0.001)
        self.losses = nn.ModuleDict()
        self.schedules: dict[str, tuple[float, int, int]] = {}
        self.epochs: dict[str, tuple[int, float]] = {}
        self.reads: dict[str, list[str]] = {}
        for name, given in (losses or {}).items():
            if given is None:
                continue
            cfg = dict(given)
            self.schedules[name] = (cfg.pop("weight", 1.0), cfg.pop("start_iter", 0), cfg.pop("ramp_iters", 0))
            self.epochs[name] = (cfg.pop("from_epoch", 0), cfg.pop("until_epoch", math.inf))
            instead = dict(cfg.pop("reads", None) or {})
            self.losses[name] = loss = build_part(cfg, in_channels=in_channels, num_classes=num_classes)
            self.reads[name] = _reads_of(name, loss, instead)
        # the present weights as a tensor: a compiled network would be compiled anew for every other number
        self.register_buffer("loss_weights", torch.ones(len(self.schedules)), persistent=False)
        self._written_weights = [1.0] * len(self.schedules)
        self.set_iteration(0)

    def set_iteration(self, iteration: int, epoch: int = 0) -> None:
        """Tell where training stands (for the losses' weights); called before each iteration."""
        self.iteration, self.epoch = iteration, epoch
        weights = [self.weight(name) for name in self.schedules]
        if weights != self._written_weights:
            for i, weight in enumerate(weights):
                self.loss_weights[i].fill_(weight)
            self._written_weights = weights

    def weight(self, name: str) -> float:
        """Weight of a loss at the present iteration."""
        weight, start, ramp = self.schedules[name]
        first, end = self.epochs[name]
        if self.iteration < start or not first <= self.epoch < end:
            return 0.0
        return weight * min(1.0, (self.iteration - start + 1) / ramp) if ramp > 0 else weight

    def forward(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The outputs, and ``logits`` (N, num_classes) where there is a classifier."""
        if self.classifier is None:
            return dict(outputs)
        return {**outputs, "logits": self.classifier(outputs[self.feature])}

    def loss(
        self, outputs: Mapping[str, Tensor], rows: Rows, data_samples: Sequence | None = None
    ) -> dict[str, Tensor]:
        """``loss_<name>`` (weights included) of every loss, ``acc`` in percent, and the outputs named ``loss_*``.

        Args:
            outputs: of the neck: every tensor that a loss reads has one entry a row.
            rows: the record of these rows.
            data_samples: the images' records.

        Raises:
            ValueError: a loss reads what is not there; an output and a column have the same name.
        """
        outputs, columns = self(outputs), named_columns(rows)
        if both := outputs.keys() & columns.keys():
            raise ValueError(f"outputs and columns of the rows need different names, found {sorted(both)} in both")
        values: dict[str, Any] = {**outputs, **columns, SAMPLES: data_samples}
        wanted = dict.fromkeys(n for k, loss in self.losses.items() if _gathers(loss) for n in self.reads[k])
        missing = [n for names in self.reads.values() for n in names if n not in values]
        if missing:
            raise ValueError(f"a loss reads {missing}; there are the outputs {sorted(outputs)} and {sorted(columns)}")
        of_all = {**values, **gather_rows({name: values[name] for name in wanted if name != SAMPLES})}

        losses = {name: value for name, value in outputs.items() if name.startswith("loss_")}
        for i, (name, loss) in enumerate(self.losses.items()):
            source = of_all if _gathers(loss) else values
            found = loss(*[source[n] for n in self.reads[name]])
            parts = found if isinstance(found, Mapping) else {"": found}
            for part, value in parts.items():
                losses[f"loss_{name}_{part}" if part else f"loss_{name}"] = self.loss_weights[i] * value
        if "logits" in outputs:
            with torch.no_grad():
                hits = outputs["logits"].argmax(dim=1) == rows.label
                losses["acc"] = torch.where(hits, 100.0, 0.0).mean()
        return losses


def _gathers(loss: nn.Module) -> bool:
    return getattr(loss, "gathers", True)


def _reads_of(name: str, loss: nn.Module, instead: Mapping[str, str]) -> list[str]:
    """What a loss is given, after the config's replacements."""
    reads = getattr(loss, "reads", None)
    if not reads or isinstance(reads, str):
        raise ValueError(f"loss {name!r}: {type(loss).__name__} must name what it reads in a tuple, found {reads!r}")
    if unknown := set(instead) - set(reads):
        raise ValueError(f"loss {name!r} reads {tuple(reads)}, it cannot read something else for {sorted(unknown)}")
    return [instead.get(read, read) for read in reads]
