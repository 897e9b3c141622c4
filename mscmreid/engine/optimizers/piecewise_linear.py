"""A learning rate that changes with every batch along straight lines, as DNS's does (Jiang et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mscmreid.registry import PARAM_SCHEDULERS

BATCH_RULES = ("published", "clean")


@PARAM_SCHEDULERS.register_module()
class PiecewiseLinearLR(_ParamScheduler):
    """Straight lines between ``points`` (epoch, factor of the learning rate), a step every batch.

    With L(e) on those lines, an epoch of M batches uses

    - ``batch_rule='clean'``: L(e + b / M) at its batch b;
    - ``batch_rule='published'`` (DNS): with n = M - 1 and v_k = L(e) + (k / n) (L(e + 1) - L(e)), batch b >= 1 uses
      v_{b-1}, and **batch 0 uses v_{n-1}**, the rate of the epoch's end: the released code reads its list at -1 there.
      It shaped the published results.

    In a config: ``by_epoch=True, convert_to_iter_based=True`` (it is then told the batches of an epoch).

    Args:
        optimizer: whose learning rates change.
        points: epochs in ascending order from 0, factors not negative; the last epoch may be None: the run's end.
            Behind the last point its factor stays.
        epoch_length: M.
        end: epochs of the run; needed where ``points`` ask for it (MMEngine's runner says it).
        batch_rule: see above.
        last_step: -1 for a new run.
    """

    def __init__(
        self,
        optimizer,
        points: Sequence[tuple[float | None, float]],
        epoch_length: int,
        end: float | None = None,
        batch_rule: str = "published",
        last_step: int = -1,
    ) -> None:
        epochs = [float(end or 0 if epoch is None else epoch) for epoch, _ in points]
        ascend = epochs == sorted(set(epochs)) and epochs[0] == 0
        if len(points) < 2 or not ascend or min(f for _, f in points) < 0:
            raise ValueError(
                "PiecewiseLinearLR expects two or more points (epoch, factor), epochs ascending from 0 and factors not "
                f"negative, found {list(points)} for a run of {end} epochs"
            )
        if batch_rule not in BATCH_RULES:
            raise ValueError(f"batch_rule must be one of {BATCH_RULES}, found {batch_rule!r}")
        if epoch_length < (3 if batch_rule == "published" else 1):
            raise ValueError(
                f"an epoch has {epoch_length} batches: the published rule needs 3 or more, batch_rule='clean' one"
            )
        self.points = [(epoch, float(factor)) for epoch, (_, factor) in zip(epochs, points, strict=True)]
        self.epoch_length, self.batch_rule = epoch_length, batch_rule
        super().__init__(optimizer, "lr", by_epoch=False, last_step=last_step)

    @classmethod
    def build_iter_from_epoch(cls, optimizer, by_epoch: bool = True, **kwargs):
        """As MMEngine's runner builds a scheduler with ``convert_to_iter_based``."""
        return cls(optimizer, **kwargs)

    def line(self, epoch: float) -> float:
        """L: the factor at a (broken) epoch."""
        for (e0, f0), (e1, f1) in zip(self.points, self.points[1:], strict=False):
            if epoch <= e1:
                return f0 + (epoch - e0) / (e1 - e0) * (f1 - f0)
        return self.points[-1][1]

    def factor(self, iteration: int) -> float:
        """Of the learning rate in an iteration, counted from 0 over all epochs."""
        epoch, batch = divmod(iteration, self.epoch_length)
        if self.batch_rule == "clean":
            return self.line(epoch + batch / self.epoch_length)
        n = self.epoch_length - 1
        k = batch - 1 if batch else n - 1
        start, end = self.line(epoch), self.line(epoch + 1)
        return start + k / n * (end - start)

    def _get_value(self) -> list[float]:
        return [value * self.factor(self.last_step) for value in self.base_values]
