"""Put results files side by side: python tools/analysis_tools/results_table.py A.json B.json

One row a system and feature, one column a protocol. Results under different protocols are refused: choose with
--where FIELD=VALUE, e.g. --where lineage=agw shots=1.
"""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.evaluation import Result, latex_rows, load_results, markdown_table, side_by_side, terminal_table
from mscmreid.evaluation.results import MEASURES

LISTS = {"markdown": markdown_table, "latex": latex_rows, "terminal": terminal_table}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("files", nargs="+", help="results files; the file's name (or NAME=FILE) names the system")
    parser.add_argument("--where", nargs="+", default=[], metavar="FIELD=VALUE", help="keep only such results")
    parser.add_argument("--measures", nargs="+", default=["R1", "mAP", "mINP"], choices=MEASURES)
    parser.add_argument("--list", choices=list(LISTS), help="one line a result instead, in this format")
    return parser.parse_args(argv)


def keep(results: list[Result], conditions: list[str]) -> list[Result]:
    """Results whose fields have the values of ``FIELD=VALUE`` texts."""
    names = [f.name for f in fields(Result)]
    for condition in conditions:
        field, equals, value = condition.partition("=")
        if not equals or field not in names:
            raise ValueError(f"--where takes FIELD=VALUE with a field of {', '.join(names)}; found {condition!r}")
        results = [result for result in results if str(getattr(result, field)) == value]
    return results


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    systems = []
    for entry in args.files:
        name, equals, file = entry.partition("=")
        path = file if equals else entry
        systems.append((name if equals else Path(path).stem, keep(load_results(path), args.where)))
    results = [result for _, found in systems for result in found]
    if not results:
        raise ValueError(f"no result is left under {' '.join(args.where) or 'these files'}")
    print(LISTS[args.list](results) if args.list else side_by_side(systems, args.measures))


if __name__ == "__main__":
    run_tool(main)
