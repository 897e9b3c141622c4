"""The cores of this process, and work that is done on a few of them at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
FEW = 2
"""Threads of :func:`on_few_cores`: numpy keeps hardly more of them busy, and each holds memory of its own."""


def available_cores() -> int:
    """Cores that this process may use (fewer than the machine has where it is bound to some)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def few_cores(num_tasks: int) -> int:
    """Threads that :func:`on_few_cores` has for so many tasks."""
    return max(1, min(num_tasks, FEW, available_cores()))


def on_few_cores(function: Callable[..., T], *arguments: Iterable) -> Iterator[T]:
    """``map(function, *arguments)``, the calls on :func:`few_cores` threads; results and errors come in order."""
    tasks = list(zip(*arguments, strict=True))
    if few_cores(len(tasks)) == 1:
        yield from (function(*task) for task in tasks)
        return
    with ThreadPoolExecutor(few_cores(len(tasks))) as pool:
        yield from pool.map(lambda task: function(*task), tasks)
