"""Every benchmark, one after another, as one Markdown page: each figure beside the plain way and the machine's bound.

    python tools/benchmarks/run_all.py [--quick] [--only CASE ...] [--threads 2] [--out docs/benchmarks.md]

Run it on a machine that does nothing else: 13 minutes on two cores, fewer with --quick (smaller sizes, nothing is
compiled). With --only the cases' tables are printed and the page is written only where --out names one. A
case is a function ``case(quick, threads) -> Report`` of this folder, run in a process of its own; its docstring says
what is compared.
"""

from __future__ import annotations

import argparse
import datetime
import inspect
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import data
import exported
import galleries
import network
import platform_costs
import ranking
from measuring import ROOT, Report, in_child, machine, markdown_table

from mscmreid.fileio import written_atomically

CASES: dict[str, tuple[Callable[..., Report], str]] = {
    "files": (data.files, "From files to views"),
    "views": (data.views, "Views"),
    "losses": (network.losses, "Losses"),
    "step": (network.step, "Training step"),
    "small_step": (network.small_step, "Training step of a small network"),
    "extraction": (network.extraction, "Feature extraction"),
    "exported": (exported.exported, "Exported models"),
    "precision": (network.precision, "Half precision"),
    "precision_systems": (network.precision_systems, "Half precision of every system"),
    "folder": (data.folder, "Features of a large folder"),
    "start": (platform_costs.start, "Start of training"),
    "overhead": (platform_costs.overhead, "The platform, per iteration"),
    "ranking": (ranking.ranking, "Ranking"),
    "large_gallery": (ranking.large_gallery, "Ranking a large gallery"),
    "engines": (galleries.engines, "Engines of a gallery"),
    "million": (galleries.million, "A gallery of a million rows"),
}
ASKED_FOR = ("precision", "precision_systems", "large_gallery", "engines", "million")
"""Cases that run only when they are named: studies, which take long and say little of the machine."""
LIMIT, LIMIT_ASKED_FOR = 600, 7200
"""Seconds after which a case is given up."""


def run(name: str, quick: bool, threads: int) -> tuple[Report, float]:
    """A case's report and seconds; a failure is part of the page, not its end."""
    start = time.perf_counter()
    try:
        limit = LIMIT_ASKED_FOR if name in ASKED_FOR else LIMIT
        report = Report(**in_child(CASES[name][0], quick=quick, threads=threads, limit=limit))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        report = Report(notes=[f"**failed**: {str(error).splitlines()[-1]}"])
        report.goal(name, "runs", "failed", False)
    return report, time.perf_counter() - start


def section(name: str, report: Report, taken: float) -> str:
    """A case's part of the page."""
    function, title = CASES[name]
    compared = " ".join((inspect.getdoc(function) or "").split())
    return f"## {title}\n\n`--only {name}` ({taken:.0f} s). {compared}\n\n{report.markdown()}\n"


def page(sections: Sequence[str], goals: Sequence[dict], command: str, load: float) -> str:
    """The Markdown page."""
    words = {True: "yes", False: "**no**", None: "not measurable here"}
    rows = [(goal["what"], goal["wanted"], goal["found"], words[goal["reached"]]) for goal in goals]
    head = (
        f"# Benchmarks\n\nMade by `{command}` on {datetime.date.today().isoformat()}; load of the machine before the "
        f"start: {load:.1f}. Sides of a comparison ran in one run, and so did the machine's own bound beside each "
        "figure (same process, same threads); the share says how much of it was reached. What follows from it, in "
        "[performance.md](performance.md)."
    )
    goals_table = markdown_table(("goal", "wanted", "found", "reached"), rows)
    return "\n\n".join([head, markdown_table(("machine", "is"), machine()), f"## Goals\n\n{goals_table}", *sections])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of the network")
    parser.add_argument("--out", type=Path, help="the page (default: docs/benchmarks.md; with --only: none)")
    args = parser.parse_args()
    out = args.out or (None if args.only else ROOT / "docs" / "benchmarks.md")
    load, begun = os.getloadavg()[0], time.perf_counter()
    command = "python tools/benchmarks/run_all.py" + (" --quick" if args.quick else "")
    sections, goals = [], []
    for name in args.only or [name for name in CASES if name not in ASKED_FOR]:
        print(f"{name} ...", flush=True)
        report, taken = run(name, args.quick, args.threads)
        sections.append(section(name, report, taken))
        goals += report.goals
        print(sections[-1] if args.only else f"{name}: {taken:.0f} s", flush=True)
        if out:
            with written_atomically(out) as temporary:  # a page after every case
                temporary.write_text(page(sections, goals, command, load), encoding="utf-8")
    print(f"{time.perf_counter() - begun:.0f} s" + (f", written: {out}" if out else ""))
    if any(goal["found"] == "failed" for goal in goals):
        sys.exit("error: a case failed, see above")


if __name__ == "__main__":
    main()
