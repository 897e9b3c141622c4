"""Classifier and losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mscmreid.models.gather import gather_rows
from mscmreid.registry import MODELS
from mscmreid.structures import Rows


@MODELS.register_module()
class ReIDHead(BaseModule):
    """Cross entropy on the classifier's logits and any number of metric losses on ``feat_pool``.

    Args:
        in_channels: size of the features.
        num_classes: training identities; checked against the data when training starts.
        ce_weight: weight of the cross entropy.
        label_smoothing: of the cross entropy (none in the published systems).
        metric_losses: name -> config of a metric loss, with these keys for the head: ``weight`` (default 1),
            ``start_iter`` (weight 0 before this iteration) and ``ramp_iters`` (from there it rises linearly).
    """

    metric_weights: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        ce_weight: float = 1.0,
        label_smoothing: float = 0.0,
        metric_losses: Mapping[str, dict] | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, found {num_classes}")
        self.num_classes = num_classes
        self.ce_weight = ce_weight
        self.label_smoothing = label_smoothing
        self.classifier = nn.Linear(in_channels, num_classes, bias=False)
        nn.init.normal_(self.classifier.weight, 0.0, 0.001)
        self.metric_losses = nn.ModuleDict()
        self.schedules: dict[str, tuple[float, int, int]] = {}
        for name, cfg in (metric_losses or {}).items():
            cfg = dict(cfg)
            self.schedules[name] = (cfg.pop("weight", 1.0), cfg.pop("start_iter", 0), cfg.pop("ramp_iters", 0))
            self.metric_losses[name] = MODELS.build(cfg)
        # the present weights as a tensor: a compiled network would be compiled anew for every other number
        self.register_buffer("metric_weights", torch.ones(len(self.schedules)), persistent=False)
        self._written_weights = [1.0] * len(self.schedules)
        self.set_iteration(0)

    def set_iteration(self, iteration: int, epoch: int = 0) -> None:
        """Tell where training stands (for the weights' ramps); called before each iteration."""
        self.iteration = iteration
        weights = [self.weight(name) for name in self.schedules]
        if weights != self._written_weights:
            for i, weight in enumerate(weights):
                self.metric_weights[i].fill_(weight)
            self._written_weights = weights

    def weight(self, name: str) -> float:
        """Weight of a metric loss at the present iteration."""
        weight, start, ramp = self.schedules[name]
        if self.iteration < start:
            return 0.0
        return weight * min(1.0, (self.iteration - start + 1) / ramp) if ramp > 0 else weight

    def forward(self, feat_bn: Tensor) -> Tensor:
        """Logits (N, num_classes)."""
        return self.classifier(feat_bn)

    def loss(self, feat_pool: Tensor, feat_bn: Tensor, rows: Rows) -> dict[str, Tensor]:
        """``loss_ce``, ``loss_<name>`` for each metric loss (weights included), and ``acc`` in percent."""
        logits = self(feat_bn).float()  # (N, num_classes)
        losses = {"loss_ce": self.ce_weight * F.cross_entropy(logits, rows.label, label_smoothing=self.label_smoothing)}
        if self.metric_losses:
            features, all_rows = gather_rows(feat_pool, rows)
        for i, (name, metric_loss) in enumerate(self.metric_losses.items()):
            value = metric_loss(
                features,
                all_rows.label,
                all_rows.modality,
                all_rows.stream,
                branch=all_rows.branch,
                image=all_rows.image,
            )
            losses[f"loss_{name}"] = self.metric_weights[i] * value
        with torch.no_grad():
            losses["acc"] = 100.0 * (logits.argmax(dim=1) == rows.label).float().mean()
        return losses
