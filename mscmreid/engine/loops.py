"""Validation and test loops that extract only the rows a metric asks for, in the precision the config says."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from mscmreid.registry import DATASETS, LOOPS

from .optim_wrapper import PRECISIONS, usable_precision


def rows_needed(evaluator: Evaluator, columns: dict[str, Any]) -> np.ndarray | None:
    """Indices of the rows that the evaluator's metrics need, sorted; None if one of them needs all.

    Args:
        evaluator: its metrics may have ``rows_needed(columns) -> indices``.
        columns: what a data set's ``rows()`` returns.
    """
    needed: list[np.ndarray] = []
    for metric in evaluator.metrics:
        # kept features are for protocols to come, so all of them are kept
        if not hasattr(metric, "rows_needed") or getattr(metric, "out_features", None):
            return None
        rows = metric.rows_needed(columns)
        if rows is None:
            return None
        needed.append(np.asarray(rows, dtype=np.int64))
    return np.unique(np.concatenate(needed)) if needed else None


def build_restricted(
    runner: Runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list
) -> tuple[DataLoader | dict, Evaluator]:
    """The data loader's config with its data set built and restricted to what the evaluator needs, and the evaluator.

    Raises:
        ValueError: the metrics need no row at all.
    """
    if not isinstance(evaluator, Evaluator):
        evaluator = runner.build_evaluator(evaluator)
    if isinstance(dataloader, DataLoader):
        return dataloader, evaluator
    dataset = dataloader["dataset"]
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
        dataset.full_init()
    evaluator.dataset_meta = dataset.metainfo
    if hasattr(dataset, "rows"):
        total = len(dataset)
        indices = rows_needed(evaluator, dataset.rows())
        if indices is not None and len(indices) == 0:
            raise ValueError(
                f"the metrics need none of the {total} images of {dataset.metainfo}: check their protocols"
            )
        if indices is not None and len(indices) < total:
            dataset.get_subset_([int(i) for i in indices])
            runner.logger.info(f"extracting {len(indices):,} of {total:,} images: the ones its protocols use")
    return dict(dataloader, dataset=dataset), evaluator


class _ExtractionLoop:
    """What validation and test share."""

    mode: str

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        precision: str = "float32",
    ) -> None:
        dataloader, evaluator = build_restricted(runner, dataloader, evaluator)
        super().__init__(runner, dataloader, evaluator)  # type: ignore[call-arg]
        self.device_type = next(runner.model.parameters()).device.type
        self.precision = usable_precision(precision, self.device_type)

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Features of one batch, handed to the metrics."""
        runner, mode = self.runner, self.mode  # type: ignore[attr-defined]
        runner.call_hook(f"before_{mode}_iter", batch_idx=idx, data_batch=data_batch)
        dtype = PRECISIONS[self.precision]
        with torch.autocast(self.device_type, dtype=dtype, enabled=dtype is not torch.float32):
            outputs = getattr(runner.model, f"{mode}_step")(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)  # type: ignore[attr-defined]
        runner.call_hook(f"after_{mode}_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)


@LOOPS.register_module()
class ReIDValLoop(_ExtractionLoop, ValLoop):
    """Validation: extracts the rows that the metric's protocols use (such as the queries and one gallery draw).

    Args:
        runner, dataloader, evaluator: given by the Runner.
        precision: 'float32', 'bfloat16' or 'float16' of the forward pass; features are float32.
    """

    mode = "val"


@LOOPS.register_module()
class ReIDTestLoop(_ExtractionLoop, TestLoop):
    """Test: every protocol and trial of the metric over one extraction. Arguments as in :class:`ReIDValLoop`."""

    mode = "test"
