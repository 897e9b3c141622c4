"""Every benchmark, one after another, as one Markdown page.

    python tools/benchmarks/run_all.py [--quick] [--only NAME ...] [--threads 2] [--out docs/benchmarks.md]

Run it on a machine that does nothing else: about 30 minutes on two cores, about 8 with --quick (smaller sizes, nothing
is compiled). Each benchmark is a script beside this one that can be run alone; what its last run printed stands in the
page, below a table of the goals.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from measuring import GOAL_PREFIX, machine

from mscmreid.fileio import written_atomically

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Benchmark:
    """A script of this folder; its title in the page, and its arguments in a full and in a quick run."""

    script: str
    title: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    sized_by_threads: bool = False

    @property
    def name(self) -> str:
        return self.script.removesuffix(".py") + ("_small" if "--small" in self.full else "")


BENCHMARKS = (
    Benchmark("data_path.py", "From files to views", quick=("--images", "96", "--batches", "30")),
    Benchmark("views.py", "Views", quick=("--repeats", "7")),
    Benchmark("losses.py", "Losses", quick=("--repeats", "8")),
    Benchmark(
        "training_step.py",
        "Training step",
        full=("--compile",),
        quick=("--instances", "1", "--steps", "1", "--rounds", "1"),
        sized_by_threads=True,
    ),
    Benchmark(
        "training_step.py",
        "Training step of a small network",
        full=("--small",),
        quick=("--small", "--steps", "2", "--rounds", "1"),
        sized_by_threads=True,
    ),
    Benchmark(
        "extraction.py",
        "Feature extraction",
        quick=("--no-compile", "--images", "8", "--batches", "1", "--rounds", "1"),
        sized_by_threads=True,
    ),
    Benchmark("precision.py", "Half precision", quick=("--max-epochs", "1", "--frames", "6"), sized_by_threads=True),
    Benchmark("folder_extraction.py", "Features of a large folder", quick=("--images", "20000")),
    Benchmark("start_up.py", "Start of training"),
    Benchmark("overhead.py", "The platform, per iteration", quick=("--iterations", "500")),
    Benchmark("ranking.py", "Ranking", quick=("--repeats", "1")),
)


def run(benchmark: Benchmark, quick: bool, threads: int) -> tuple[str, list[dict], float]:
    """What it printed (without its goals), its goals, and seconds; a failure is part of the page, not its end."""
    arguments = benchmark.quick if quick else benchmark.full
    if benchmark.sized_by_threads:
        arguments = (*arguments, "--threads", str(threads))
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), environment.get("PYTHONPATH")) if p)
    start = time.perf_counter()
    command = [sys.executable, str(HERE / benchmark.script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    taken = time.perf_counter() - start
    lines = [line for line in done.stdout.splitlines() if " - mmengine - " not in line]
    goals = [json.loads(line.removeprefix(GOAL_PREFIX)) for line in lines if line.startswith(GOAL_PREFIX)]
    text = "\n".join(line for line in lines if not line.startswith(GOAL_PREFIX)).strip()
    if done.returncode != 0:
        print(done.stderr[-3000:], file=sys.stderr)
        text += f"\n\n**failed** (exit code {done.returncode}): {done.stderr.strip().splitlines()[-1:]}"
        goals.append(dict(what=benchmark.name, wanted="runs", found="failed", reached=False))
    called = " ".join(["python", f"tools/benchmarks/{benchmark.script}", *arguments])
    return f"`{called}` ({taken:.0f} s)\n\n{text}", goals, taken


def page(sections: list[tuple[str, str]], goals: list[dict], quick: bool, load: float) -> str:
    """The Markdown page."""
    words = {True: "yes", False: "**no**", None: "not measurable here"}
    lines = [
        "# Benchmarks",
        "",
        f"Made by `python tools/benchmarks/run_all.py{' --quick' if quick else ''}` on "
        f"{datetime.date.today().isoformat()}; load of the machine before the start: {load:.1f}. "
        "Sides of a comparison ran in one run. What is compared is said at the head of each script; what follows from "
        "it, in [performance.md](performance.md).",
        "",
        "| machine | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in machine()),
        "",
        "## Goals",
        "",
        "| goal | wanted | found | reached |",
        "|---|---|---|---|",
        *(f"| {g['what']} | {g['wanted']} | {g['found']} | {words[g['reached']]} |" for g in goals),
        "",
    ]
    if any(g["reached"] is None for g in goals):
        lines += [
            "Not measurable here: the goal is for processors with bfloat16 instructions, which this one has not; it "
            "multiplies bfloat16 by way of float32.",
            "",
        ]
    for title, text in sections:
        lines += [f"## {title}", "", text, ""]
    return "\n".join(lines)


def main() -> None:
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the network")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    sections, goals = [], []
    for benchmark in (b for b in BENCHMARKS if b.name in args.only):
        print(f"{benchmark.name} ...", flush=True)
        text, found, taken = run(benchmark, args.quick, args.threads)
        sections.append((benchmark.title, text))
        goals += found
        print(f"{benchmark.name}: {taken:.0f} s", flush=True)
        with written_atomically(args.out) as temporary:  # a page after every benchmark
            temporary.write_text(page(sections, goals, args.quick, load), encoding="utf-8")
    print(f"written: {args.out}")
    if any(goal["found"] == "failed" for goal in goals):
        sys.exit("a benchmark failed: see above")


if __name__ == "__main__":
    main()
