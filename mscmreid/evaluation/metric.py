"""The metric that an MMEngine Runner calls: it collects features and hands them to :func:`evaluate`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mscmreid.evaluation.evaluate import evaluate
from mscmreid.evaluation.features import FeatureTable
from mscmreid.evaluation.protocols import PROTOCOLS, Protocol, trial_numbers
from mscmreid.evaluation.ranking import DEFAULT_MEMORY
from mscmreid.evaluation.results import MEASURES, Result, save_results
from mscmreid.evaluation.table import terminal_table
from mscmreid.registry import METRICS, TASK_UTILS

METADATA = ("img_path", "pid", "cam_id", "modality", "sample_idx")
# of the data set's metainfo, kept with the features
META_KEYS = ("dataset_name", "split", "data_root", "resize", "intake")

# The protocols are plain classes, of use without MMEngine; configs name them.
for _protocol in PROTOCOLS.values():
    TASK_UTILS.register_module(module=_protocol)


@METRICS.register_module()
class VIReIDMetric(BaseMetric):
    """CMC, mAP and mINP of every protocol over the features of one pass.

    Metric keys (behind ``prefix/``): ``R1, R5, R10, R20, mAP, mINP`` of the first protocol and the first feature, and
    ``{protocol tag}/{feature}/{measure}`` of every row, e.g. ``all/feat_bn/mAP``; re-ranked rows have
    ``{feature}_reranked``. So ``save_best='reid/mAP'`` works.

    Args:
        protocols: configs of registered protocols (or protocol objects).
        features: feature options, see :meth:`FeatureTable.matrix`; a protocol's own extra features come beside them.
        flip: add the features of mirrored images; None means: if the model gives them.
        rerank: a re-ranked row behind every plain one.
        trials: overrides the protocols' trials where they draw galleries: ``[0]`` in validation, where
            :meth:`rows_needed` then needs the queries and one gallery only.
        out_features: .npz to keep the features in.
        out_json: file for the results, with intervals and those of each pair of cameras; per-query values beside it.
        memory_bytes: most memory for ranking beyond the features.
        collect_device, prefix: as in MMEngine's BaseMetric.

    Attributes:
        last_results: the rows of the last evaluation's table.
        last_table: the features of the last evaluation.
        base: features of all rows that are needed, for a pass over some of them: a row that it does not bring is taken
            from here (by path). Nothing is printed then.
        meta: entries for the results beyond ``dataset_meta``: checkpoint, checkpoint_sha256, config_hash, versions.
    """

    default_prefix = "reid"

    def __init__(
        self,
        protocols: Sequence[dict | Protocol],
        features: Sequence[str] = ("feat_bn", "feat_pool"),
        flip: bool | None = None,
        rerank: bool = False,
        trials: int | Sequence[int] | None = None,
        out_features: str | None = None,
        out_json: str | None = None,
        memory_bytes: int = DEFAULT_MEMORY,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not protocols or not features:
            raise ValueError(
                "VIReIDMetric needs at least one protocol and one feature, found "
                f"protocols={list(protocols)} and features={list(features)}"
            )
        self.protocols = [build_protocol(protocol, trials) for protocol in protocols]
        tags = [protocol.tag for protocol in self.protocols]
        if len(set(tags)) < len(tags):
            raise ValueError(f"every protocol must be of another kind, found {tags}")
        self.features, self.flip, self.rerank = tuple(features), flip, rerank
        self.out_features, self.out_json, self.memory_bytes = out_features, out_json, memory_bytes
        self.meta: dict[str, Any] = {}
        self.last_results: list[Result] = []
        self.last_table: FeatureTable | None = None
        self.base: FeatureTable | None = None
        self._columns: Mapping[str, Any] | None = None

    def measure_names(self) -> list[str]:
        """Every key that :meth:`evaluate` may give, before anything is evaluated."""
        names = list(MEASURES)
        for protocol in self.protocols:
            for feature in dict.fromkeys((*self.features, *protocol.extra_features)):
                for kind in (feature, f"{feature}_reranked") if self.rerank else (feature,):
                    names += [f"{protocol.tag}/{kind}/{measure}" for measure in MEASURES]
        return [f"{self.prefix}/{name}" for name in names]

    def rows_needed(self, columns: Mapping[str, Any]) -> np.ndarray:
        """Rows of the data set that the protocols need, ascending.

        The columns are remembered: the run may go over these rows only, and galleries are still drawn from all.

        Args:
            columns: ``dict(path, pid, cam_id, modality)`` of all rows, paths relative to the data root.
        """
        data_root = (self.dataset_meta or {}).get("data_root")
        needed = [protocol.rows_needed(columns, data_root) for protocol in self.protocols]
        self._columns = columns
        return np.unique(np.concatenate(needed))

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the metadata and features of a batch.

        Args:
            data_batch: not used.
            data_samples: dicts (``BaseDataElement.to_dict()``) with ``img_path, pid, cam_id, modality, sample_idx`` and
                features as (D,) tensors, such as ``feat_bn``, and of the mirrored image ``feat_bn_flip``.
        """
        for sample in data_samples:
            missing = [name for name in METADATA if name not in sample]
            names = [name for name, v in sample.items() if isinstance(v, Tensor) and v.ndim == 1]
            if missing or not names:
                raise ValueError(
                    f"a data sample must have {', '.join(METADATA)} and a feature (D,) at least; {sample} lacks "
                    f"{', '.join(missing) or 'features'}"
                )
            row = {**{name: sample[name] for name in METADATA}, "role": sample.get("role", "")}
            for name in names:
                row[name] = sample[name].detach().float().cpu().numpy()
            self.results.append(row)

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the rows of all processes and evaluate on the main one.

        Args:
            size: rows of the data set that the run went over.

        Returns:
            Metric key -> value, the same in every process.
        """
        parts = all_gather_object(_columns_of(self.results))
        self.results.clear()
        outcome: list[Any] = [None]
        failure: Exception | None = None
        if is_main_process():
            try:
                metrics = self._report(self._table([part for part in parts if part], size))
                outcome = [{f"{self.prefix}/{name}": value for name, value in metrics.items()}]
            except Exception as error:  # the other processes wait for the broadcast and must hear of it
                failure = error
                outcome = [f"evaluation failed in the main process: {error}"]
        broadcast_object_list(outcome)
        if failure is not None:
            raise failure
        if isinstance(outcome[0], str):
            raise RuntimeError(outcome[0])
        return outcome[0]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Metrics of rows as :meth:`process` keeps them (the path that MMEngine's base class takes)."""
        return self._report(self._table([_columns_of(results)], len(results)))

    def _table(self, parts: Sequence[dict[str, np.ndarray]], size: int) -> FeatureTable:
        """One row for each sample: samplers of several processes repeat some to fill up."""
        if not parts:
            raise ValueError("no features were collected: the data loader gave no batch")
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        index, first = np.unique(columns.pop("sample_idx"), return_index=True)
        if len(index) != size:
            lacking = np.setdiff1d(np.arange(size), index)[:3].tolist()
            raise ValueError(
                f"features of {len(index)} images were collected, the data set has {size}"
                + (f"; sample_idx {lacking} ... missing" if lacking else "")
            )
        columns = {name: column[first] for name, column in columns.items()}
        meta = {key: value for key, value in (self.dataset_meta or {}).items() if key in META_KEYS}
        root = meta.get("data_root")
        paths = [_relative(path, root) for path in columns.pop("img_path").tolist()]
        plain = {name: columns.pop(name) for name in ("pid", "cam_id", "modality")}
        role = columns.pop("role")
        meta = {**meta, "protocols": [protocol.to_config() for protocol in self.protocols], **self.meta}
        table = FeatureTable(paths, **plain, features=columns, meta=meta, role=role if (role != "").any() else None)
        table.check_varied()
        return table

    def _report(self, table: FeatureTable) -> dict[str, float]:
        if self.base is not None:
            table = _replaced(self.base, table)
        evaluations = evaluate(
            table,
            self.protocols,
            self.features,
            flip=self.flip,
            rerank=self.rerank,
            memory_bytes=self.memory_bytes,
            columns=self._columns,
            with_cameras=bool(self.out_json),
            with_intervals=bool(self.out_json),
        )
        self.last_table = table
        self.last_results = [evaluation.result for evaluation in evaluations]
        if self.base is None:
            print_log("\n" + terminal_table(self.last_results), logger="current")
        if self.out_features:
            table.save(self.out_features)
        if self.out_json:
            per_query = [evaluation.per_query(table) for evaluation in evaluations]
            save_results(self.last_results, self.out_json, per_query)
        metrics = dict(self.last_results[0].mean)
        for evaluation in evaluations:
            result = evaluation.result
            feature = result.feature + ("_reranked" if result.rerank else "")
            metrics.update({f"{evaluation.protocol.tag}/{feature}/{k}": v for k, v in result.mean.items()})
        return metrics


