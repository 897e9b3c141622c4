"""What the benchmarks share: clocks, the machine's own bounds, child processes, and the report of a case.

As a script it is the child: ``measuring.py FILE FUNCTION ARGUMENTS_IN_JSON`` prints in JSON what the function returns.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
TIMES = ("us", "ms", "s")


@dataclass
class Report:
    """What a case found.

    Attributes:
        notes: sentences above the tables.
        figures: ``(what, found, used plainly, times, bound, share)`` each, as text.
        tables: further ones, header first.
        goals: ``dict(what, wanted, found, reached)``; ``reached`` is None where this machine cannot show it.
    """

    notes: list[str] = field(default_factory=list)
    figures: list[list[str]] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)
    goals: list[dict] = field(default_factory=list)

    def figure(
        self,
        what: str,
        found: float,
        unit: str,
        plain: float | None = None,
        bound: float | None = None,
        bound_is: str = "",
    ) -> None:
        """A number beside that of the plain way and this machine's bound, all in ``unit``.

        A unit of time is better small, any other is a rate and better large.
        """

        def better(a: float, b: float) -> float:
            return b / a if unit in TIMES else a / b

        times = "" if plain is None else f"{better(found, plain):.2f}"
        share = "" if bound is None else f"{100 * better(found, bound):.3g} %"
        of = "" if bound is None else f"{number(bound)} {unit}, {bound_is}"
        self.figures.append(
            [what, f"{number(found)} {unit}", "" if plain is None else f"{number(plain)} {unit}", times, of, share]
        )

    def table(self, headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of another kind."""
        self.tables.append([[str(cell) for cell in row] for row in (headers, *rows)])

    def goal(self, what: str, wanted: str, found: str, reached: bool | None) -> None:
        """A goal and what was found."""
        self.goals.append(
            dict(what=what, wanted=wanted, found=found, reached=None if reached is None else bool(reached))
        )

    def at_least(self, what: str, wanted: float, found: float, unit: str = "x", can_show: bool = True) -> None:
        """:meth:`goal` of a number that should be large."""
        self.goal(what, f">= {wanted:g} {unit}", f"{found:.3g} {unit}", found >= wanted if can_show else None)

    def at_most(self, what: str, wanted: float, found: float, unit: str) -> None:
        """:meth:`goal` of a number that should be small."""
        self.goal(what, f"<= {wanted:g} {unit}", f"{found:.3g} {unit}", found <= wanted)

    def markdown(self) -> str:
        """Notes and tables."""
        head = ["what", "here", "used plainly", "times", "bound of this machine", "share of it"]
        tables = [[head, *self.figures]] if self.figures else []
        return "\n\n".join([*self.notes, *(markdown_table(rows[0], rows[1:]) for rows in (*tables, *self.tables))])


def number(value: float) -> str:
    """Three digits that mean something, thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; empty columns are left out."""
    used = [i for i, name in enumerate(headers) if any(row[i] != "" for row in rows) or not rows]
    lines = [[headers[i] for i in used], *([str(row[i]) for i in used] for row in rows)]
    text = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([text[0], "|" + "---|" * len(used), *text[1:]])


# ---------------------------------------------------------------------------------------------------------- clocks


def process_seconds() -> float:
    """Processor time of this process so far, all threads, in user code and in the system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def seconds(run: Callable[[], object], repeats: int, warm_up: int = 1, device: str = "cpu") -> float:
    """Time of a call, the least of ``repeats`` behind ``warm_up`` that do not count.

    On a GPU a call is timed by CUDA events on its stream; the host waits for the device behind the last one only.
    """
    for _ in range(warm_up):
        run()
    if device == "cpu":
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        return min(taken)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
    torch.cuda.synchronize()
    for start_event, end_event in events:
        start_event.record()
        run()
        end_event.record()
    torch.cuda.synchronize()
    return min(start_event.elapsed_time(end_event) for start_event, end_event in events) / 1000


def fastest(
    runs: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float] = process_seconds
) -> list[float]:
    """Seconds of the fastest call of each, the calls interleaved, so that a busy machine disturbs all alike."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        for side, run in enumerate(runs):
            start = clock()
            run()
            best[side] = min(best[side], clock() - start)
    return best


