"""What must fit together before a run may start."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn


def local_batch_size(batch_size: int, world_size: int, num_ids: int | None, num_instances: int | None) -> int:
    """One process's share of the global batch.

    Args:
        batch_size: images of the global batch, both modalities: 2 x ``num_ids`` x ``num_instances``.
        world_size: number of processes.
        num_ids, num_instances: P and K of the sampler, None where it has none.

    Raises:
        ValueError: the three do not fit, or the batch cannot be split evenly.
    """
    if num_ids is not None and num_instances is not None:
        expected = 2 * num_ids * num_instances
        if batch_size != expected:
            raise ValueError(
                f"train_dataloader.batch_size must be 2 x num_ids x num_instances = 2 x {num_ids} x {num_instances} = "
                f"{expected}, found {batch_size}; it is the global batch, whatever the number of processes"
            )
        if (num_ids * num_instances) % world_size:
            raise ValueError(
                f"{num_ids} x {num_instances} = {num_ids * num_instances} images a modality cannot be split evenly "
                f"over {world_size} processes"
            )
    if batch_size % world_size:
        raise ValueError(f"a global batch of {batch_size} images cannot be split evenly over {world_size} processes")
    return batch_size // world_size


def local_dataloader(dataloader: dict, world_size: int) -> dict:
    """The training data loader's config with this process's share as ``batch_size``."""
    dataloader = copy.copy(dataloader)
    sampler = dataloader.get("sampler")
    sampler = sampler if isinstance(sampler, dict) else {}
    dataloader["batch_size"] = local_batch_size(
        dataloader["batch_size"], world_size, sampler.get("num_ids"), sampler.get("num_instances")
    )
    return dataloader


def check_num_classes(model: nn.Module, dataset: Any) -> None:
    """The head must have as many classes as the training data has identities.

    Raises:
        ValueError: it has not.
    """
    expected = (getattr(dataset, "metainfo", None) or {}).get("num_classes")
    found = getattr(getattr(model, "head", None), "num_classes", None)
    if expected is not None and found is not None and expected != found:
        raise ValueError(
            f"model.head.num_classes must be the number of training identities: the data has {expected}, "
            f"the config says {found}. Set it with --cfg-options model.head.num_classes={expected}"
        )


def check_split(trained_on: Mapping[str, Any] | None, tested_on: Mapping[str, Any] | None, source: str | Path) -> None:
    """A data set with numbered splits (RegDB) must be tested, and training go on, on the split that was trained on.

    Args:
        trained_on, tested_on: ``metainfo`` of the two data sets, as far as known.
        source: the checkpoint, for the message.

    Raises:
        ValueError: same data set, other split: people it was trained on would be among those it is tested on.
    """
    trained_on, tested_on = trained_on or {}, tested_on or {}
    if trained_on.get("dataset_name") != tested_on.get("dataset_name"):
        return
    trained, tested = str(trained_on.get("split")), str(tested_on.get("split"))
    if trained.isdigit() and tested.isdigit() and trained != tested:
        raise ValueError(
            f"{source} was trained on split {trained} of {trained_on['dataset_name']}, the config says split "
            f"{tested}: people would be in training and in test. Go on with --cfg-options split_id={trained}"
        )
