"""A report of results to look at: one HTML file that needs nothing outside itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation import Evaluation, FeatureTable, Result, camera_pairs
from mscmreid.evaluation.results import MEASURES, UNKNOWN
from mscmreid.intake import Intake
from mscmreid.visualization.charts import camera_chart, cmc_chart, distance_chart
from mscmreid.visualization.clothes import clothes_colours
from mscmreid.visualization.nearest import choose_queries, nearest_rows
from mscmreid.visualization.pairs import pair_distances
from mscmreid.visualization.report_conditions import conditions_part, split_conditions
from mscmreid.visualization.report_parts import Part, part
from mscmreid.visualization.report_space import errors_part, gap_part, map_part, modalities_part, rows_of
from mscmreid.visualization.templating import script, template
from mscmreid.visualization.thumbnails import Thumbnails

MEASURE_NAMES = {"R1": "Rank-1", "R5": "Rank-5", "R10": "Rank-10", "R20": "Rank-20", "mAP": "mAP", "mINP": "mINP"}
HEADLINE = ("R1", "R10", "mAP", "mINP")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser lets a report do: show what stands in it. A script is allowed by its digest alone."""


def results_report(results: Sequence[Result]) -> str:
    """The HTML of results without their features: tables, facts, CMC curves, pairs of cameras where the file has them.

    Results under bad conditions stand in a section of their clean counterpart's chapter.

    Args:
        results: as :func:`mscmreid.evaluation.load_results` gives them.

    Raises:
        ValueError: no result.
    """
    note = "Distances and rankings need the features: make the report from the feature file."
    shown, corrupted = split_conditions(results)
    chapters = []
    for result in shown:
        cameras = _cameras(result, result.camera_pairs) if result.camera_pairs else None
        parts = [found for found in (cameras, conditions_part(result, corrupted)) if found]
        chapters.append(_chapter(result, parts, note))
    return _document(shown, chapters)


