"""Evaluation on plain arrays: protocols, ranking, feature files, results; it knows no model and no data set class.

Only :class:`VIReIDMetric`, MMEngine's way to all this, needs MMEngine and torch: it is imported when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from mscmreid.evaluation.evaluate import Evaluation, camera_pairs, evaluate
from mscmreid.evaluation.features import FeatureTable
from mscmreid.evaluation.per_query import PerQuery, load_per_query
from mscmreid.evaluation.protocols import (
    GeneralProtocol,
    LLCMProtocol,
    MixedGalleryProtocol,
    Protocol,
    RegDBProtocol,
    SYSUProtocol,
)
from mscmreid.evaluation.ranking import (
    RankingResult,
    Selection,
    rank_distances,
    rank_features,
    rank_selections,
)
from mscmreid.evaluation.rerank import ReRanking, rerank_selection
from mscmreid.evaluation.results import Result, load_results, save_results
from mscmreid.evaluation.rules import NOTHING_IGNORED, ExclusionRule
from mscmreid.evaluation.splits import over_splits, split_table
from mscmreid.evaluation.table import latex_rows, markdown_table, side_by_side, terminal_table

if TYPE_CHECKING:
    from mscmreid.evaluation.metric import VIReIDMetric, build_protocol

__all__ = [
    "NOTHING_IGNORED",
    "Evaluation",
    "ExclusionRule",
    "FeatureTable",
    "GeneralProtocol",
    "LLCMProtocol",
    "MixedGalleryProtocol",
    "PerQuery",
    "Protocol",
    "RankingResult",
    "ReRanking",
    "RegDBProtocol",
    "Result",
    "SYSUProtocol",
    "Selection",
    "VIReIDMetric",
    "build_protocol",
    "camera_pairs",
    "evaluate",
    "latex_rows",
    "load_per_query",
    "load_results",
    "markdown_table",
    "over_splits",
    "rank_distances",
    "rank_features",
    "rank_selections",
    "rerank_selection",
    "save_results",
    "side_by_side",
    "split_table",
    "terminal_table",
]


def __getattr__(name: str) -> Any:
    """The metric and what goes with it, where MMEngine is."""
    if name in ("VIReIDMetric", "build_protocol"):
        from mscmreid.evaluation import metric

        return getattr(metric, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
