"""What a tool prints and logs moves no cursor, changes no colour and clears no screen, whatever text is in it.

Names of files, ids and texts of configs and results files come from others. :func:`plain_output` writes the control
characters in them out, as ``\\x1b``, in all that this process prints and in all that any logger of it logs, MMEngine's
among them, on a terminal and in log files.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from mscmreid.tables import plain_lines

_LEVEL = re.compile(r"((?:\x1b\[[0-9;]*m)+(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\x1b\[0m)")
"""A level in its colour, as loggers put it before a message."""


class PlainRecord(logging.LogRecord):
    """A log record whose message has no control characters but line breaks and tabs."""

    def getMessage(self) -> str:
        """The message, arguments put in."""
        return plain_lines(super().getMessage())


class PlainStream:
    """A text stream that writes control characters out, but for line breaks, tabs, the colour of a log line's level and
    the return to the beginning of the line with which a progress bar begins.

    Args:
        stream: does all else.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        head = "\r" if text.startswith("\r") else ""
        parts = _LEVEL.split(text.removeprefix("\r"))
        self._stream.write(head + "".join(part if i % 2 else plain_lines(part) for i, part in enumerate(parts)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def plain_output() -> None:
    """From here on this process prints and logs plain text; a second call changes nothing."""
    logging.setLogRecordFactory(PlainRecord)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PlainStream):
            setattr(sys, name, cast(TextIO, PlainStream(stream)))
