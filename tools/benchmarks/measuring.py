"""What the benchmarks share: clocks, the machine in words, tables, goals."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

GOAL_PREFIX = "goal: "
"""A line of a benchmark's output that starts so is not for its table: run_all.py collects these."""


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(headers) + " |")
    print("|" + "---|" * len(headers))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def goal(what: str, wanted: str, found: str, reached: bool | None) -> None:
    """Print a goal and what was found; ``reached`` is None where this machine cannot show it."""
    print(GOAL_PREFIX + json.dumps(dict(what=what, wanted=wanted, found=found, reached=reached)), flush=True)


def at_least(what: str, wanted: float, found: float, unit: str = "x", can_show: bool = True) -> None:
    """:func:`goal` of a number that should be large."""
    goal(what, f">= {wanted:g} {unit}", f"{found:.3g} {unit}", found >= wanted if can_show else None)


def at_most(what: str, wanted: float, found: float, unit: str) -> None:
    """:func:`goal` of a number that should be small."""
    goal(what, f"<= {wanted:g} {unit}", f"{found:.3g} {unit}", found <= wanted)


def process_seconds() -> float:
    """Processor time of this process so far, all threads, in user code and in the system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def seconds(run: Callable[[], object], repeats: int, warm_up: int = 1) -> float:
    """Wall time of a call, the least of ``repeats`` behind ``warm_up`` that do not count."""
    taken = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken[warm_up:])


def fastest(runs: Sequence[Callable[[int], object]], repeats: int) -> list[float]:
    """Processor seconds of the fastest call of each, the calls interleaved; a call is told its number."""
    best = [float("inf")] * len(runs)
    for number in range(repeats):
        for side, run in enumerate(runs):
            start = process_seconds()
            run(number)
            best[side] = min(best[side], process_seconds() - start)
    return best


def best_of_rounds(run: Callable[[str, str], dict], sides: Sequence[tuple[str, str]], rounds: int) -> dict:
    """(side, precision) -> what ``run`` found of it in the round in which it was fastest (had the least "seconds").

    The sides of a round run one after another, so that a machine that is now faster, now slower shows it to all of
    them. An emulated bfloat16 takes a multiple of the others' time and runs in the first round only.
    """
    found: dict[tuple[str, str], dict] = {}
    for number in range(rounds):
        for key in sides:
            if number and key[1] == "bfloat16" and not has_bf16_instructions():
                continue
            result = run(*key)
            if key not in found or result["seconds"] < found[key]["seconds"]:
                found[key] = result
    return found


def matmul_rate(dtype: torch.dtype, size: int = 2048, repeats: int = 4) -> float:
    """The machine's own rate of a matrix product, in floating point operations a second, with torch's threads."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    with torch.no_grad():
        return 2 * size**3 / seconds(lambda: a @ b, repeats)


def has_bf16_instructions() -> bool | None:
    """Whether the processor multiplies bfloat16 itself; None where that cannot be found out."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def in_child(script: str, *arguments: object, threads: int | None = None) -> Any:
    """Run ``script ARGUMENTS`` in a process of its own; what its last line says in JSON.

    The sides of a comparison have nothing in common then: no memory, no settings, no caches.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment |= dict(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    root = str(Path(__file__).resolve().parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (root, environment.get("PYTHONPATH")) if p)
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine() -> list[tuple[str, str]]:
    """What the numbers depend on: (name, value) of processor, cores, memory, versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    bf16 = {True: "yes", False: "no, emulated", None: "unknown"}[has_bf16_instructions()]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    packages = ("torch", "torchvision", "mmengine", "numpy", "pillow")
    return [
        ("processor", _processor()),
        ("cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        ("bfloat16 instructions", bf16),
        ("memory", f"{pages:.0f} GiB"),
        ("GPU", gpu),
        ("system", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in packages)),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
