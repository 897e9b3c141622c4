"""How far a long piece of work over images is."""

from __future__ import annotations

import logging
import sys
import time

from mscmreid.tables import plain_lines


class Progress:
    """A bar on a terminal; elsewhere a line in the log every ten seconds.

    Args:
        title: what is done, such as "decoding".
        total: number of images.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.done = title, total, 0
        self.start = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.shown = self.start

    def advance(self, count: int) -> None:
        """``count`` more images are done."""
        self.done += count
        now = time.monotonic()
        if self.done < self.total and now < self.shown + (0.2 if self.terminal else 10):
            return
        self.shown = now
        part = self.done / self.total
        left = (now - self.start) * (1 / part - 1)
        text = f"{self.title}: {self.done:,} of {self.total:,} images, {left:.0f} s left"
        if self.terminal:
            end = "\n" if self.done == self.total else ""
            sys.stderr.write(f"\r[{'#' * int(30 * part):<30}] {text:<60}{end}")
            sys.stderr.flush()
        else:
            log(text)


def log(text: str, level: int = logging.INFO) -> None:
    """Into MMEngine's current log, or, where MMEngine is not installed, to standard error; no control characters."""
    text = plain_lines(text)
    try:
        from mmengine.logging import print_log
    except ImportError:
        print(text, file=sys.stderr, flush=True)
    else:
        print_log(text, "current", level)
