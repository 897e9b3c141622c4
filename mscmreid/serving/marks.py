"""What people say of results: right or wrong, in a CSV that only grows."""

from __future__ import annotations

import csv
import datetime
import io
import os
import threading
from pathlib import Path

from filelock import FileLock

from mscmreid.tables import csv_lines

COLUMNS = ("time", "query", "query_name", "row", "path", "score", "mark")
MARKS = ("right", "wrong", "none")
"""'none' takes an earlier mark back."""


class Marks:
    """Marks by query and row; the last one counts.

    Every mark is one line, appended in one write under a lock, so that several pages may share the file and a crash
    leaves whole lines.

    Args:
        path: the CSV; made with the first mark.

    Raises:
        ValueError: a file of other columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._marks: dict[str, dict[int, str]] = {}
        if self.path.exists():
            self._read()

    def of(self, query: str) -> dict[int, str]:
        """Row -> 'right' or 'wrong', of a query."""
        with self._lock:
            return dict(self._marks.get(query, {}))

    def add(self, query: str, name: str, row: int, path: str, score: float | None, mark: str) -> None:
        """Keep a mark.

        Args:
            query: key of the query: ``row:N``, or ``sha256:...`` of an uploaded image.
            name: its name, for people.
            row, path, score: of the result.
            mark: one of :data:`MARKS`.

        Raises:
            ValueError: another mark.
        """
        if mark not in MARKS:
            raise ValueError(f"a mark is one of {', '.join(MARKS)}, found {mark!r}")
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(sep=" ", timespec="seconds")
        line = (now, query, name, row, path, "" if score is None else f"{score:.6f}", mark)
        with self._lock:
            self._append(line)
            self._remember(query, row, mark)

    def _append(self, line: tuple) -> None:
        text = io.StringIO(newline="")
        with FileLock(f"{self.path}.lock", timeout=10):
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(file).st_size
                if not size:
                    csv_lines([COLUMNS], text)
                elif os.pread(file, 1, size - 1) != b"\n":  # a line that a crash or another program cut off
                    text.write("\n")
                csv_lines([line], text)
                os.write(file, text.getvalue().encode("utf-8", "backslashreplace"))
                os.fsync(file)
            finally:
                os.close(file)

    def _read(self) -> None:
        with self.path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or COLUMNS) != COLUMNS:
                raise ValueError(
                    f"{self.path} must have the columns {', '.join(COLUMNS)}, found {reader.fieldnames}: choose "
                    "another file for the marks"
                )
            for entry in reader:
                if entry["mark"] in MARKS and (entry["row"] or "").isdigit():
                    self._remember(entry["query"], int(entry["row"]), entry["mark"])

    def _remember(self, query: str, row: int, mark: str) -> None:
        of_query = self._marks.setdefault(query, {})
        of_query.pop(row, None)
        if mark != "none":
            of_query[row] = mark
