"""Ctrl-C (SIGINT) and SIGTERM: one line that says what is kept and how to go on, and the exit status of the signal.

Nothing heavy is imported here, so that a signal that comes while a tool is still importing is told as well.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOTHING_HALF = "files are written whole or not at all, so nothing half is left; start it again"
"""What is said where nobody knows better."""
SAME_STOP = 2.0
"""Signals within so many seconds are one stop: a cluster tells every process, and so does the launcher."""
LAUNCHERS_TIME = 5.0
"""Seconds that a launcher has to end this process, after another one of the run has gone."""


class Interrupted(KeyboardInterrupt):
    """A signal ends the process.

    Attributes:
        number: of the signal.
        kept: what is kept and how to go on; '' until somebody knows.
    """

    def __init__(self, number: int, kept: str = "") -> None:
        super().__init__(number, kept)
        self.number, self.kept = number, kept

    def __str__(self) -> str:
        return message(self.number, self.kept)


class Listener:
    """Handler of both signals.

    Attributes:
        received: the last signal that came, None until then.
        postpones: a run looks at ``received`` itself and ends when it has kept its state: SIGTERM raises nothing,
            however often it comes; Ctrl-C ends the run at once.
    """

    def __init__(self, tells: bool = True) -> None:
        self.tells = tells
        self.received: int | None = None
        self.postpones = False
        self._waits = self._has_waited = False
        self._ends_since: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise :class:`Interrupted`; while a module is imported, whose code might swallow it, end the process."""
        self.received = number
        if self._waits or (self.postpones and number == signal.SIGTERM):
            return
        now = time.monotonic()
        if self._ends_since is not None and now - self._ends_since < SAME_STOP:
            return
        self._ends_since = now
        if _is_importing(frame):
            if self.tells:
                os.write(2, f"{message(number, NOTHING_HALF)}\n".encode())
            os._exit(128 + number)
        raise Interrupted(number)

    def wait(self, seconds: float) -> None:
        """Wait for a signal, which raises nothing; only once."""
        self._waits, until = True, 0.0 if self._has_waited else time.monotonic() + seconds
        while self.received is None and time.monotonic() < until:
            time.sleep(0.05)
        self._waits, self._has_waited = False, True


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def listen(tells: bool = True) -> Listener:
    """This process's listener, installed if there is none (signals come to the main thread only).

    Args:
        tells: print what is said during imports; of several processes one does.
    """
    if (listener := current()) is not None:
        return listener
    listener = Listener(tells)
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, listener)
    return listener


def current() -> Listener | None:
    """The listener that is installed."""
    handler = signal.getsignal(signal.SIGTERM)
    return handler if isinstance(handler, Listener) else None


@contextmanager
def kept_when_interrupted(what: Callable[[], str]) -> Iterator[None]:
    """An interruption inside says what is kept, unless something further inside has said it.

    An error that comes behind a signal is that interruption. So is torch's error of a process whose partner has gone
    before the launcher's signal is here, which is waited for.

    Args:
        what: the text.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        if isinstance(stop, Interrupted):
            stop.kept = stop.kept or what()
            raise
        raise Interrupted(signal.SIGINT, what()) from stop
    except Exception as error:
        listener = current()
        if listener is None:
            raise
        if isinstance(error, RuntimeError) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            listener.wait(LAUNCHERS_TIME)
        if listener.received is None:
            raise
        raise Interrupted(listener.received, what()) from error


def message(number: int, kept: str) -> str:
    """The line."""
    name = signal.Signals(number).name
    word = "interrupted" if number == signal.SIGINT else "ended"
    return " ".join(f"{word} by {name}: {kept}".split())


def end_of(stop: BaseException) -> tuple[int, str]:
    """Exit status and line of an interruption."""
    number = stop.number if isinstance(stop, Interrupted) else signal.SIGINT
    return 128 + number, message(number, getattr(stop, "kept", "") or NOTHING_HALF)


def stderr_line(text: str) -> None:
    """Print a line that is there even if the process ends at once."""
    print(text, file=sys.stderr, flush=True)
