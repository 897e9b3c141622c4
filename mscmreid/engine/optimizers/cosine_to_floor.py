"""PMT's learning rate: warm-up and cosine between the same absolute rate for every group, a step every epoch."""

from __future__ import annotations

import math

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mscmreid.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class CosineToFloorLR(_ParamScheduler):
    """With the base rate b of a group, the floor m and epochs e = 1 ... E: m + (b - m) e / w for e < w, and behind the
    warm-up m + (b - m) (1 + cos(pi e / E)) / 2. The floor is the same for all groups, the last epoch is trained at it,
    and the cosine does not start behind the warm-up, so b itself is never reached (Lu et al., PMT, AAAI 2023, release).

    Args:
        optimizer: whose learning rates change.
        floor: m.
        warmup: w, in epochs.
        end: E; MMEngine's runner fills in the epochs of the run.
        by_epoch: True, nothing else is known.
        last_step: -1 for a new run.
    """

    def __init__(
        self, optimizer, end: int, floor: float = 3e-6, warmup: int = 3, by_epoch: bool = True, last_step: int = -1
    ) -> None:
        if not by_epoch or not 0 <= warmup <= end or floor < 0:
            raise ValueError(
                "CosineToFloorLR expects by_epoch=True, warmup from 0 to the epochs of the run and a floor that is not "
                f"negative, found by_epoch={by_epoch}, warmup={warmup}, end={end}, floor={floor}"
            )
        self.floor, self.warmup, self.num_epochs = floor, warmup, end
        super().__init__(optimizer, "lr", end=end, by_epoch=True, last_step=last_step)

    def _get_value(self) -> list[float]:
        epoch = self.last_step + 1
        if epoch < self.warmup:
            share = epoch / self.warmup
        else:
            share = (1 + math.cos(math.pi * epoch / self.num_epochs)) / 2
        return [self.floor + (base - self.floor) * share for base in self.base_values]
