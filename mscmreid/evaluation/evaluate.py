"""Every protocol over one feature table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mscmreid.evaluation.features import FeatureTable, feature_parts
from mscmreid.evaluation.per_query import PerQuery, interval_field
from mscmreid.evaluation.protocols import Protocol
from mscmreid.evaluation.ranking import DEFAULT_MEMORY, RankingResult, Selection, rank_selections
from mscmreid.evaluation.rerank import rerank_selection
from mscmreid.evaluation.results import Result
from mscmreid.evaluation.standard import departures


@dataclass(frozen=True)
class Evaluation:
    """One protocol with one feature: the record, and what it was made from.

    Attributes:
        result: the row of the results table.
        protocol: the protocol's object.
        selections: rows of the table that query and that are the gallery, one entry a trial.
        rankings: per-query values, one entry a trial, queries in the order of ``selections``.
    """

    result: Result
    protocol: Protocol
    selections: list[Selection]
    rankings: list[RankingResult]

    def per_query(self, table: FeatureTable) -> PerQuery:
        """The values of every query, by image and person.

        Args:
            table: the one that was evaluated.
        """
        return PerQuery.of_rankings(self.rankings, self.selections, table.path, table.pid)


def evaluate(
    table: FeatureTable,
    protocols: Sequence[Protocol],
    features: Sequence[str] = ("feat_bn", "feat_pool"),
    *,
    flip: bool | None = None,
    rerank: bool = False,
    memory_bytes: int = DEFAULT_MEMORY,
    columns: Mapping[str, Any] | None = None,
    with_cameras: bool = False,
    with_intervals: bool = False,
) -> list[Evaluation]:
    """Rank one feature table under every protocol, with every feature.

    Args:
        table: the features.
        protocols: what to measure.
        features: feature options, see :meth:`FeatureTable.matrix`. A protocol's own ``extra_features`` come behind
            them where the table has their parts.
        flip: add the mirrored images' features; None means: if the table has them.
        rerank: a re-ranked row behind every plain one.
        memory_bytes: most memory to use beyond the features.
        columns: metadata of all rows of the data set, if the table has only those that the protocols need: the
            gallery draws are those over all rows.
        with_cameras: ``camera_pairs`` in the results that are not re-ranked (takes about as long as ranking).
        with_intervals: ``interval`` in the results: 95 %, over people (takes about 0.05 s each).

    Returns:
        By protocol, then feature, the re-ranked row behind the plain one.
    """
    if not protocols:
        raise ValueError("no protocol to evaluate")
    flip = table.has_flip if flip is None else flip
    chosen = [_selections(protocol, table, columns) for protocol in protocols]
    named = str(table.meta.get("dataset_name")), str(table.meta.get("split"))
    differing = [
        departures(protocol, table.columns if columns is None else columns, selections, *named)
        for protocol, selections in zip(protocols, chosen, strict=True)
    ]
    wanted = [_features(protocol, features, table) for protocol in protocols]
    plain: dict[tuple[int, str], list[RankingResult]] = {}
    reranked: dict[tuple[int, str], list[RankingResult]] = {}
    for feature in dict.fromkeys(name for names in wanted for name in names):
        matrix = table.matrix(feature, flip)
        members = [i for i, names in enumerate(wanted) if feature in names]
        jobs = [selection for i in members for selection in chosen[i]]
        ranked = iter(
            rank_selections(matrix, table.pid, table.cam_id, jobs, memory_bytes=memory_bytes, paths=table.path)
        )
        for i in members:
            plain[i, feature] = [next(ranked) for _ in chosen[i]]
            if rerank:
                reranked[i, feature] = [
                    rerank_selection(matrix, table.pid, table.cam_id, selection, memory_bytes=memory_bytes)
                    for selection in chosen[i]
                ]
    evaluations = []
    for i, protocol in enumerate(protocols):
        for feature in wanted[i]:
            for rankings, is_reranked in ((plain, False), (reranked, True)):
                if (i, feature) not in rankings:
                    continue
                result = Result.from_rankings(
                    rankings[i, feature],
                    protocol.trials,
                    protocol.fields(),
                    table.meta,
                    protocol=protocol.name,
                    feature=feature,
                    exclusion=protocol.rule.describe(),
                    cmc_kind="identity" if protocol.identity_cmc else "plain",
                    flip=flip,
                    rerank=is_reranked,
                    not_standard=differing[i],
                )
                if with_cameras and not is_reranked:
                    matrix = table.matrix(feature, flip)
                    result.camera_pairs = camera_pairs(matrix, table, chosen[i], memory_bytes=memory_bytes)
                evaluation = Evaluation(result, protocol, chosen[i], rankings[i, feature])
                if with_intervals:
                    result.interval = interval_field(evaluation.per_query(table).people)
                evaluations.append(evaluation)
    return evaluations


def camera_pairs(
    matrix: np.ndarray, table: FeatureTable, selections: Sequence[Selection], *, memory_bytes: int = DEFAULT_MEMORY
) -> list[dict[str, float]]:
    """Measures of each (query camera, gallery camera): the queries of one camera against the gallery of the other.

    Args:
        matrix: (N, D) features of the table's rows, as :meth:`FeatureTable.matrix` gives them.
        table: their metadata.
        selections: trials of a protocol.

    Returns:
        By query camera, then gallery camera ``dict(query_cam, gallery_cam, R1, R5, R10, R20, mAP, mINP, num_queries,
        num_left_out)``, measures in percent, means over the trials in which the pair is compared; no entry where no
        query has a match (or the rule ignores the pair).
    """
    parts: dict[tuple[int, int], list[Selection]] = {}
    for selection in selections:
        for pair, part in _by_cameras(table, selection):
            parts.setdefault(pair, []).append(part)
    every = [part for pair in sorted(parts) for part in parts[pair]]
    rankings = iter(rank_selections(matrix, table.pid, table.cam_id, every, memory_bytes=memory_bytes) if every else [])
    rows = []
    for query_cam, gallery_cam in sorted(parts):
        found = []
        for _ in parts[query_cam, gallery_cam]:
            ranking = next(rankings)
            counts = dict(num_queries=ranking.num_queries, num_left_out=ranking.num_left_out)
            found.append({**ranking.values(), **counts})
        means = {name: float(np.mean([values[name] for values in found])) for name in found[0]}
        rows.append({"query_cam": query_cam, "gallery_cam": gallery_cam, **means})
    return rows


def _by_cameras(table: FeatureTable, selection: Selection) -> Iterator[tuple[tuple[int, int], Selection]]:
    """The parts of a selection by (query camera, gallery camera), those with a match."""
    query_cams, gallery_cams = table.cam_id[selection.query], table.cam_id[selection.gallery]
    for query_cam in np.unique(query_cams):
        query = selection.query[query_cams == query_cam]
        for gallery_cam in np.unique(gallery_cams):
            gallery = selection.gallery[gallery_cams == gallery_cam]
            is_ignored = selection.rule.ignored(0, int(query_cam), np.zeros(1), np.array([gallery_cam]))[0]
            if not is_ignored and np.isin(table.pid[query], table.pid[gallery]).any():
                part = Selection(query, gallery, selection.rule, selection.identity_cmc, selection.trial)
                yield (int(query_cam), int(gallery_cam)), part


def _features(protocol: Protocol, features: Sequence[str], table: FeatureTable) -> list[str]:
    extra = [f for f in protocol.extra_features if all(name in table.features for name, _ in feature_parts(f))]
    return list(dict.fromkeys([*features, *extra]))


def _selections(protocol: Protocol, table: FeatureTable, columns: Mapping[str, Any] | None) -> list[Selection]:
    """The protocol's selections as row numbers of the table."""
    data_root = table.meta.get("data_root")
    if columns is None:
        return protocol.selections(table.columns, data_root)
    row_of = {path: row for row, path in enumerate(table.path)}
    paths = columns["path"]

    def rows(numbers: np.ndarray) -> np.ndarray:
        found = np.array([row_of.get(paths[number], -1) for number in numbers], dtype=np.int64)
        if (found < 0).any():
            first = paths[numbers[np.flatnonzero(found < 0)[0]]]
            raise ValueError(
                f"features of {(found < 0).sum()} of {len(found)} rows that {protocol.name} needs are missing (first: "
                f"{first}): extract all of rows_needed"
            )
        return found

    return [
        Selection(rows(s.query), rows(s.gallery), s.rule, s.identity_cmc, s.trial)
        for s in protocol.selections(columns, data_root)
    ]
