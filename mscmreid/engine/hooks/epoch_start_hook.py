"""What is worked out from the training set's features at the start of an epoch, such as pseudo labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mscmreid.engine.bare_model import bare_model
from mscmreid.models.folding import inference_copy
from mscmreid.structures import MODALITIES


class EpochStartHook(Hook):
    """Base of hooks that extract the features of all training images before an epoch, and may label them anew.

    A subclass implements :meth:`relabel`, or :meth:`start_epoch`, or both. Nothing is kept in checkpoints: every epoch
    works it out from the weights, so a resumed run finds the same (chance must come from (``runner.seed``,
    ``runner.epoch``), or from the global generators, which are seeded just before).

    Relabelling: class counts (``dataset.metainfo['num_classes']``), the batch sampler (``read_rows``) and the
    preprocessor (``set_labels``) follow. Give the sampler ``num_batches``, as MMEngine counts a run's iterations once.

    Args:
        features: names of the features that are extracted, as prediction gives them.
    """

    priority = "LOWEST"  # after the last epoch's checkpoint is written and the generators are seeded

    def __init__(self, features: Sequence[str] = ("feat_bn",)) -> None:
        self.features = tuple(features)

    def relabel(self, runner: Runner, features: Mapping[str, np.ndarray], rows: Mapping[str, Any]) -> np.ndarray | None:
        """New labels of the rows, (N,) integers from 0, -1 for rows left out of this epoch; None: as they were.

        Runs in the main process, whose labels all processes get. Labels of the two modalities need not have to do with
        each other, where the batch sampler and the losses know that.

        Args:
            runner: ``runner.epoch`` is the epoch that begins, from 0.
            features: name -> (N, D) float32 of all rows.
            rows: the data set's ``rows()``.
        """
        return None

    def start_epoch(self, runner: Runner, features: Mapping[str, np.ndarray], rows: Mapping[str, Any]) -> None:
        """What else is to be done, in every process, such as filling a memory bank; ``rows['label']`` are the new."""

    def before_train_epoch(self, runner: Runner) -> None:
        """Extract, relabel, start."""
        dataset = runner.train_dataloader.dataset
        features = self.extract(runner)
        labels = [self.relabel(runner, features, dataset.rows()) if is_main_process() else None]
        broadcast_object_list(labels)
        if labels[0] is not None:
            dataset.relabel(labels[0])
            runner.train_dataloader.batch_sampler.read_rows(dataset.rows())
            bare_model(runner.model).data_preprocessor.set_labels(torch.as_tensor(labels[0]))
            counts = [len(set(labels[0][(dataset.rows()["modality"] == m) & (labels[0] >= 0)])) for m in MODALITIES]
            runner.logger.info(
                f"epoch {runner.epoch + 1}: {counts[0]} visible and {counts[1]} infrared classes, "
                f"{int((labels[0] < 0).sum()):,} of {len(labels[0]):,} images left out"
            )
        self.start_epoch(runner, features, dataset.rows())

    @torch.no_grad()
    def extract(self, runner: Runner) -> dict[str, np.ndarray]:
        """Features (N, D) float32 of the un-augmented training images in the order of the data set's rows, the same in
        all processes; batch size and workers are those of ``val_dataloader``."""
        dataset = runner.train_dataloader.dataset
        options = {k: v for k, v in (runner.cfg.get("val_dataloader") or {}).items() if k != "batch_sampler"}
        defaults = dict(batch_size=64, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
        loader = runner.build_dataloader({**defaults, **options, "dataset": dataset})
        model: Any = inference_copy(bare_model(runner.model))
        index: list[int] = []
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.features}
        for batch in loader:
            for sample in model.test_step(batch):
                index.append(sample.sample_idx)
                for name, parts in found.items():
                    if name not in sample:
                        raise ValueError(
                            f"{type(self).__name__} wants the feature {name!r}, prediction gives "
                            f"{sorted(sample.keys())}"
                        )
                    parts.append(sample.get(name).float().cpu().numpy())
        mine = (np.array(index), {name: np.stack(parts) for name, parts in found.items()})
        features = {name: np.empty((len(dataset), parts[0].shape[0]), np.float32) for name, parts in found.items()}
        for rows, arrays in all_gather_object(mine):  # rows that fill up the last batches come twice
            for name, array in arrays.items():
                features[name][rows] = array
        return features
