"""Each modality's rows learn from the other modality's averaged classifier (DNS, ECCV 2024: DD)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mscmreid.models.precision import full_precision
from mscmreid.registry import MODELS


def by_modality(features: Tensor, modality: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Logits (N, C) of features (N, D): visible rows by the weights ``visible`` (C, D), all others by ``infrared``."""
    return torch.where((modality == 0)[:, None], F.linear(features, visible), F.linear(features, infrared))


def teacher_distillation(own: Tensor, teacher: Tensor, label: Tensor, modality: Tensor, ce_weight: float) -> Tensor:
    """KL(softmax(own) || softmax(teacher)), mean over rows, + ``ce_weight`` x the sum over modalities of mean CE(own).

    The gradient goes through ``own`` only. Rows of another modality than 0 and 1 take no part.

    Args:
        own, teacher: logits (N, C), fp32 or fp64.
        label, modality: (N,) integers.
        ce_weight: of each modality's cross entropy.

    Returns:
        A scalar.
    """
    log_p, log_q = own.log_softmax(1), teacher.detach().log_softmax(1)
    kl = (log_p.exp() * (log_p - log_q)).sum(1)  # (N,)
    members = torch.stack([modality == 0, modality == 1]).to(own)  # (2, N)
    sizes = members.sum(1)
    ce = F.nll_loss(log_p, label, reduction="none")  # (N,)
    return (members @ kl).sum() / sizes.sum().clamp_min(1) + ce_weight * ((members @ ce) / sizes.clamp_min(1)).sum()


@MODELS.register_module()
class OtherModalityTeacher(nn.Module):
    """Each modality has a classifier and a teacher, its running average; a row's own class distribution is drawn to the
    one that the *other* modality's teacher gives it; see :func:`teacher_distillation`, summed over the features.

    In every training forward pass, before they are used, the teachers move by ``tau`` towards the classifiers as the
    last optimizer step left them, so the first pass leaves a fresh teacher equal to its classifier. They get no
    gradient, are saved in the checkpoint, and are the same on all processes because the classifiers are.

    Args:
        in_channels, num_classes: size of the features and number of training identities (the head fills them in).
        features: names of the outputs to teach, (N, in_channels) each; all share classifiers and teachers.
        tau: share of the classifier in an update, in [0, 1].
        ce_weight: of each modality's cross entropy, which trains the classifiers.
    """

    teacher_visible: Tensor
    teacher_infrared: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        features: Sequence[str] = ("feat_bn",),
        tau: float = 0.2,
        ce_weight: float = 0.25,
    ) -> None:
        super().__init__()
        if isinstance(features, str) or not features:
            raise ValueError(f"OtherModalityTeacher expects names of one or more features, found {features!r}")
        if not 0 <= tau <= 1:
            raise ValueError(f"OtherModalityTeacher expects tau in [0, 1], found {tau}")
        self.reads = (*features, "label", "modality")
        self.tau, self.ce_weight = tau, ce_weight
        self.visible = nn.Linear(in_channels, num_classes, bias=False)
        self.infrared = nn.Linear(in_channels, num_classes, bias=False)
        self.register_buffer("teacher_visible", self.visible.weight.detach().clone())
        self.register_buffer("teacher_infrared", self.infrared.weight.detach().clone())

    @torch.no_grad()
    def update_teachers(self) -> None:
        """Move the teachers by ``tau`` towards the classifiers."""
        self.teacher_visible.lerp_(self.visible.weight, self.tau)
        self.teacher_infrared.lerp_(self.infrared.weight, self.tau)

    def logits(self, features: Tensor, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Own logits (N, C), and those of the other modality's teacher, without gradient."""
        own = by_modality(features, modality, self.visible.weight, self.infrared.weight)
        with torch.no_grad():
            return own, by_modality(features, modality, self.teacher_infrared, self.teacher_visible)

    def forward(self, *read: Tensor) -> Tensor:
        """The loss of the features, (N, in_channels) each, with ``label`` and ``modality`` (N,) behind them; fp32."""
        *features, label, modality = read
        if self.training:
            self.update_teachers()
        with full_precision(label):
            wide = torch.promote_types(features[0].dtype, torch.float32)
            pairs = [self.logits(f.to(wide), modality) for f in features]
            return sum(
                (teacher_distillation(own, other, label, modality, self.ce_weight) for own, other in pairs),
                start=torch.zeros((), dtype=wide, device=label.device),
            )
