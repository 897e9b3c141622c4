"""What a run needs from the machine: process groups, threads, how workers start."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from datetime import timedelta

import torch
import torch.distributed as dist

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
PRELOAD = ["torch", "PIL.Image", "mscmreid.datasets"]
"""What the server that data workers are forked from has imported already."""


def start_method() -> str:
    """How data workers start: 'forkserver', or 'spawn' where there is none.

    A plain fork of a process with threads may dead-lock, and Python 3.12 and later warn about it. The fork server
    has no threads and has imported torch once for all workers.
    """
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def preload_workers(at_once: bool = False) -> None:
    """Let the fork server import torch and the data sets once, before the first worker asks for them.

    Args:
        at_once: start it now, so that it imports while this process goes on with its own start.
    """
    if start_method() == "forkserver":
        multiprocessing.set_forkserver_preload(PRELOAD)
        if at_once:
            from multiprocessing import forkserver

            forkserver.ensure_running()


def limit_threads(num_local_processes: int) -> int:
    """Share the cores among this machine's processes, where the user has not said how (``OMP_NUM_THREADS``).

    Returns:
        Threads of this process.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        share = max(1, (os.cpu_count() or 1) // max(1, num_local_processes))
        os.environ["OMP_NUM_THREADS"] = str(share)
        torch.set_num_threads(share)
    os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    return torch.get_num_threads()


def rank_variables(launcher: str) -> dict[str, str]:
    """``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT`` as the launcher tells them.

    Args:
        launcher: 'pytorch' (torchrun), 'slurm' or 'mpi' (Open MPI).

    Raises:
        ValueError: another launcher, or a variable that this launcher sets is missing.
    """
    names = {
        "pytorch": dict(RANK="RANK", LOCAL_RANK="LOCAL_RANK", WORLD_SIZE="WORLD_SIZE"),
        "slurm": dict(RANK="SLURM_PROCID", LOCAL_RANK="SLURM_LOCALID", WORLD_SIZE="SLURM_NTASKS"),
        "mpi": dict(
            RANK="OMPI_COMM_WORLD_RANK", LOCAL_RANK="OMPI_COMM_WORLD_LOCAL_RANK", WORLD_SIZE="OMPI_COMM_WORLD_SIZE"
        ),
    }
    if launcher not in names:
        raise ValueError(f"launcher must be one of {LAUNCHERS[1:]}, found {launcher!r}")
    missing = [source for source in names[launcher].values() if source not in os.environ]
    if missing:
        raise ValueError(
            f"--launcher {launcher} expects the environment variables {list(names[launcher].values())}, "
            f"not set: {missing}. Start the run with {_how_to_start(launcher)}."
        )
    variables = {name: os.environ[source] for name, source in names[launcher].items()}
    variables["MASTER_PORT"] = os.environ.get("MASTER_PORT", "29500")
    variables["MASTER_ADDR"] = os.environ.get("MASTER_ADDR") or _first_host(launcher)
    return variables


def launcher_rank(launcher: str) -> int:
    """This process's number among those of its run, before they are joined; see :func:`rank_variables`."""
    return 0 if launcher == "none" else int(rank_variables(launcher)["RANK"])


def _how_to_start(launcher: str) -> str:
    return {
        "pytorch": "tools/dist_train.sh CONFIG GPUS (torchrun)",
        "slurm": "tools/slurm_train.sh PARTITION JOB CONFIG (srun)",
        "mpi": "mpirun",
    }[launcher]


def _first_host(launcher: str) -> str:
    if launcher == "slurm" and (nodes := os.environ.get("SLURM_NODELIST")):
        found = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True)
        return found.stdout.split()[0]
    return "127.0.0.1"


def init_cpu_group(launcher: str, timeout: int = 1800) -> None:
    """Join the process group of a run without GPUs (gloo).

    MMEngine's own set-up asks for a CUDA device in every process, so runs on the CPU are joined here first.

    Args:
        launcher: see :func:`rank_variables`.
        timeout: seconds that a collective may wait.
    """
    os.environ.update(rank_variables(launcher))
    dist.init_process_group("gloo", timeout=timedelta(seconds=timeout))


def peak_memory_mib(device: torch.device | None = None) -> int:
    """Largest memory so far in MiB: tensors on the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated(device) >> 20
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
    return peak >> (20 if sys.platform == "darwin" else 10)


def leave_group() -> None:
    """Leave the process group, if this process is in one; a tool's last act.

    The threads of a group that is still there when its process ends can abort it. The launcher takes that for a
    failure and ends the other processes, of which the main one may still be writing the last checkpoint.
    """
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
