"""Rows of text as a table: Markdown, LaTeX, CSV, or columns that line up in a terminal.

Texts may come out of files that somebody else made (names of data sets and images, what was said in a results file). So
no control character leaves here as one, and no cell of a CSV is taken for a formula.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from mscmreid.fileio import written_atomically

_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, breaks of lines and paragraphs
_TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # change the direction
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")
_FORMULA = set("=+-@＝＋－＠'")
_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def plain(text: object) -> str:
    """``str(text)`` in one line, with control characters (and those that turn the reading direction) written out.

    >>> plain("a\\x1b[31m")
    'a\\\\x1b[31m'
    """
    found = str(text)
    if found.isascii() and found.isprintable():
        return found
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _HIDDEN or char in _TURNING else char
        for char in found
    )


def plain_lines(text: str) -> str:
    """A text of several lines with control characters written out, but for line breaks and tabs."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(part if part in ("\n", "\t") else plain(part) for part in re.split(r"([\n\t])", text))


def latex(text: object) -> str:
    """``text`` as LaTeX shows it."""
    return "".join(_LATEX.get(char, char) for char in plain(text))


def csv_cell(value: object) -> object:
    """A cell of a CSV. A text that a spreadsheet could take for a formula (it begins with ``= + - @`` or an apostrophe
    and is no number) gets an apostrophe in front; who reads the file back takes one away."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return "'" + text if text.lstrip()[:1] in _FORMULA and not _NUMBER.fullmatch(text) else text


def csv_lines(rows: Iterable[Iterable[object]], file: TextIO) -> None:
    """Write rows as CSV to an open file, a line a row; see :func:`csv_cell`."""
    csv.writer(file, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)


def write_csv(rows: Iterable[Iterable[object]], path: str | Path) -> None:
    """Write rows (of any number) as a CSV file, whole or not at all; see :func:`csv_cell`."""
    with written_atomically(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv_lines(rows, file)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; a ``|`` inside a cell is escaped."""
    lines = [[plain(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(("|" + "|".join(line) + "|") if line[0] == "---" else f"| {' | '.join(line)} |" for line in lines)


def aligned_lines(rows: Sequence[Sequence[object]], num_texts: int = 1) -> list[str]:
    """A line a row, columns two spaces apart.

    Args:
        rows: of equally many cells.
        num_texts: so many columns stand to the left, all others, being numbers, to the right.
    """
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < num_texts else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
