"""Seconds from starting tools/train.py to the first iteration, with a built cache.

    python tools/benchmarks/start_up.py [--share 1.0]

MSCMNet on a folder of SYSU-MM01's true size (its files are links to a few pictures, its cache is hollow, both of their
true length), from random weights: reading and moving ImageNet weights comes on top, about a second. Stages are counted
from the start of the process; the first batch has been loaded by the workers when the first iteration begins.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mscm_sysu.py"


def until_first_iteration(data_root: str, work_dir: str, started: float) -> dict[str, float]:
    """Seconds since ``started`` (of the clock) at every stage."""
    stages = {}

    def stamp(name: str) -> None:
        stages[name] = time.time() - started

    stamp("Python")
    import torch  # noqa: F401

    stamp("torch")
    from made_up_sysu import use_hollow_caches
    from mmengine.hooks import Hook

    import mscmreid.registry  # noqa: F401
    from mscmreid.apis import load_config
    from mscmreid.registry import HOOKS, RUNNERS

    stamp("mmengine and this package")
    use_hollow_caches()

    @HOOKS.register_module()
    class Stamps(Hook):
        """Notes the time of the first iteration and ends the run there."""

        priority = "LOWEST"

        def before_train(self, runner) -> None:
            stamp("runner, data sets, model, optimizer")

        def before_train_iter(self, runner, batch_idx: int, data_batch: dict | None = None) -> None:
            stamp("workers, first batch: the first iteration begins")
            raise KeyboardInterrupt

    cfg = load_config(CONFIG, dict(data_root=data_root, work_dir=work_dir, log_level="ERROR"))
    cfg.model.backbone.init_cfg = None
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type="Stamps")]
    stamp("config")
    runner = RUNNERS.build(cfg)
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of SYSU-MM01's images")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        logging.disable(logging.ERROR)
        print(json.dumps(until_first_iteration(args.child[0], args.child[1], float(args.child[2]))))
        sys.stdout.flush()
        return
    from made_up_sysu import make_sysu
    from measuring import at_most, in_child, table

    with tempfile.TemporaryDirectory() as folder:
        root = make_sysu(Path(folder, "SYSU-MM01"), args.share)
        runs = []
        for number in range(2):  # the first one makes the caches
            runs.append(in_child(__file__, "--child", root, Path(folder, f"run{number}"), time.time()))
    stages = runs[-1]
    table(("seconds since the start", "s"), [(name, f"{seconds:.1f}") for name, seconds in stages.items()])
    at_most("start to first iteration, cache built", 15, list(stages.values())[-1], "s")


if __name__ == "__main__":
    main()
