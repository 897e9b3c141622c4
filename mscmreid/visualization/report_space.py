"""The chapter of a report on a space of features: its map, distances by pair of modalities, the gap between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mscmreid.evaluation import Evaluation, FeatureTable
from mscmreid.evaluation.embedding import FEWEST, embed
from mscmreid.evaluation.error_kinds import error_kinds, first_places
from mscmreid.evaluation.modality_gap import MAX_ROWS, even_rows, modality_gap, modality_pairs
from mscmreid.visualization.feature_map import MAX_POINTS, feature_map
from mscmreid.visualization.report_parts import Part, part, table
from mscmreid.visualization.thumbnails import Thumbnails


def rows_of(evaluations: Sequence[Evaluation]) -> np.ndarray:
    """Rows of the table that any of the evaluations queries with or ranks, in the order of the table."""
    selections = [selection for evaluation in evaluations for selection in evaluation.selections]
    return np.unique(np.concatenate([np.r_[s.query, s.gallery] for s in selections]))


def map_part(
    matrix: np.ndarray, shown: FeatureTable, rows: np.ndarray, how: str, thumbnails: Thumbnails, most: int = MAX_POINTS
) -> Part:
    """The map of features: of more than ``most`` images, so many are shown, taken at even steps by person.

    Args:
        matrix: (N, D) features of the table's rows.
        shown: the table.
        rows: which of them.
        how: 'pca', 'umap' or 'tsne'.
        thumbnails: of the report.
        most: points.
    """
    by_person = rows[np.lexsort((shown.cam_id[rows], shown.modality[rows], shown.pid[rows]))]
    chosen = even_rows(by_person, most)
    if len(chosen) < FEWEST:
        return part("map", "Map of the features", f"a map needs at least {FEWEST} images, found {len(chosen)}")
    embedding = embed(matrix[chosen], how)
    sprite, tiles = thumbnails.sprite(chosen)
    told = f"{embedding.told}; {len(chosen):,} images"
    if len(chosen) < len(rows):
        told += f" of {len(rows):,}, at even steps of the list sorted by person, modality and camera"
    if sprite is not None and len(tiles) < len(chosen):
        told += f"; pictures of {len(tiles):,} of them, at even steps, are in this file"
    told += ". Circles are visible, squares infrared images. "
    told += "Two dimensions do not keep all distances: the numbers below count, not the look"
    content = feature_map(embedding, shown, chosen, tiles, sprite)
    return part("map", "Map of the features", told, map=content)


def modalities_part(matrix: np.ndarray, shown: FeatureTable, rows: np.ndarray) -> Part:
    """Distances within and between people for each pair of modalities, with alignment and uniformity."""
    pid, modality = shown.pid[rows], shown.modality[rows]
    found = modality_pairs(matrix[rows], pid, modality)
    lines = [
        [
            first if first == second else f"{first} – {second}",
            *(dict(mean=f"{pairs.mean(same):.3f}", std=f"{pairs.std(same):.3f}") for same in (True, False)),
            *(f"{pairs.area:.1f} %", f"{pairs.alignment:.3f}", f"{pairs.uniformity:.2f}".replace("-", "−")),
        ]
        for (first, second), pairs in found.items()
    ]
    told = (
        "cosine distance of two images of one person and of two people, ± one standard deviation; the chance that a "
        "pair of one person is the nearer; alignment (mean squared distance of one person's images, 0 is best) and "
        "uniformity (lower: spread more evenly) after Wang and Isola. Between the modalities is what the task asks "
        "for; within one says what could be reached"
    )
    if max(np.unique(modality, return_counts=True)[1]) > MAX_ROWS:
        told += f". Of a modality with more images, {MAX_ROWS:,} at even steps"
    names = ["images", "same person", "different people", "same is nearer", "alignment", "uniformity"]
    return part("modalities", "Within and between the modalities", told, tables=[table(names, lines)])


def gap_part(matrix: np.ndarray, shown: FeatureTable, rows: np.ndarray) -> Part:
    """How far the modalities stand apart."""
    gap = modality_gap(matrix[rows], shown.pid[rows], shown.modality[rows])
    title = "The gap between the modalities"
    if gap is None:
        return part("gap", title, "Nobody has images of both modalities: a gap could not be told from other people.")
    lines = [
        [
            "means of the modalities",
            "how far one is shifted against the other",
            f"{gap.between_means:.3f}",
        ],
        ["a person's two centres", "visible against infrared, mean over the people", f"{gap.between_own_centres:.3f}"],
        ["two people's centres", "in one modality: what the lines above must stay below", f"{gap.between_people:.3f}"],
    ]
    if gap.separability is not None:
        meaning = "images of unseen people told apart by a linear classifier, balanced accuracy; 50 %: it cannot"
        lines.append(["linear separability", meaning, f"{gap.separability:.1f} %"])
    told = f"distances of unit features (0 to 2), over the {gap.num_people:,} people with images of both modalities"
    return part("gap", title, told, tables=[table(["between", "", "value"], lines, 2)])


def errors_part(
    evaluation: Evaluation, matrix: np.ndarray, shown: FeatureTable, colours: np.ndarray | None, draw: str
) -> Part:
    """What the wrong first places have in common.

    Args:
        evaluation: not re-ranked.
        matrix: (N, D) features that were ranked.
        shown: the table.
        colours: of clothes, see :func:`mscmreid.visualization.clothes.clothes_colours`; None without images.
        draw: what the ranked gallery is called.
    """
    places = first_places(matrix, shown.pid, shown.cam_id, evaluation.selections[0])
    errors = error_kinds(places, shown.pid, shown.cam_id, colours)
    if not errors.num_wrong:
        return part("errors", "Kinds of errors", f"in {draw}: every query has its person first.")
    lines = []
    for kind in errors.kinds:
        of = "" if kind.num_known == errors.num_wrong else f" of {kind.num_known:,}"
        chance = "–" if kind.chance is None else f"{kind.chance:.1f} %"
        lines.append([kind.name, kind.meaning, f"{kind.num:,}{of}", f"{kind.share:.1f} %", chance])
    none = 100 * errors.num_none / errors.num_wrong
    lines.append(["none of these", "", f"{errors.num_none:,}", f"{none:.1f} %", "–"])
    told = (
        f"in {draw}, {errors.num_wrong:,} of {errors.num_queries:,} queries have somebody else first. An error can be "
        "of several kinds. By chance: the share that would be there without any connection"
    )
    if errors.crowded is not None:
        camera, found, seen = errors.crowded
        told += (
            f". Camera {camera} has {found:.0f} % of the wrong first places and {seen:.0f} % of the images of others"
        )
    if not any(kind.name == "own camera" for kind in errors.kinds):
        told += ". No query may see images of its own camera"
    if colours is None:
        told += ". Clothes are not compared: that needs the images"
    names = ["kind", "what is counted", "errors", "share", "by chance"]
    return part("errors", "Kinds of errors", told, tables=[table(names, lines, 2)])
