"""Train and test several configs with several seeds, and put their numbers into one table.

python tools/analysis_tools/ablate.py configs/agw_synthetic.py configs/mscm_synthetic.py --seeds 0 1

Each run has its folder, WORK_DIR/CONFIG/seed_N. Started again, what has results is left out and what was cut off goes
on from its last checkpoint. WORK_DIR/ablation.md, .csv and .png hold mean and standard deviation over the seeds,
parameters, operations and training time.

On a cluster: --print-commands prints one command for each run that is not finished, to be started as jobs of their own;
when they are done, --table-only writes the table.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser

TOOLS = Path(__file__).resolve().parents[1]


def make_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__doc__, "--cfg-options")
    parser.add_argument("configs", nargs="+", help="config files; the table has a row for each, in this order")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="default: 0")
    parser.add_argument("--work-dir", default="work_dirs/ablate", help="of runs and table (default: %(default)s)")
    parser.add_argument(
        "--which", default="last", choices=["last", "best"], help="the epoch to test after training (default: last)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time on this machine (default: 1)")
    parser.add_argument("--feature", help="feature to report (default: the first one that each config names)")
    parser.add_argument("--baseline", metavar="NAME", help="config whose numbers the others' differences are given to")
    parser.set_defaults(cfg_options_texts=[])
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--print-commands", action="store_true", help="print a command for each run, run nothing")
    only.add_argument("--table-only", action="store_true", help="write the table of what is finished, run nothing")
    only.add_argument("--no-table", action="store_true", help="run, write no table")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 if a run failed."""
    args = make_parser().parse_args(argv)
    from mscmreid.experiments.runs import is_finished, job_command, plan_runs, run_all

    if "randomness.seed" in args.cfg_options:
        raise ValueError("the seed is set for each run: choose with --seeds")
    runs = plan_runs(args.configs, args.seeds, args.work_dir, args.cfg_options_texts, args.cfg_options, args.which)
    if args.print_commands:
        print(
            "\n".join(
                job_command(run, os.path.relpath(__file__), args.work_dir) for run in runs if not is_finished(run)
            )
        )
        return 0
    failures = [] if args.table_only else run_all(runs, TOOLS, args.jobs, lambda line: print(line, flush=True))
    if not args.no_table:
        write(args, runs, argv)
    if failures:
        print(f"{len(failures)} of {len(runs)} runs failed, see above; start again to go on", file=sys.stderr)
    return 1 if failures else 0


def write(args: argparse.Namespace, runs: list, argv: list[str] | None) -> None:
    """Write and print the table."""
    from mscmreid.experiments.table import collect_rows, markdown, write_table

    rows = collect_rows(runs, args.feature)
    command = shlex.join(["python", "tools/analysis_tools/ablate.py", *(sys.argv[1:] if argv is None else argv)])
    notes = [
        f"Made on {time.strftime('%Y-%m-%d')} by `{command}`: mean ± standard deviation over the seeds (of a seed, the "
        f"mean over the gallery draws), the {args.which} epoch of each training, tested on "
        f"{', '.join(sorted({r.dataset for row in rows for v in row.results.values() for r in v})) or 'nothing yet'}."
    ]
    if args.baseline:
        notes += ["", f"In parentheses: difference to {args.baseline}."]
    print(markdown(rows, notes, args.baseline))
    try:
        write_table(rows, args.work_dir, notes, args.baseline)
    except ImportError as error:
        print(f"no plot was made: {error}", file=sys.stderr)
    print(f"table: {Path(args.work_dir, 'ablation.md')}, .csv, .png")


def end(*_: object) -> None:
    """A cluster's SIGTERM ends the children too."""
    raise SystemExit(143)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    run_tool(main)