def where_time_goes(run: Callable[[], object], most: int = 6) -> str:
    """The operations of torch that take most of a call's processor time, each without those inside it, in percent."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        run()
    events = sorted(profile.key_averages(), key=lambda event: event.self_cpu_time_total, reverse=True)
    whole = sum(event.self_cpu_time_total for event in events)
    shares = [(event.key.removeprefix("aten::"), 100 * event.self_cpu_time_total / whole) for event in events[:most]]
    return ", ".join(
        f"{'compiled parts' if 'CompiledFxGraph' in name else name} {share:.0f} %" for name, share in shares
    )


def best_of_rounds(run: Callable[[str, str], dict], sides: Sequence[tuple[str, str]], rounds: int) -> dict:
    """(side, precision) -> what ``run`` found of it in the round in which it was fastest (had the least "seconds").

    The sides of a round run one after another, so that a machine that is now faster, now slower shows it to all.
    """
    found: dict[tuple[str, str], dict] = {}
    for _ in range(rounds):
        for key in sides:
            result = run(*key)
            if key not in found or result["seconds"] < found[key]["seconds"]:
                found[key] = result
    return found


# ------------------------------------------------------------------------------ bounds, measured where they are used


@functools.cache
def matmul_rate(dtype: torch.dtype = torch.float32, device: str = "cpu", size: int = 2048) -> float:
    """Floating point operations a second of a matrix product, with torch's threads."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    with torch.no_grad():
        return 2 * size**3 / seconds(lambda: a @ b, 5, warm_up=2, device=device)


@functools.cache
def copy_rate(mebibytes: int = 256) -> float:
    """Bytes a second that a copy reads and writes (two for each byte copied), with torch's threads."""
    a = torch.zeros(mebibytes << 20, dtype=torch.uint8)
    b = torch.zeros_like(a)
    return 2 * a.nbytes / seconds(lambda: b.copy_(a), 5)


def decode_rate(paths: Sequence[str | Path], size: tuple[int, int]) -> float:
    """Images a second that Pillow decodes and resizes (Lanczos) to (height, width) on one core, nothing else done."""

    def decode() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.convert("RGB").resize(size[::-1], Image.Resampling.LANCZOS)

    return len(paths) / seconds(decode, 3)


def has_bf16_instructions() -> bool:
    """Whether the processor multiplies bfloat16 itself (False where that cannot be found out)."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags


def precisions() -> tuple[str, ...]:
    """Those worth timing here: an emulated bfloat16 takes a multiple of float32's time."""
    return ("float32", "bfloat16") if has_bf16_instructions() else ("float32",)


def machine() -> list[tuple[str, str]]:
    """What the numbers depend on: (name, value) of processor, cores, memory, versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    gpu = "none"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    packages = ("torch", "torchvision", "mmengine", "numpy", "pillow")
    return [
        ("processor", _processor()),
        ("cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        ("bfloat16 instructions", "yes" if has_bf16_instructions() else "none found"),
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


# --------------------------------------------------------------------------------------------------------- children


def child_command(function: Callable, **arguments: Any) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a process that calls ``function`` (of a module's top level) and prints the result."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH")) if p)
    file = str(Path(inspect.getfile(function)).resolve())
    return [sys.executable, __file__, file, function.__name__, json.dumps(arguments, default=str)], environment


def in_child(
    function: Callable,
    *,
    num_threads: int | None = None,
    limit: float | None = None,
    environment: dict[str, str] | None = None,
    **arguments: Any,
) -> Any:
    """Call ``function(**arguments)`` in a process of its own, by way of JSON; what it returned.

    The sides of a comparison have nothing in common then: no memory, no settings, no caches.

    Args:
        num_threads: of numerical libraries.
        limit: seconds; a process that takes longer is ended with all that it started.
        environment: variables on top of this process's.

    Raises:
        RuntimeError: it failed, with the end of what it wrote, or took too long.
    """
    command, variables = child_command(function, **arguments)
    if num_threads is not None:
        variables |= dict(OMP_NUM_THREADS=str(num_threads), MKL_NUM_THREADS=str(num_threads))
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, env=variables | (environment or {}), start_new_session=True
    )
    try:
        out, err = child.communicate(timeout=limit)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise RuntimeError(f"{function.__name__} took longer than its {limit:g} s") from None
        raise
    if child.returncode != 0:
        raise RuntimeError(f"{function.__name__} ended with {child.returncode}:\n{(out + err).strip()[-3000:]}")
    return json.loads(out.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.argv[1]).parent)
    called = getattr(importlib.import_module(Path(sys.argv[1]).stem), sys.argv[2])
    result = called(**json.loads(sys.argv[3]))
    result = json.dumps(asdict(result) if is_dataclass(result) else result)
    print("\n" + result, flush=True)
