"""Train the model of a config: python tools/train.py configs/mscm_sysu.py"""

from __future__ import annotations

import argparse
import os

import mscmreid.registry  # noqa: F401  (an error in there must be seen, not swallowed)


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("--work-dir", help="folder for logs and checkpoints (default: work_dirs/NAME_OF_CONFIG)")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="PATH",
        help="go on from the last intact checkpoint of the work folder, or from PATH",
    )
    parser.add_argument(
        "--amp", nargs="?", const="fp16", choices=["fp16", "bf16", "none"], help="precision, instead of the config's"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="change options of the config"
    )
    parser.add_argument("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"])
    parser.add_argument("--local-rank", "--local_rank", type=int, default=0, help="set by some launchers")
    args = parser.parse_args()
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    from mscmreid.apis import load_config, train
    from mscmreid.engine.runner.processes import leave_group

    cfg = load_config(args.config, args.cfg_options)
    train(cfg, work_dir=args.work_dir, resume=args.resume, amp=args.amp, launcher=args.launcher)
    leave_group()


if __name__ == "__main__":
    main()
