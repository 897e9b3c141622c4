"""RegDB's published number is a mean over ten splits: train, test and average them.

python tools/analysis_tools/regdb_splits.py configs/mscm_regdb.py
python tools/analysis_tools/regdb_splits.py configs/mscm_regdb.py --checkpoints 'runs/split{split}/best.pth'

Started again, it leaves out splits that have results and resumes one that was cut off. Several machines may share the
work: --splits 1 2 3 here, --splits 4 5 there, and at the end once more with all, on one work folder.
"""

from __future__ import annotations

import argparse

from mscmreid.command_line import run_tool, tool_parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--rerank", "--flip", "--cfg-options", "--launcher", "--local-rank")
    parser.add_argument("config", help="config file on RegDB")
    parser.add_argument(
        "--checkpoints", metavar="PATTERN", help="test these, {split} for the number; nothing is trained"
    )
    parser.add_argument(
        "--splits", nargs="+", type=int, default=list(range(1, 11)), metavar="N", help="default: 1 to 10"
    )
    parser.add_argument(
        "--which", default="best", choices=["best", "last"], help="the epoch to test after training (default: best)"
    )
    parser.add_argument("--work-dir", help="folder of the splits' folders (default: work_dirs/NAME_OF_CONFIG)")
    args = parser.parse_args(argv)
    if any(key.split(".")[-1] == "split_id" for key in args.cfg_options):
        parser.error("split_id is set for each split: choose with --splits")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import load_config
    from mscmreid.engine.runner.processes import leave_group
    from mscmreid.experiments.regdb_splits import regdb_splits

    regdb_splits(
        load_config(args.config, args.cfg_options),
        splits=args.splits,
        checkpoints=args.checkpoints,
        which=args.which,
        work_dir=args.work_dir,
        rerank=args.rerank,
        flip=args.flip,
        launcher=args.launcher,
    )
    leave_group()


if __name__ == "__main__":
    run_tool(main)
