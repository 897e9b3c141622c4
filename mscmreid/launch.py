"""torchrun as the tools start it: ``python -m mscmreid.launch OPTIONS SCRIPT ARGUMENTS``, with the options of torchrun.

The processes of a run tell themselves what went wrong and what is kept, in one line. torchrun would put its own
traceback behind that and end with status 1; this ends with the status of the run and tells only what no process could:
that one of them was killed.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import NoReturn

from mscmreid.interruption import end_of, listen, stderr_line

ROUTINE = ("Received %s death signal", "Sending process %s", "failed (exitcode: %s)")
"""How torchrun's log lines on processes that end begin."""
LOGGERS = ("agent.server.api", "multiprocessing.api")
VALIDATION = "600"
"""Seconds that the processes of a preemptible training may take to end: a validation is waited for."""


def told(statuses: Mapping[int, int]) -> tuple[int, str]:
    """Exit status of a run, and what its processes could not tell ('' if they could).

    Args:
        statuses: process number -> exit status of those that failed; -N where signal N ended one.
    """
    ended_by_launcher = (-signal.SIGTERM, 128 + signal.SIGTERM)
    causes = {rank: status for rank, status in statuses.items() if status not in ended_by_launcher}
    if not causes:
        return 128 + signal.SIGTERM, ""
    rank, status = min(causes.items(), key=lambda item: (item[1] >= 0, item[0]))  # who was killed before who fell over
    if status >= 0:
        return status, ""
    name = signal.Signals(-status).name
    why = " (often because memory ran out)" if -status == signal.SIGKILL else ""
    return 128 - status, f"error: process {rank} was ended by {name}{why}, and the others with it"


def main(arguments: list[str]) -> NoReturn:
    """Start the processes, wait for them, and end with the status of the run.

    Args:
        arguments: of torchrun.
    """
    listen()
    try:
        from torch.distributed import run
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        for name in LOGGERS:
            logger = logging.getLogger(f"torch.distributed.elastic.{name}")
            logger.addFilter(lambda record: not str(record.msg).startswith(ROUTINE))
        if "--preemptible" in arguments:
            os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", VALIDATION)
        try:
            run.run(run.parse_args(arguments))
            status = 0
        except SignalException as stop:  # the processes have got it too, and told it
            status = 128 + stop.sigval
        except ChildFailedError as error:
            status, line = told({rank: failure.exitcode for rank, failure in error.failures.items()})
            if line:
                stderr_line(line)
    except KeyboardInterrupt as stop:
        status, line = end_of(stop)
        stderr_line(line)
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
