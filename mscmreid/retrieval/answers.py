"""Answers of a gallery as files: a table, JSON, pictures of ranked lists."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mscmreid.intake import Intake
from mscmreid.progress import Progress
from mscmreid.retrieval.calibration import SAME
from mscmreid.retrieval.engines import Engine
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery, Hit
from mscmreid.tables import aligned_lines, plain
from mscmreid.visualization.rankings import RankedImage, Ranking, draw_rankings

QUERIES_AT_A_TIME, QUERIES_A_PAGE = 1024, 6
COLUMNS = ("query", "rank", "path", "score", "camera", "time", "modality", "id", "verdict", "probability", "row")


NOBODY = "nobody here"


def verdict(hits: Sequence[Hit]) -> str:
    """Of an open-set search: 'same person, likely', 'nobody here', or '' where scores are not calibrated."""
    if any(hit.verdict == SAME for hit in hits):
        return SAME
    return NOBODY if any(hit.verdict for hit in hits) else ""


@dataclass(frozen=True)
class Answer:
    """What one query found, nearest first."""

    query: str
    hits: list[Hit]


def answers(
    gallery: Gallery,
    queries: Sequence[str],
    features: np.ndarray,
    modality: str,
    top: int = 10,
    where: Filter | Mapping[str, Any] | None = None,
    engine: str | Engine = "exact",
) -> list[Answer]:
    """The answers to many queries, a block of them at a time.

    Args:
        queries: names.
        features: (N, dim), one row each.
        modality, top, where, engine: see :meth:`Gallery.search`.
    """
    progress, found = Progress("searching", len(queries)), []
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        part = queries[start : start + QUERIES_AT_A_TIME]
        rows = features[start : start + len(part)]
        lists = gallery.search(features=rows, modality=modality, top=top, where=where, engine=engine)
        found += [Answer(query, hits) for query, hits in zip(part, lists, strict=True)]
        progress.advance(len(part))
    return found


def table_rows(found: Iterable[Answer], root: str | None = None) -> Iterator[list[Any]]:
    """Lines of :data:`COLUMNS`, with their head.

    Args:
        root: paths of hits are written relative to this folder.
    """
    yield list(COLUMNS)
    for answer in found:
        for rank, hit in enumerate(answer.hits, start=1):
            path = hit.path if root is None else os.path.relpath(hit.path, root).replace(os.sep, "/")
            known = [hit.camera, hit.time, hit.modality, hit.id, hit.verdict, hit.probability, hit.row]
            texts = ["" if value is None else value for value in known]
            yield [answer.query, rank, path, f"{hit.score:.6f}", *texts]


def as_json(found: Iterable[Answer]) -> str:
    """A list of ``dict(query, verdict, hits)``; paths that are no Unicode are written with escapes."""
    content = [
        dict(query=answer.query, verdict=verdict(answer.hits), hits=[asdict(hit) for hit in answer.hits])
        for answer in found
    ]
    return json.dumps(content, indent=1)


def pages(
    found: Sequence[Answer],
    title: str,
    max_pages: int | None = None,
    queries_a_page: int = QUERIES_A_PAGE,
    intake: Intake | None = None,
) -> Iterator[Image.Image]:
    """Pictures of the lists, a few queries each; whether they are right, nobody knows.

    Args:
        found: the answers; queries and hits are paths.
        title: above every picture.
        max_pages: at most so many; None: all.
        queries_a_page: rows of a picture.
        intake: how images are read; None: upright.
    """
    for start in range(0, len(found), queries_a_page)[:max_pages]:
        part = found[start : start + queries_a_page]
        rankings = [
            Ranking(
                RankedImage(Path(answer.query), plain(os.path.basename(answer.query))),
                [RankedImage(Path(hit.path), caption(hit)) for hit in answer.hits],
            )
            for answer in part
        ]
        subtitle = f"queries {start + 1} to {start + len(part)} of {len(found):,}; under each image its {legend(found)}"
        yield draw_rankings(rankings, title, subtitle, intake=intake or Intake(), strict=False)


def caption(hit: Hit) -> str:
    """Under a hit: how near, where and when, its file."""
    first = f"{hit.score:.3f}" if hit.probability is None else f"{hit.score:.3f}  {100 * hit.probability:.0f} %"
    camera = f"cam {hit.camera.removeprefix('cam')}" if hit.camera else ""
    lines = [first + (" likely" if hit.verdict == SAME else ""), camera, hit.time or "", os.path.basename(hit.path)]
    return "\n".join(plain(line) for line in lines if line)


def terminal_lines(answer: Answer) -> list[str]:
    """A table of one answer; columns that nobody filled are left out."""
    head, *lines = [line[1:-1] for line in table_rows([answer])]
    used = [i for i in range(len(head)) if any(line[i] != "" for line in lines) or not lines]
    shown = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line] for line in (head, *lines)]
    return aligned_lines([[line[i] for i in used] for line in shown])


def legend(found: Sequence[Answer]) -> str:
    """What the captions say."""
    calibrated = any(hit.probability is not None for answer in found for hit in answer.hits)
    return "cosine and the probability that it is the same person" if calibrated else "cosine, which is no probability"


@contextmanager
def results_folder(out: Path, pattern: str, overwrite: bool) -> Iterator[Path]:
    """A folder to write results to, which come into ``out`` when all are complete.

    Args:
        out: where they go.
        pattern: of their names; what matches already is somebody's.
        overwrite: whether it may be replaced. All of it goes then, so that a shorter run leaves no pages of a longer.

    Raises:
        FileExistsError: results are there and may not be replaced.
    """
    check_free(out, pattern, overwrite)
    out.mkdir(parents=True, exist_ok=True)
    made = out / f".writing-{os.getpid()}"
    made.mkdir(exist_ok=True)
    try:
        yield made
        for old in out.glob(pattern):
            old.unlink()
        for path in sorted(made.iterdir(), reverse=True):  # pictures before the table that tells of them
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def check_free(out: Path, pattern: str, overwrite: bool) -> None:
    """Raise a FileExistsError if results are in a folder and may not be replaced."""
    there = sorted(path.name for path in out.glob(pattern)) if out.is_dir() else []
    if there and not overwrite:
        raise FileExistsError(
            f"{out} has results of an earlier run ({', '.join(there[:3])}{', ...' if len(there) > 3 else ''}): choose "
            "another --out, or replace them with --overwrite"
        )
