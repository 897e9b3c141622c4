"""Runs functions in several processes that are joined by gloo, and in one, and keeps what they return."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

Case = Callable[[Path], Any]


def run_in_processes(cases: Sequence[Case], world_size: int, folder: Path) -> list[dict[str, Any]]:
    """What each case returned in every rank: a list by rank of dicts by the case's name.

    All cases run one after another in the same processes, because starting one takes seconds. A case that raised has
    the text of the traceback as a ``RuntimeError``; the cases behind it are not run.

    Args:
        cases: importable functions of the folder; what they return must fit in a file of tensors, numbers, strings
            and containers.
        world_size: number of processes.
        folder: where the processes meet and leave their results.
    """
    mp.start_processes(_work, (cases, world_size, folder), nprocs=world_size, start_method="forkserver")
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(world_size)]


def _work(rank: int, cases: Sequence[Case], world_size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=120),
    )
    found: dict[str, Any] = {}
    for case in cases:
        try:
            found[case.__name__] = case(folder)
        except Exception:
            found["error"] = f"{case.__name__}: {traceback.format_exc()}"
            break
    torch.save(found, folder / f"rank{rank}.pt")
    if "error" not in found:  # the other rank may wait in a collective of the case that failed here
        dist.barrier()
    dist.destroy_process_group()
