"""Train and test several configs with several seeds, on several splits, and put their numbers into one table.

python tools/analysis_tools/ablate.py configs/agw_synthetic.py configs/mscm_synthetic.py --seeds 0 1
python tools/analysis_tools/ablate.py configs/mscm_regdb.py --splits --which best
python tools/analysis_tools/ablate.py configs/mscm_regdb.py --splits --checkpoints 'runs/split{split}/best.pth'

Each run has its folder, WORK_DIR/CONFIG/seed_N, with splits seed_N/split_M. Started again, what has results is left out
and what was cut off goes on from its last checkpoint. WORK_DIR/ablation.md, .csv and .png hold mean and standard
deviation over the seeds, parameters, operations and training time; with --baseline also the paired test of every config
against its base, which says which steps are real. RegDB's published number is the mean over ten splits, each a
training: seed_N/splits_best.txt and .json have it with every split.

Several machines may share the work on one folder: --splits 1 2 3 here, --splits 4 5 there (or other seeds), and at the
end once more with all. On a cluster: --print-commands prints one command for each run that is not finished, to be
started as jobs of their own; when they are done, --table-only writes the table.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.interruption import kept_when_interrupted
from mscmreid.openmmlab_options import add_config_switches

TOOLS = Path(__file__).resolve().parents[1]
ALL_SPLITS = list(range(1, 11))


def make_parser() -> argparse.ArgumentParser:
    parser = tool_parser(__doc__, "--cfg-options")
    parser.add_argument("configs", nargs="+", help="config files; the table has a row for each, in this order")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="default: 0")
    parser.add_argument(
        "--splits",
        nargs="*",
        type=int,
        metavar="N",
        help="RegDB's splits; without numbers all ten (default: the split that the config says)",
    )
    parser.add_argument("--work-dir", default="work_dirs/ablate", help="of runs and table (default: %(default)s)")
    parser.add_argument(
        "--which", default="last", choices=["last", "best"], help="the epoch to test after training (default: last)"
    )
    parser.add_argument(
        "--checkpoints",
        metavar="PATTERN",
        help="test these, {config}, {seed}, {split} for name and numbers; nothing is trained",
    )
    parser.add_argument("--rerank", action="store_true", help="add k-reciprocal re-ranked rows to the results")
    parser.add_argument("--flip", action="store_true", help="add the features of the mirrored images")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time on this machine (default: 1)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="of each run, one a GPU (default: 1)")
    parser.add_argument("--feature", help="feature to report (default: the first one that each config names)")
    parser.add_argument(
        "--baseline",
        nargs="+",
        default=[],
        metavar="NAME",
        help="config that the others are compared with, in a paired test; CONFIG=NAME: another one for that config",
    )
    parser.set_defaults(cfg_options_texts=[])
    add_config_switches(
        parser.add_argument_group("as in other OpenMMLab projects"), "--auto-scale-lr", "--deterministic"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--print-commands", action="store_true", help="print a command for each run, run nothing")
    only.add_argument("--table-only", action="store_true", help="write the table of what is finished, run nothing")
    only.add_argument("--no-table", action="store_true", help="run, write no table")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 if a run failed."""
    args = make_parser().parse_args(argv)
    from mscmreid.experiments.runs import Plan, is_finished, job_command, run_all

    if "randomness.seed" in args.cfg_options:
        raise ValueError("the seed is set for each run: choose with --seeds")
    splits = () if args.splits is None else args.splits or ALL_SPLITS
    names = ("configs", "work_dir", "seeds", "which", "checkpoints", "rerank", "flip")
    given = {name: getattr(args, name) for name in names}
    plan = Plan(**given, splits=splits, options=args.cfg_options_texts, values=args.cfg_options)
    runs = plan.runs(need_checkpoints=not args.table_only)
    if args.print_commands:
        script = os.path.relpath(__file__)
        print("\n".join(job_command(run, script, args.processes) for run in runs if not is_finished(run)))
        return 0
    failures = []
    if not args.table_only:
        kept = (
            f"{args.work_dir} keeps what is finished and the last checkpoint of what is not; the same command goes on"
        )
        with kept_when_interrupted(lambda: kept):
            failures = run_all(runs, TOOLS, args.jobs, lambda line: print(line, flush=True), args.processes)
    if not args.no_table:
        write(args, runs, argv)
    if failures:
        print(f"{len(failures)} of {len(runs)} runs failed, see above; start again to go on", file=sys.stderr)
    return 1 if failures else 0


def write(args: argparse.Namespace, runs: list, argv: list[str] | None) -> None:
    """Write and print the tables."""
    from mscmreid.experiments.paired import choose_bases, paired_tables
    from mscmreid.experiments.table import collect_rows, markdown, write_splits, write_table

    for path in write_splits(runs):
        print(f"\n{path.read_text(encoding='utf-8')}\nresults: {path.with_suffix('.json')} and .txt\n")
    rows = collect_rows(runs, args.feature)
    bases = choose_bases([row.name for row in rows], args.baseline)
    tests = paired_tables(runs, bases, args.feature) if bases else ""
    command = shlex.join(["python", "tools/analysis_tools/ablate.py", *(sys.argv[1:] if argv is None else argv)])
    over = "splits" if args.splits is not None else "gallery draws"
    tested = "the given checkpoints" if args.checkpoints else f"the {args.which} epoch of each training"
    results = [result for row in rows for found in row.results.values() for result in found]
    datasets = ", ".join(sorted({result.dataset for result in results})) or "nothing yet"
    notes = [
        f"Made on {time.strftime('%Y-%m-%d')} by `{command}`: mean ± standard deviation over the seeds (of a seed, the "
        f"mean over the {over}), {tested}, tested on {datasets}."
    ]
    if bases:
        each = ", ".join(dict.fromkeys(bases.values()))
        told = "the config that the tests below name" if len(set(bases.values())) > 1 else each
        notes += ["", f"In parentheses: difference to {told}."]
    print(markdown(rows, notes, bases, tests))
    try:
        write_table(rows, args.work_dir, notes, bases, tests)
    except ImportError as error:
        print(f"no plot was made: {error}", file=sys.stderr)
    print(f"table: {Path(args.work_dir, 'ablation.md')}, .csv, .png")


if __name__ == "__main__":
    run_tool(main)
