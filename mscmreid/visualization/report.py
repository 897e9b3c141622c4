"""A report of results to look at: one HTML file that needs nothing outside itself."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mscmreid.evaluation import Evaluation, FeatureTable, Result, camera_pairs
from mscmreid.evaluation.results import MEASURES, UNKNOWN
from mscmreid.intake import Intake
from mscmreid.visualization.charts import camera_chart, cmc_chart, distance_chart
from mscmreid.visualization.nearest import choose_queries, nearest_rows
from mscmreid.visualization.pairs import pair_distances
from mscmreid.visualization.rankings import open_image
from mscmreid.visualization.templating import template

MEASURE_NAMES = {"R1": "Rank-1", "R5": "Rank-5", "R10": "Rank-10", "R20": "Rank-20", "mAP": "mAP", "mINP": "mINP"}
HEADLINE = ("R1", "R10", "mAP", "mINP")
THUMBNAIL = (96, 192)  # width, height that images are fitted into, in pixels

Part = dict[str, Any]
"""A section of a chapter, as ``report.html`` reads it: name, title, told, and a chart, cards or strips."""


def results_report(results: Sequence[Result]) -> str:
    """The HTML of results without their features: tables, facts, CMC curves, pairs of cameras where the file has them.

    Args:
        results: as :func:`mscmreid.evaluation.load_results` gives them.

    Raises:
        ValueError: no result.
    """
    note = "Distances and rankings need the features: make the report from the feature file."
    return _document(
        results,
        [
            _chapter(result, [_cameras(result, result.camera_pairs)] if result.camera_pairs else [], note)
            for result in results
        ],
    )


def evaluation_report(
    evaluations: Sequence[Evaluation],
    table: FeatureTable,
    data_root: str | Path | None,
    num_queries: int = 5,
    num_hardest: int = 8,
    top: int = 10,
) -> str:
    """The HTML of evaluations with everything that their features show.

    Args:
        evaluations: of :func:`mscmreid.evaluation.evaluate` over ``table``. Re-ranked ones get their numbers and CMC
            only: distances and neighbours are those of the plain features.
        table: the features.
        data_root: folder of the images; None leaves images out and puts ids in their place.
        num_queries: queries among the best and among the worst, each of another person.
        num_hardest: queries whose first match stands furthest down, each of another person.
        top: gallery images of each query.

    Raises:
        FileNotFoundError, ValueError: an image is missing or cannot be decoded; it is named. No evaluation.
    """
    thumbnails = Thumbnails(table, data_root)
    chapters = []
    for evaluation in evaluations:
        result = evaluation.result
        if result.rerank:
            chapters.append(_chapter(result, [], "Re-ranked: the plain features' chapter shows their rankings."))
            continue
        shown = Shown(evaluation, table, table.matrix(result.feature, result.flip), thumbnails)
        rankings = [shown.rankings(how, num_queries, top) for how in ("best", "worst")]
        parts = [shown.distances(), shown.cameras(), shown.hardest(num_hardest), *rankings]
        chapters.append(_chapter(result, parts))
    return _document([evaluation.result for evaluation in evaluations], chapters)


class Thumbnails:
    """The images of one report, or nothing in their place.

    Args:
        table: its rows.
        data_root: folder of the images; None: no images.
    """

    def __init__(self, table: FeatureTable, data_root: str | Path | None) -> None:
        self.table = table
        self.data_root = None if data_root is None else Path(data_root)
        self._made: dict[int, str] = {}

    def tile(self, row: int, note: str, is_match: bool | None = None) -> dict[str, Any]:
        """A row of the table as the template shows it.

        Args:
            row: of the table.
            note: one more line under it.
            is_match: whether it shows the query's person; None for the query itself.
        """
        pid, cam = int(self.table.pid[row]), int(self.table.cam_id[row])
        return dict(
            pid=pid, cam=cam, path=self.table.path[row], note=note, is_match=is_match, image=self._data_uri(row)
        )

    def _data_uri(self, row: int) -> str | None:
        """A small JPEG of the image."""
        if self.data_root is None:
            return None
        if row not in self._made:
            image = open_image(self.data_root / self.table.path[row])
            image.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
            buffer = BytesIO()
            image.save(buffer, format="JPEG", quality=84, optimize=True)
            self._made[row] = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
        return self._made[row]


class Shown:
    """What the features of one evaluation show, section by section.

    Args:
        evaluation: not re-ranked.
        table: its features.
        matrix: (N, D) those that were ranked.
        thumbnails: of the report.
    """

    def __init__(self, evaluation: Evaluation, table: FeatureTable, matrix: np.ndarray, thumbnails: Thumbnails) -> None:
        self.table, self.matrix, self.tile = table, matrix, thumbnails.tile
        self.selections = evaluation.selections
        self.selection, self.ranking = evaluation.selections[0], evaluation.rankings[0]
        self.result = result = evaluation.result
        self.draw = f"gallery draw {result.trials[0]}" if result.num_trials > 1 else "the gallery"

    def distances(self) -> Part:
        """Pairs of one person against pairs of two."""
        pairs = pair_distances(self.matrix, self.table, self.selection)
        if pairs is None:
            return _part("distances", "Distances", "Every pair is of one kind: there is nothing to compare.")
        some = "" if pairs.num_queries == pairs.total_queries else f" of {pairs.num_queries:,} queries"
        told = (
            f"pairs{some} that the protocol compares in {self.draw}. A pair of one person is nearer than one of two in "
            f"{pairs.area:.1f} % of cases; {pairs.found_at(0.01):.1f} % are nearer than 99 % of the others"
        )
        return _part("distances", "Distances", told, chart=distance_chart(pairs))

    def cameras(self) -> Part:
        """Rank-1 of each pair of cameras."""
        pairs = self.result.camera_pairs
        if pairs is None:
            pairs = camera_pairs(self.matrix, self.table, self.selections)
        cam_id = self.table.cam_id
        query_cams = {int(cam) for s in self.selections for cam in np.unique(cam_id[s.query])}
        gallery_cams = {int(cam) for s in self.selections for cam in np.unique(cam_id[s.gallery])}
        return _cameras(self.result, pairs, query_cams, gallery_cams)

    def hardest(self, num: int) -> Part:
        """Queries whose first match stands furthest down, with what stands first instead."""
        positions = choose_queries(self.ranking, self.table.pid[self.selection.query], "hardest", num)
        whole = nearest_rows(self.matrix, self.table, self.selection, positions, len(self.selection.gallery))
        cards = []
        for position, nearest in zip(positions, whole, strict=True):
            first = int(np.flatnonzero(nearest.is_match)[0])
            tiles = [self.tile(nearest.query, "query")]
            tiles.append(self.tile(int(nearest.rows[0]), "nearest", bool(nearest.is_match[0])))
            if first:
                tiles.append(self.tile(int(nearest.rows[first]), f"place {first + 1}", True))
            path, precision = self.table.path[nearest.query], self.ranking.ap[position]
            cards.append(dict(tiles=tiles, told=f"{path}: first match at place {first + 1}, AP {precision:.1f} %"))
        told = (
            f"in {self.draw}, one a person: those whose first match stands furthest down, with what stands first "
            "instead"
        )
        return _part("hardest", "Hardest queries", told, cards=cards)

    def rankings(self, how: str, num: int, top: int) -> Part:
        """The 'best' or the 'worst' queries, each with its ``top`` nearest gallery images."""
        positions = choose_queries(self.ranking, self.table.pid[self.selection.query], how, num)
        strips = []
        for position, nearest in zip(
            positions, nearest_rows(self.matrix, self.table, self.selection, positions, top), strict=True
        ):
            found = zip(nearest.rows, nearest.similarity, nearest.is_match, strict=True)
            tiles = [self.tile(int(row), f"{score:.2f}", bool(match)) for row, score, match in found]
            strips.append([self.tile(nearest.query, f"AP {self.ranking.ap[position]:.1f} %"), *tiles])
        told = (
            f"{how} average precision in {self.draw}, one query a person; nearest first, with the similarity. A solid "
            "frame with a tick is the query's person, a dashed one with a cross somebody else"
        )
        return _part(how, f"{how.capitalize()} rankings", told, strips=strips, top=top)


def _cameras(
    result: Result,
    pairs: Sequence[dict[str, float]],
    query_cams: Collection[int] = (),
    gallery_cams: Collection[int] = (),
) -> Part:
    """The section on pairs of cameras; cameras beside those of the pairs get empty cells."""
    mean = f", mean of {result.num_trials} gallery draws" if result.num_trials > 1 else ""
    told = f"Rank-1 of the queries of one camera against the gallery images of another{mean}. "
    if len(pairs) > 1:
        worst = min(pairs, key=lambda pair: pair["R1"])
        told += f"Worst is camera {worst['query_cam']:.0f} against {worst['gallery_cam']:.0f}, {worst['R1']:.1f} %. "
    told += "A dashed cell: the protocol does not compare them, or no query has a match there"
    by_pair = {(int(pair["query_cam"]), int(pair["gallery_cam"])): pair for pair in pairs}
    rows = sorted({*query_cams, *(query for query, _ in by_pair)})
    columns = sorted({*gallery_cams, *(gallery for _, gallery in by_pair)})
    return _part("cameras", "Pairs of cameras", told, chart=camera_chart(by_pair, rows, columns))


def _part(name: str, title: str, told: str, **content: Any) -> Part:
    return dict(name=name, title=title, told=told, **dict(dict(chart="", cards=[], strips=[]), **content))


def _document(results: Sequence[Result], chapters: Sequence[dict[str, Any]]) -> str:
    """The whole HTML file: a table of all results, then a chapter for each."""
    if not results:
        raise ValueError("a report needs at least one result, found none")
    measures = [MEASURE_NAMES[name] for name in MEASURES]
    datasets = ", ".join(dict.fromkeys(_set_and_split(result, " ({})") for result in results))
    return template("report.html").render(
        title=f"Results on {datasets}",
        dates=", ".join(dict.fromkeys(result.date for result in results if result.date)),
        measures=measures,
        overview=dict(
            names=["data set", "setting", "feature", *measures, "draws", "queries", "left out", "gallery"],
            rows=[_overview_row(result) for result in results],
        ),
        is_starred=any(result.not_standard for result in results),
        chapters=chapters,
    )


def _set_and_split(result: Result, form: str) -> str:
    """The data set with its split behind it, as far as the features say."""
    dataset = "a data set without a name" if result.dataset == UNKNOWN else result.dataset
    return dataset + ("" if result.split == UNKNOWN else form.format(result.split))


def _overview_row(result: Result) -> list:
    mean, std = result.mean, result.std
    values = [dict(mean=f"{mean[n]:.2f}", std=f"{std[n]:.2f}") if std else f"{mean[n]:.2f}" for n in MEASURES]
    counts = map(_span, (result.num_queries, result.num_left_out, result.num_gallery))
    dataset = result.dataset + (" *" if result.not_standard else "")
    return [dataset, result.setting, result.feature_label, *values, result.num_trials, *counts]


def _chapter(result: Result, parts: Sequence[Part], note: str = "") -> dict[str, Any]:
    """One result as the template shows it: its numbers, what they are, its CMC, the other parts."""
    told = f"{result.cmc_kind} CMC"
    if result.num_trials > 1:
        told += f"; the line is the mean of {result.num_trials} gallery draws, the band one standard deviation"
    mean, std = result.mean, result.std
    trials = enumerate(result.trials if result.num_trials > 1 else [])
    return dict(
        kicker=_set_and_split(result, " {}"),
        warning=f"Not the standard test set: {result.not_standard}." if result.not_standard else "",
        name=f"{result.setting or result.protocol}, {result.feature_label}",
        headline=[
            dict(name=MEASURE_NAMES[name], mean=f"{mean[name]:.1f}", std=f"{std[name]:.1f}" if std else "")
            for name in HEADLINE
        ],
        facts=_facts(result),
        draws=[[f"draw {trial}", *(f"{result.values[name][i]:.2f}" for name in MEASURES)] for i, trial in trials],
        parts=[_part("cmc", "Matched within rank", told, chart=cmc_chart(result.cmc)), *parts],
        note=note,
    )


def _facts(result: Result) -> dict[str, object]:
    """Everything that says what the numbers are."""
    condition = result.condition
    return {
        "data set": result.dataset,
        "split": result.split,
        "standard set": f"no: {result.not_standard}" if result.not_standard else None,
        "protocol": result.protocol,
        "mode": result.mode,
        "shots": result.shots,
        "lineage of gallery draws": result.lineage,
        "direction": result.direction,
        "convention": result.convention,
        "images": "{corruption} {severity} on {modality}".format(**condition) if condition else "as they are",
        "ignored gallery images": result.exclusion,
        "CMC": result.cmc_kind,
        "feature": result.feature,
        "mirrored images added": "yes" if result.flip else "no",
        "re-ranking": "k-reciprocal" if result.rerank else "none",
        "gallery draws": f"{result.num_trials} (no. {', '.join(map(str, result.trials))})",
        "queries used": _span(result.num_queries),
        "queries left out (no match)": _span(result.num_left_out),
        "gallery images": _span(result.num_gallery),
        "images read": str(Intake.of(result.intake)) if result.intake else None,
        "checkpoint": result.checkpoint,
        "checkpoint SHA-256": result.checkpoint_sha256,
        "config hash": result.config_hash,
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        "measured": result.date,
    }


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
