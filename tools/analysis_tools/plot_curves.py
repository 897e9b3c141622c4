"""Curves of one or more runs over the epochs, beside a run that the authors of a published system released.

python tools/analysis_tools/plot_curves.py work_dirs/dns_sysu [WORK_DIR ...] --released dns_sysu [--out curves.png]

Losses, accuracy, learning rate, Rank-1 and mAP; with --released also says in words where a run leaves the released
one. The released runs were validated without the mirrored image, on gallery draw 0.
"""

from __future__ import annotations

from pathlib import Path

from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.visualization.curves import RELEASED, compare, draw_curves, read_run, released_run


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("work_dirs", nargs="+", metavar="WORK_DIR", help="work folder of a run")
    parser.add_argument("--released", choices=RELEASED, help="the run to draw behind them and to compare with")
    parser.add_argument(
        "--out", type=out_file(".png", ".svg", ".pdf"), help="picture to write (default: curves.png in the first run)"
    )
    args = parser.parse_args(argv)
    runs = [read_run(folder) for folder in args.work_dirs]
    released = released_run(args.released) if args.released else None
    out = args.out or Path(args.work_dirs[0], "curves.png")
    for run in runs:
        if released:
            print("\n  ".join([f"{run.name}:", *compare(run, released)]))
    draw_curves(runs, out, released)
    print(f"{out}: {len(runs)} run(s)" + (f" and {released.name}" if released else ""))


if __name__ == "__main__":
    run_tool(main)
