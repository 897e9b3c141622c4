"""What a trained number stands on: chance, raw pixels and an untrained network under the very same protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mscmreid.apis.inference import init_model
from mscmreid.evaluation import FeatureTable, Protocol, Selection, evaluate
from mscmreid.retrieval.extract import extract_table
from mscmreid.synthetic.baselines import COMPARISONS, pixel_rows, unit_rows
from mscmreid.visualization.nearest import ignored_rows


@dataclass(frozen=True)
class Comparison:
    """Rank-1 in percent of one way to compare images, one value a trial."""

    name: str
    rank1: list[float]


def comparison_table(title: str, comparisons: Sequence[Comparison]) -> str:
    """The title, and a line a comparison: name, mean over the trials, standard deviation."""
    width = max(len(comparison.name) for comparison in comparisons)
    lines = [title]
    for comparison in comparisons:
        values = comparison.rank1
        spread = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        lines.append(f"  {comparison.name:<{width}} {np.mean(values):6.2f}{spread}")
    return "\n".join(lines)


def chance_comparison(table: FeatureTable, protocol: Protocol, data_root: str | Path | None = None) -> Comparison:
    """Expected Rank-1 of a random order, over the queries that have a match."""
    selections = protocol.selections(table.columns, data_root)
    return Comparison("chance", [_chance_rank1(table, selection) for selection in selections])


def pixel_comparisons(
    table: FeatureTable, protocol: Protocol, data_root: str | Path, size: tuple[int, int] = (96, 48)
) -> Iterator[Comparison]:
    """The cosine of raw pixels, gray and in colour, with each image's or its modality's mean taken off.

    Args:
        table: the rows; its paths are relative to ``data_root``. Only images that the protocol uses are read.
        protocol: whose galleries, rule and trials.
        data_root: folder of the data set.
        size: (height, width) that images are resized to before they are compared.
    """
    rows = protocol.rows_needed(table.columns, data_root)
    paths = [table.path[row] for row in rows]
    for colour in (False, True):  # one of the two at a time in memory
        pixels = pixel_rows(Path(data_root), paths, size, colour)
        for name, in_colour, centre in COMPARISONS:
            if in_colour == colour:
                compared = np.empty_like(pixels)
                for modality in np.unique(table.modality[rows]):
                    own = table.modality[rows] == modality
                    compared[own] = unit_rows(pixels[own], centre)
                yield _compare(name, compared, table, rows, protocol)


def untrained_comparison(
    config: str | Path | Config,
    table: FeatureTable,
    protocol: Protocol,
    data_root: str | Path,
    feature: str = "feat_bn",
    seed: int = 0,
) -> Comparison:
    """The network of a config as it is initialised, without training.

    Args:
        config: file or config.
        table, protocol, data_root: as in :func:`pixel_comparisons`.
        feature: feature option of :meth:`FeatureTable.matrix`.
        seed: of the initial weights; the caller's random state is left alone.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = init_model(config)
        with _quiet():  # MMEngine reports every single weight
            model.init_weights()  # type: ignore[operator]
    rows = protocol.rows_needed(table.columns, data_root)
    features = extract_table(model, _columns_at(table, rows), data_root).matrix(feature)
    return _compare(f"untrained network, {feature}", features, table, rows, protocol)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _columns_at(table: FeatureTable, rows: np.ndarray) -> dict[str, Any]:
    return dict(
        path=[table.path[row] for row in rows],
        pid=table.pid[rows],
        cam_id=table.cam_id[rows],
        modality=table.modality[rows],
    )


def _compare(name: str, features: np.ndarray, table: FeatureTable, rows: np.ndarray, protocol: Protocol) -> Comparison:
    """Rank-1 of features of some rows of the table; galleries are drawn over all of them."""
    part = FeatureTable(**_columns_at(table, rows), features={name: features}, meta=table.meta)
    evaluation = evaluate(part, [protocol], [name], flip=False, columns=table.columns)[0]
    return Comparison(name, evaluation.result.values["R1"])


def _chance_rank1(table: FeatureTable, selection: Selection) -> float:
    shares = []
    for query in selection.query:
        visible = selection.gallery[~ignored_rows(table, selection, int(query))]
        matches = int((table.pid[visible] == table.pid[query]).sum())
        if matches:
            shares.append(100 * matches / len(visible))
    return float(np.mean(shares))
