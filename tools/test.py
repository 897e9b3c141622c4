"""Test a checkpoint under every protocol of its config: python tools/test.py configs/mscm_sysu.py CHECKPOINT"""

from __future__ import annotations

import argparse

from mscmreid.command_line import run_tool, tool_parser


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(
        __doc__, "--work-dir", "--rerank", "--flip", "--precision", "--cfg-options", "--launcher", "--local-rank"
    )
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "checkpoint", help="checkpoint file, or the word 'untrained' for the network as it is initialised"
    )
    parser.add_argument("--out-features", metavar="F.npz", help="keep the features of all test images in this file")
    parser.add_argument(
        "--out-json", metavar="R.json", help="results file (default: test_CHECKPOINT.json in the work folder)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import load_config, test
    from mscmreid.engine.runner.processes import leave_group

    test(
        load_config(args.config, args.cfg_options),
        args.checkpoint,
        work_dir=args.work_dir,
        out_features=args.out_features,
        out_json=args.out_json,
        rerank=args.rerank,
        flip=args.flip,
        precision=args.precision,
        launcher=args.launcher,
    )
    leave_group()


if __name__ == "__main__":
    run_tool(main)
