"""What must fit together before a run may start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from torch import nn

from mscmreid.evaluation.features import feature_parts
from mscmreid.near_names import did_you_mean
from mscmreid.registry import DATASETS


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


def check_people(trained_on: Mapping[str, Any] | None, tested_on: Mapping[str, Any] | None, source: str | Path) -> None:
    """Nobody may be among those that were trained on and those that are tested on, unless the tested data allows it.

    Args:
        trained_on, tested_on: ``metainfo`` of the two data sets, with ``people`` (data set -> pids) as far as known.
        source: the checkpoint, for the message.

    Raises:
        ValueError: somebody is; says who.
    """
    trained_on, tested_on = trained_on or {}, tested_on or {}
    if tested_on.get("allow_shared_people"):
        return
    trained = trained_on.get("people")
    for name, people in (tested_on.get("people") or {}).items():
        known = trained.get(name) if isinstance(trained, Mapping) else None
        shared = sorted({*people} & {*known}) if isinstance(known, list) else []
        if shared:
            shown = ", ".join(map(str, shared[:5])) + (", ..." if len(shared) > 5 else "")
            raise ValueError(
                f"{len(shared)} of the {len(people)} people of {name} that are tested on are among those that {source} "
                f"is trained on (pids {shown}): the numbers would say nothing of new people. Choose other splits, or, "
                "if that is meant, set allow_shared_people=True in the data set of val_dataloader and test_dataloader"
            )


def check_measures(hooks: Iterable[Hook], evaluator: Evaluator) -> None:
    """What hooks watch (``save_best``, ``monitor``) must be measured in validation.

    Args:
        hooks: of the run.
        evaluator: of its validation. Metrics that do not say their names beforehand (``measure_names()``) may measure
            anything.

    Raises:
        ValueError: a measure that no metric gives.
    """
    named = [metric.measure_names() for metric in evaluator.metrics if hasattr(metric, "measure_names")]
    if len(named) < len(evaluator.metrics):
        return
    names = [name for part in named for name in part]
    for hook in hooks:
        for option in ("save_best", "monitor"):
            value = getattr(hook, option, None)
            for wanted in value if isinstance(value, list) else [value]:
                if isinstance(wanted, str) and wanted != "auto" and wanted not in names:
                    raise ValueError(
                        f"{option} of {type(hook).__name__} is {wanted!r}, which the validation does not measure"
                        f"{did_you_mean(wanted, names)} (measured: {', '.join(names)})"
                    )


def check_features(model: nn.Module, evaluator: Evaluator, place: str) -> None:
    """What a test ranks by must be among what the model gives.

    Args:
        model: one that does not say what its features are (``model.inference``) may give anything.
        evaluator: with metrics that name features, or options made of them ('sum', 'blend=A').
        place: of the evaluator in the config.

    Raises:
        ValueError: a feature that the model does not give, an option that is none.
    """
    given = getattr(getattr(model, "inference", None), "features", None) or ()
    for metric in evaluator.metrics if given else ():
        for option in getattr(metric, "features", None) or ():
            for name, _ in feature_parts(option):
                if name not in given:
                    raise ValueError(
                        f"{place}.features: the model gives {' and '.join(given)} (model.inference.features), found "
                        f"{option!r}{did_you_mean(option, given)}"
                    )


def check_test(test: Mapping[str, Any] | None, evaluator: Evaluator, validated: Any, columns: Any) -> None:
    """What the test of a config will need must be there when its training starts.

    Args:
        test: the data set's config of the test.
        evaluator: of the test, built for this: its protocols must be able to choose their rows.
        validated: the data set's config of the validation, of which ``columns`` are the rows.
        columns: of all rows, see ``rows()`` of a data set.

    Raises:
        FileNotFoundError, ValueError: the test's folder is missing, or its protocols do not fit the data.
    """
    if test != validated:
        if isinstance(test, Mapping):
            try:
                DATASETS.build({**test, "lazy_init": True})
            except FileNotFoundError as error:
                raise FileNotFoundError(
                    f"test_dataloader.dataset: {error}. (To train without ever testing here: --cfg-options "
                    "test_dataloader=None test_cfg=None test_evaluator=None)"
                ) from error
        return
    for metric in evaluator.metrics:
        if hasattr(metric, "rows_needed"):
            try:
                metric.rows_needed(columns)
            except (ValueError, OSError, ImportError) as error:
                raise ValueError(f"test_evaluator: {error}") from error
