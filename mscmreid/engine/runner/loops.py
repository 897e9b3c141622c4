"""Validation and test loops that extract only the rows a metric asks for, in the precision the config says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop, ValLoop
from torch import nn
from torch.utils.data import DataLoader

from mscmreid.engine.bare_model import bare_model
from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS, PRECISIONS, usable_precision
from mscmreid.evaluation.closeness import bfloat16_warning
from mscmreid.models.folding import inference_copy
from mscmreid.models.precision import inference_precision
from mscmreid.registry import DATASETS, LOOPS


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
    runner: Runner,
    dataloader: DataLoader | dict,
    evaluator: Evaluator | dict | list,
    check: Callable[[dict[str, Any], dict], None] | None = None,
) -> tuple[DataLoader | dict, Evaluator]:
    """The data loader's config with its data set built and restricted to what the evaluator needs, and the evaluator.

    Args:
        runner, dataloader, evaluator: as a loop gets them.
        check: gets the columns of all rows and the data set's metainfo.

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
        total, columns = len(dataset), dataset.rows()
        indices = rows_needed(evaluator, columns)
        if check is not None:
            check(columns, dataset.metainfo)
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
    precisions: Mapping[str, torch.dtype] = PRECISIONS

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        precision: str = "float32",
    ) -> None:
        check = runner.check_test if self.mode == "val" and hasattr(runner, "check_test") else None
        dataloader, evaluator = build_restricted(runner, dataloader, evaluator, check)
        super().__init__(runner, dataloader, evaluator)  # type: ignore[call-arg]
        self.device_type = next(runner.model.parameters()).device.type
        self.precision = usable_precision(precision, self.device_type, self.precisions)
        model = bare_model(runner.model)
        if hasattr(model, "inference"):  # part of every result
            for metric in self.evaluator.metrics:  # type: ignore[attr-defined]
                metric.meta = {**getattr(metric, "meta", {}), "inference": model.inference.to_dict()}

    def inference_model(self) -> nn.Module:
        """What extracts the features."""
        return self.runner.model  # type: ignore[attr-defined]

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Features of one batch, handed to the metrics."""
        runner, mode = self.runner, self.mode  # type: ignore[attr-defined]
        runner.call_hook(f"before_{mode}_iter", batch_idx=idx, data_batch=data_batch)
        dtype = self.precisions[self.precision]
        with inference_precision(self.device_type, dtype, tf32=self.precision == "tf32"):
            outputs = getattr(self.inference_model(), f"{mode}_step")(data_batch)
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
    """Test: every protocol and trial of the metric over one extraction.

    Args:
        runner, dataloader, evaluator: see :class:`ReIDValLoop`.
        precision: as there; or 'mixed': bfloat16, but float32 where its rounding shows
            (:mod:`mscmreid.models.mixed`); or 'tf32': float32 with an NVIDIA GPU's shorter products. After a test in
            bfloat16 the log says if the features lie too close together for it.
        fold_batch_norms: extract with a copy of the model whose batch norms are folded into its convolutions; features
            differ from the unfolded model's by rounding.

    Raises:
        ValueError: an unknown precision; 'mixed' without ``fold_batch_norms``.
    """

    mode = "test"
    precisions = EXTRACTION_PRECISIONS

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        precision: str = "float32",
        fold_batch_norms: bool = True,
    ) -> None:
        if precision == "mixed" and not fold_batch_norms:
            raise ValueError("precision 'mixed' is that of the folded copy: it needs fold_batch_norms=True")
        super().__init__(runner, dataloader, evaluator, precision)
        self.fold_batch_norms = fold_batch_norms
        self._copy: nn.Module | None = None

    def run(self) -> dict:
        """Extract and evaluate; MMEngine's, from the weights as they are now."""
        self._copy = None
        metrics = super().run()
        self._copy = None
        if self.precision == "bfloat16":
            self._warn_of_close_features()
        return metrics

    def _warn_of_close_features(self) -> None:
        for metric in self.evaluator.metrics:
            table = getattr(metric, "last_table", None)  # None where another process evaluates
            for name, rows in (table.features if table is not None else {}).items():
                if warning := bfloat16_warning(name, rows):
                    self.runner.logger.warning(warning)

    def inference_model(self) -> nn.Module:
        """A folded copy that holds its weights in the loop's precision, made at the first batch: hooks may change the
        weights just before."""
        if not self.fold_batch_norms:
            return super().inference_model()
        if self._copy is None:
            bare = bare_model(self.runner.model)
            self._copy = inference_copy(bare, dtype=self.precisions[self.precision], mixed=self.precision == "mixed")
        return self._copy
