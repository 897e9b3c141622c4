"""Test a checkpoint under every protocol of its config: python tools/test.py configs/mscm_sysu.py CHECKPOINT

--corruptions also tests it on corrupted images (docs/conditions.md): a table by family, a chart by severity. A test
that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse

from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.openmmlab_options import add_test_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(
        __doc__, "--work-dir", "--rerank", "--flip", "--precision", "--cfg-options", "--launcher", "--local-rank"
    )
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "checkpoint", help="checkpoint file, or the word 'untrained' for the network as it is initialised"
    )
    parser.add_argument(
        "--out-features",
        type=out_file(".npz"),
        metavar="F.npz",
        help="keep the features of all test images in this file",
    )
    parser.add_argument(
        "--out-json",
        type=out_file(".json"),
        metavar="R.json",
        help="results file (default: test_CHECKPOINT.json in the work folder)",
    )
    bad = parser.add_argument_group("bad conditions")
    bad.add_argument(
        "--corruptions", nargs="*", metavar="NAME", help="names or families; without one, the twenty of the protocol"
    )
    bad.add_argument("--severities", nargs="+", type=int, metavar="N", help="default: 1 2 3 4 5")
    bad.add_argument("--corrupt", choices=["visible", "infrared", "both"], help="whose images (default: visible)")
    add_test_options(parser)
    args = parser.parse_args(argv)
    if args.corruptions is None and (args.severities or args.corrupt):
        parser.error("--severities and --corrupt go with --corruptions")
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import load_config, test, test_conditions
    from mscmreid.corruptions import SEVERITIES
    from mscmreid.engine.runner.processes import leave_group

    cfg = load_config(args.config, args.cfg_options)
    names = ("work_dir", "out_features", "out_json", "rerank", "flip", "precision", "launcher")
    options = {name: getattr(args, name) for name in names}
    for name in ("out_features", "out_json"):  # into the config, which holds plain values
        options[name] = None if options[name] is None else str(options[name])
    if args.corruptions is None:
        test(cfg, args.checkpoint, **options)
    else:
        test_conditions(
            cfg,
            args.checkpoint,
            args.corruptions or ["all"],
            args.severities or SEVERITIES,
            args.corrupt or "visible",
            **options,
        )
    leave_group()


if __name__ == "__main__":
    run_tool(main)
