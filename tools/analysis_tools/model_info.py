"""Parameters by part, operations and memory of one or more configs' models.

python tools/analysis_tools/model_info.py configs/mscm_sysu.py [configs/agw_sysu.py ...] [--markdown] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mmengine.config import DictAction

import mscmreid.registry  # noqa: F401  (registers before MMEngine looks)
from mscmreid.apis.config import load_config
from mscmreid.experiments.costs import costs_table, format_info, model_info
from mscmreid.fileio import write_text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, default={}, help="key=value overrides")
    parser.add_argument("--markdown", action="store_true", help="print one Markdown table instead of a block each")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    args = parser.parse_args()
    infos = {}
    for path in args.configs:
        infos[Path(path).stem] = model_info(load_config(path, args.cfg_options))
    if args.markdown:
        print(costs_table(infos))
    else:
        print("\n".join(format_info(name, info) for name, info in infos.items()))
    if args.json:
        write_text(json.dumps({name: info.to_dict() for name, info in infos.items()}, indent=1), args.json)


if __name__ == "__main__":
    main()
