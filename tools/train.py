"""Train the model of a config: python tools/train.py configs/mscm_sysu.py"""

from __future__ import annotations

import argparse

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.openmmlab_options import add_train_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--work-dir", "--cfg-options", "--launcher", "--local-rank")
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="go on from the last intact checkpoint of the work folder, or from PATH",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="begin anew in a work folder with checkpoints, which are deleted"
    )
    parser.add_argument(
        "--preemptible",
        action="store_true",
        help="on SIGTERM write a checkpoint in mid-epoch, from which --resume goes on to the same bits",
    )
    parser.add_argument(
        "--amp", nargs="?", const="fp16", choices=["fp16", "bf16", "none"], help="precision, instead of the config's"
    )
    add_train_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import load_config, train
    from mscmreid.engine.runner.processes import leave_group

    cfg = load_config(args.config, args.cfg_options)
    names = ("work_dir", "resume", "amp", "launcher", "overwrite", "preemptible")
    train(cfg, **{name: getattr(args, name) for name in names})
    leave_group()


if __name__ == "__main__":
    run_tool(main)
