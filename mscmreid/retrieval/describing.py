"""Cameras, times and ids of images, from their paths or from a table."""

from __future__ import annotations

import csv
import datetime
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mscmreid.retrieval.filters import seconds_of

COLUMNS = {"camera": "camera", "time": "time", "id": "ids"}


def by_pattern(pattern: str, time_format: str | None = None) -> Callable[[str], Any]:
    """A function of an image's name that gives the first group of a regular expression.

    Args:
        pattern: is searched in the path below the folder that was named.
        time_format: the group is a time in this form (of ``strptime``), taken as UTC where it names no zone.

    Raises:
        ValueError: no regular expression, or one without a group; later, by the function: a name that it does not fit.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if compiled.groups < 1:
        raise ValueError(f"the pattern {pattern!r} needs a group, as in '(cam[0-9]+)/'")

    def found(name: str) -> Any:
        match = compiled.search(name)
        if match is None or match[1] is None:
            raise ValueError(f"the pattern {pattern!r} does not fit")
        if time_format is None:
            return match[1]
        return seconds_of(datetime.datetime.strptime(match[1], time_format))

    return found


def by_table(path: Path) -> dict[str, Callable[[str], Any]]:
    """Functions of an image's name for each column of a CSV (``path`` and any of ``camera``, ``time``, ``id``).

    Paths are as the images are named: relative to the folder that is added, or absolute. An empty cell says nothing.

    Raises:
        FileNotFoundError: no such table.
        ValueError: no text in UTF-8, other columns, a path twice, a cut line; then, by the functions: what it lacks.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no table {path}")
    try:
        return _columns_of(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV table in UTF-8: {error}") from error


def _columns_of(path: Path) -> dict[str, Callable[[str], Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or [])
        if "path" not in names or set(names) - {"path", *COLUMNS} or len(set(names)) < len(names):
            raise ValueError(
                f"{path}, line 1: expected the columns path and any of {', '.join(COLUMNS)}, found {', '.join(names)}"
            )
        rows: dict[str, dict[str, str]] = {}
        for record in reader:
            name = (record["path"] or "").replace(os.sep, "/")
            if name in rows or None in record.values():
                raise ValueError(f"{path}, line {reader.line_num}: {name!r} is there twice, or cells are missing")
            rows[name] = record

    def of(column: str) -> Callable[[str], Any]:
        def found(name: str) -> Any:
            if name not in rows:
                raise ValueError(f"{path} says nothing of them")
            return rows[name][column] or None

        return found

    return {COLUMNS[column]: of(column) for column in names if column != "path"}
