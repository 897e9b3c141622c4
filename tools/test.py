"""Test a checkpoint under every protocol of its config: python tools/test.py configs/mscm_sysu.py CHECKPOINT"""

from __future__ import annotations

import argparse
import os

import mscmreid.registry  # noqa: F401  (an error in there must be seen, not swallowed)


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "checkpoint", help="checkpoint file, or the word 'untrained' for the network as it is initialised"
    )
    parser.add_argument("--work-dir", help="folder for log and results (default: work_dirs/NAME_OF_CONFIG)")
    parser.add_argument("--out-features", metavar="F.npz", help="keep the features of all test images in this file")
    parser.add_argument(
        "--out-json", metavar="R.json", help="results file (default: test_CHECKPOINT.json in the work folder)"
    )
    parser.add_argument("--rerank", action="store_true", help="add k-reciprocal re-ranked rows")
    parser.add_argument("--flip", action="store_true", help="add the features of the mirrored images")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], help="of the forward pass")
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
    main()