def evaluation_report(
    evaluations: Sequence[Evaluation],
    table: FeatureTable,
    data_root: str | Path | None,
    num_queries: int = 5,
    num_hardest: int = 8,
    top: int = 10,
    embedding: str = "pca",
    corrupted: Sequence[Result] = (),
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
        embedding: 'pca', 'umap' or 'tsne' of the maps of features; 'none': no maps.
        corrupted: results of the same checkpoint under bad conditions; each stands beside its clean counterpart.

    Raises:
        FileNotFoundError, ValueError: an image is missing or cannot be decoded; it is named. No evaluation; no
            evaluation that one of ``corrupted`` belongs to.
        ImportError: an embedding needs an extra that is not installed.
    """
    if corrupted and not any(conditions_part(evaluation.result, corrupted) for evaluation in evaluations):
        raise ValueError(
            "none of the results under bad conditions has its clean counterpart here: they must be of the same "
            "checkpoint, protocol and feature"
        )
    thumbnails = Thumbnails(table, data_root)
    rows = rows_of(evaluations) if evaluations else np.array([], dtype=np.int64)
    colours = clothes_colours(table, rows, data_root) if data_root is not None else None
    spaces = _spaces(evaluations, table, rows, embedding, thumbnails)
    chapters = []
    for evaluation in evaluations:
        result = evaluation.result
        if result.rerank:
            chapters.append(_chapter(result, [], "Re-ranked: the plain features' chapter shows their rankings."))
            continue
        shown = Shown(evaluation, table, table.matrix(result.feature, result.flip), thumbnails)
        rankings = [shown.rankings(how, num_queries, top) for how in ("best", "worst")]
        errors = errors_part(evaluation, shown.matrix, table, colours, shown.draw)
        conditions = conditions_part(result, corrupted)
        parts = [shown.distances(), shown.cameras(), *([conditions] if conditions else []), errors]
        chapters.append(_chapter(result, [*parts, shown.hardest(num_hardest), *rankings]))
    return _document([evaluation.result for evaluation in evaluations], chapters, spaces, thumbnails.sprites)


def _spaces(
    evaluations: Sequence[Evaluation], table: FeatureTable, rows: np.ndarray, embedding: str, thumbnails: Thumbnails
) -> list[dict[str, Any]]:
    """A chapter for each feature, over all images that any protocol uses."""
    chapters = []
    for feature, flip in dict.fromkeys((e.result.feature, e.result.flip) for e in evaluations):
        matrix = table.matrix(feature, flip)
        parts = [modalities_part(matrix, table, rows), gap_part(matrix, table, rows)]
        if embedding != "none":
            parts.insert(0, map_part(matrix, table, rows, embedding, thumbnails))
        name = f"Feature {feature}" + (" with mirrored images" if flip else "")
        chapters.append(dict(kicker=f"{len(rows):,} images of the protocols below", name=name, parts=parts))
    return chapters


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
            return part("distances", "Distances", "Every pair is of one kind: there is nothing to compare.")
        some = "" if pairs.num_queries == pairs.total_queries else f" of {pairs.num_queries:,} queries"
        told = (
            f"pairs{some} that the protocol compares in {self.draw}. A pair of one person is nearer than one of two in "
            f"{pairs.area:.1f} % of cases; {pairs.found_at(0.01):.1f} % are nearer than 99 % of the others"
        )
        return part("distances", "Distances", told, chart=distance_chart(pairs))

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
        return part("hardest", "Hardest queries", told, cards=cards)

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
        return part(how, f"{how.capitalize()} rankings", told, strips=strips, top=top)


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
    return part("cameras", "Pairs of cameras", told, chart=camera_chart(by_pair, rows, columns))


def _document(
    results: Sequence[Result],
    chapters: Sequence[dict[str, Any]],
    spaces: Sequence[dict[str, Any]] = (),
    sprites: Sequence[dict[str, Any]] = (),
) -> str:
    """The whole HTML file: a table of all results, a chapter for each feature, a chapter for each result."""
    if not results:
        raise ValueError("a report needs at least one result, found none")
    measures = [MEASURE_NAMES[name] for name in MEASURES]
    code = script("report.js") if any(shown["map"] for chapter in spaces for shown in chapter["parts"]) else ""
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    datasets = ", ".join(dict.fromkeys(_set_and_split(result, " ({})") for result in results))
    return template("report.html").render(
        policy=f"{POLICY}; script-src 'sha256-{digest}'" if code else POLICY,
        script=code,
        spaces=spaces,
        sprites=sprites,
        title=f"Results on {datasets}",
        dates=", ".join(dict.fromkeys(result.date for result in results if result.date)),
        measures=measures,
        has_intervals=any(result.interval is not None for result in results),
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
    values = [
        dict(mean=f"{mean[n]:.2f}", std=f"{std[n]:.2f}" if std else "", interval=_interval(result, n)) for n in MEASURES
    ]
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
            dict(
                name=MEASURE_NAMES[name],
                mean=f"{mean[name]:.1f}",
                std=f"{std[name]:.1f}" if std else "",
                interval=_interval(result, name),
            )
            for name in HEADLINE
        ],
        facts=_facts(result),
        draws=[[f"draw {trial}", *(f"{result.values[name][i]:.2f}" for name in MEASURES)] for i, trial in trials],
        parts=[part("cmc", "Matched within rank", told, chart=cmc_chart(result.cmc)), *parts],
        note=note,
    )


def _interval(result: Result, measure: str) -> str:
    """The measure's interval in brackets, '' if it has none."""
    if result.interval is None:
        return ""
    low, high = result.interval["bounds"][measure]
    return f"[{low:.1f}, {high:.1f}]"


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
        "intervals [ ]": "{level:.0%} over {num_people} {over}".format(**result.interval) if result.interval else None,
        "queries used": _span(result.num_queries),
        "queries left out (no match)": _span(result.num_left_out),
        "gallery images": _span(result.num_gallery),
        "images read": str(Intake.of(result.intake)) if result.intake else None,
        "checkpoint": result.checkpoint,
        "checkpoint SHA-256": result.checkpoint_sha256,
        "trained from": result.initial_weights,
        "config hash": result.config_hash,
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        "measured": result.date,
    }


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
