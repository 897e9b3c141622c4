"""Run in child processes by test_same_everywhere.py: prints what an evaluation comes to, every bit of it.

The features have equal rows in different tiles, and rows that differ by one last bit of one number, so that the order
of a sum would change ranks.
"""

import hashlib
import logging
import sys
from pathlib import Path

import numpy as np

from mscmreid.evaluation import FeatureTable, LLCMProtocol, ReRanking, SYSUProtocol, evaluate
from mscmreid.evaluation.similarity import similarities
from mscmreid.retrieval.engines import ExactEngine
from mscmreid.retrieval.filters import Filter
from mscmreid.visualization.nearest import nearest_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy_galleries import snapshot_of


def made_up_table(dim: int = 130) -> FeatureTable:
    """Rows of 24 people in 6 cameras, 1,728 in all; one row in three is the one before it, or next to it."""
    rs = np.random.RandomState(0)
    cam, pid = (column.ravel() for column in np.meshgrid(np.repeat(np.arange(1, 7), 12), np.arange(24)))
    features = (rs.normal(size=(24, dim))[pid] + 2.5 * rs.normal(size=(len(pid), dim))).astype(np.float32)
    features /= np.sqrt(np.square(features.astype(np.float64)).sum(axis=1, keepdims=True)).astype(np.float32)
    equal, near = np.arange(1, len(pid), 6), np.arange(4, len(pid), 6)
    features[equal] = features[equal - 1]
    features[near] = features[near - 1]
    features[near, 7] = np.nextafter(features[near, 7], np.float32(1))
    order = rs.permutation(len(pid))  # equal rows far apart
    modality = np.where(np.isin(cam, (3, 6)), "infrared", "visible")[order]
    paths = [f"cam{c}/{p:04d}/{i:05d}.jpg" for i, (c, p) in enumerate(zip(cam[order], pid[order], strict=True))]
    table = dict(feat_bn=features[order], feat_pool=np.maximum(features[order], 0))
    return FeatureTable(paths, pid[order], cam[order], modality, table, dict(dataset_name="SYSU-MM01", split="made up"))


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[:16]


def main() -> None:
    logging.disable()  # the progress of a ranking has the time of day in it
    table = made_up_table().normalized()
    matrix, rows = table.matrix("feat_bn", False), np.arange(len(table))
    protocols = [SYSUProtocol(shots=10, trials=2), LLCMProtocol(trials=1)]
    for evaluation in evaluate(table, protocols, ["feat_bn", "sum"]):
        print(evaluation.result.protocol, evaluation.result.feature, evaluation.result.values)
    selection = SYSUProtocol(trials=1).selections(table.columns)[0]
    print("reranked", digest(ReRanking(matrix, selection.query, selection.gallery).distances(np.arange(40))))
    found = nearest_rows(matrix, table, selection, range(20))
    print("nearest", digest(*(array for one in found for array in (one.rows, one.similarity))))
    gallery = snapshot_of(matrix[rows[40:]], num_segments=3)
    print("searched", digest(*ExactEngine().find(gallery, matrix[rows[:40]], 10, Filter())))
    print("similarities", digest(similarities(matrix, rows, matrix)))


if __name__ == "__main__":
    main()
