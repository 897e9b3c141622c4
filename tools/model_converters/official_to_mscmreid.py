"""Convert an official checkpoint into one that mscmreid loads strictly.

    python tools/model_converters/official_to_mscmreid.py SRC DST --system mscm

Only tensors are read from SRC; nothing it may contain is executed. What is left out is listed with the reason; a file
that does not fit the system is refused and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import torch
from mmengine.config import Config

import mscmreid.registry
from mscmreid.engine.runner.checkpoint import write_checkpoint
from mscmreid.fileio import sha256_of
from mscmreid.models.official import SYSTEMS, convert, read_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def default_config(system: str, num_features: int) -> Path:
    """The config of a system's SYSU-MM01 network; DEEN with 1024 features is its RegDB variant."""
    return CONFIGS / (f"{system}_regdb.py" if system == "deen" and num_features == 1024 else f"{system}_sysu.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("src", help="official checkpoint: a torch file {'net': state dict, ...}")
    parser.add_argument("dst", help="where to write ours")
    parser.add_argument("--system", required=True, choices=SYSTEMS)
    parser.add_argument("--config", help="config of the network (default: the system's own in configs/)")
    args = parser.parse_args()
    try:
        official = read_official(args.src)
        num_classes, num_features = official["classifier.weight"].shape
        config = Path(args.config) if args.config else default_config(args.system, num_features)
        cfg = Config.fromfile(config).model
        cfg.head.num_classes = num_classes
        cfg.backbone.pop("init_cfg", None)
        with torch.device("meta"):
            model = mscmreid.registry.MODELS.build(cfg)
        result = convert(official, model.state_dict())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    meta = dict(
        converted_from=Path(args.src).name,
        source_sha256=sha256_of(args.src),
        system=args.system,
        num_classes=num_classes,
    )
    write_checkpoint(dict(meta=meta, state_dict=result.state_dict), args.dst)
    kept = sum(v.numel() for v in result.state_dict.values())
    print(f"{args.dst}: {len(result.state_dict)} entries, {kept:,} numbers, {num_classes} classes")
    for reason, count in Counter(result.left_out.values()).items():
        print(f"  left out: {count} entries, {reason}")


if __name__ == "__main__":
    main()
