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
from PIL import Image

from mscmreid.apis.inference import init_model
from mscmreid.evaluation import (
    FeatureTable,
    LLCMProtocol,
    Protocol,
    RegDBProtocol,
    Selection,
    SYSUProtocol,
    evaluate,
)
from mscmreid.gate import path_below
from mscmreid.intake import PUBLISHED, Intake
from mscmreid.retrieval.extract import extract_table
from mscmreid.synthetic import Plan
from mscmreid.tables import aligned_lines
from mscmreid.visualization.nearest import ignored_rows
from mscmreid.visualization.rankings import open_image

COMPARISONS = (
    ("gray pixels, cosine, image mean removed", False, "image"),
    ("gray pixels, cosine, modality mean removed", False, "modality"),
    ("colour pixels, cosine, image mean removed", True, "image"),
    ("colour pixels, cosine, modality mean removed", True, "modality"),
)
"""Ways to compare raw pixels: name, whether in colour, which mean is taken off (see :func:`unit_rows`)."""

FLAT = 1e-2  # length of a row of gray values 0..255 that is flat but for rounding


@dataclass(frozen=True)
class Comparison:
    """Rank-1 in percent of one way to compare images, one value a trial."""

    name: str
    rank1: list[float]


def comparison_table(title: str, comparisons: Sequence[Comparison]) -> str:
    """The title, and a line a comparison: name, mean over the trials, standard deviation."""
    rows = []
    for comparison in comparisons:
        values = comparison.rank1
        spread = f"± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
        rows.append([f"  {comparison.name}", f"{np.mean(values):.2f}", spread])
    return "\n".join([title, *aligned_lines(rows)])


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


def synthetic_comparisons(
    root: str | Path, plan: Plan, size: tuple[int, int] = (96, 48)
) -> tuple[str, list[Comparison]]:
    """Chance and raw pixels on the test split of the data set that ``plan`` wrote into ``root``, infrared to visible.

    Returns:
        (title, comparisons) for :func:`comparison_table`.
    """
    protocols: dict[str, Protocol] = dict(
        sysu=SYSUProtocol(), llcm=LLCMProtocol("infrared-to-visible"), regdb=RegDBProtocol("infrared-to-visible")
    )
    protocol, held_out = protocols[plan.options.layout], set(plan.split["test"])
    frames = sorted((f for f in plan.frames if f.pid in held_out), key=lambda f: (f.pid, f.cam_id, f.path))
    table = FeatureTable(
        path=[frame.path for frame in frames],
        pid=np.array([frame.pid for frame in frames]),
        cam_id=np.array([frame.cam_id for frame in frames]),
        modality=np.array([frame.modality for frame in frames]),
        features={},
        meta={},
    )
    title = (
        f"{protocol.name}, infrared to visible, {len(protocol.selections(table.columns))} gallery draw(s): "
        f"{len(held_out)} held-out people, {sum(f.modality == 'infrared' for f in frames)} queries; Rank-1 in percent"
    )
    return title, [chance_comparison(table, protocol), *pixel_comparisons(table, protocol, root, size)]


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
    for row in rows:
        path_below(data_root, table.path[row])
    intake = Intake.of(table.meta.get("intake"), PUBLISHED)
    features = extract_table(model, _columns_at(table, rows), data_root, intake=intake).matrix(feature)
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


def pixel_rows(root: Path, paths: Sequence[str], size: tuple[int, int], colour: bool) -> np.ndarray:
    """(N, D) float32: each image's gray or RGB values, resized to ``size`` (height, width)."""
    mode, shape = ("RGB" if colour else "L"), (size[1], size[0])
    rows = []
    for path in paths:
        image = open_image(path_below(root, path))
        rows.append(np.asarray(image.convert(mode).resize(shape, Image.Resampling.BILINEAR), np.float32).ravel())
    return np.stack(rows)


def unit_rows(pixels: np.ndarray, centre: str) -> np.ndarray:
    """Rows of unit length, after the mean of each ('image') or the mean row of all ('modality') is taken off.

    A row that has nothing left, such as a flat image, becomes a constant one.
    """
    axis = 1 if centre == "image" else 0
    centred = pixels - pixels.mean(axis, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    centred[length[:, 0] < FLAT] = 1
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), FLAT)