def _replaced(base: FeatureTable, table: FeatureTable) -> FeatureTable:
    """``base`` with the features of the rows that ``table`` has; meta of ``table``."""
    row_of = {path: row for row, path in enumerate(base.path)}
    rows = [row_of[path] for path in table.path]
    features = {name: array.copy() for name, array in base.features.items()}
    for name, array in features.items():
        array[rows] = table.features[name]
    return FeatureTable(base.path, base.pid, base.cam_id, base.modality, features, table.meta, base.role)


def build_protocol(protocol: dict | Protocol, trials: int | Sequence[int] | None = None) -> Protocol:
    """A protocol from its config; ``trials`` overrides its own if it draws galleries."""
    built = TASK_UTILS.build(protocol) if isinstance(protocol, Mapping) else protocol
    if not isinstance(built, Protocol):
        raise ValueError(f"expected an evaluation protocol, found {type(built).__name__} from {protocol}")
    if trials is None or not built.draws:
        return built
    changed = copy.copy(built)
    changed.trials = trial_numbers(trials)
    return changed


def _columns_of(rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Rows as one array a column; empty if there are none."""
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]} if rows else {}


def _relative(path: str, root: str | None) -> str:
    """``path`` below ``root``, with forward slashes; as it is elsewhere."""
    if root is None or not os.path.isabs(path):
        return path
    relative = os.path.relpath(path, root)
    return path if relative.startswith("..") else relative.replace(os.sep, "/")
