"""What must fit together before a run may start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn


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
