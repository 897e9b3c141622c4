"""Parameters by part, operations and memory of one or more configs' models.

python tools/analysis_tools/model_info.py configs/mscm_sysu.py [configs/agw_sysu.py ...] [--markdown] [--json FILE]
"""

from __future__ import annotations

import json
from pathlib import Path

from mscmreid.apis import load_config
from mscmreid.command_line import run_tool, tool_parser
from mscmreid.experiments.costs import costs_table, format_info, model_info
from mscmreid.fileio import write_text


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__, "--cfg-options")
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--markdown", action="store_true", help="print one Markdown table instead of a block each")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    args = parser.parse_args(argv)
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
    run_tool(main)
