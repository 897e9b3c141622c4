"""Memory of maps on a CPU: kept by the process between steps instead of given back and fetched again."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # options of mallopt(3)
LARGEST = 1 << 30  # bytes; blocks from here on still go back to the system


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks of up to a gigabyte for this process's next ones.

    By default it fetches each block of more than 32 MiB from the system and gives it back when it is freed. A network's
    maps are such blocks: the system then clears their pages in every layer of every step, a fifth to a third of the
    time of a step on a CPU. The process holds on to its peak memory in turn.

    The variables ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` do the same, but only where they are set
    before the process starts: a run that no launch script of ours starts would be without.

    Nothing is done where glibc's own settings (``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_TRIM_THRESHOLD_``,
    ``GLIBC_TUNABLES``) or another allocator (``LD_PRELOAD``) were chosen by the user, and on other systems.

    Returns:
        Whether it was set.
    """
    chosen = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
    if not sys.platform.startswith("linux") or any(os.environ.get(name) for name in chosen):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
