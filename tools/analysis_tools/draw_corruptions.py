"""A picture of every corruption at its five severities: python tools/analysis_tools/draw_corruptions.py OUT.jpg

On a synthetic person, or on two images of your own (--visible, --infrared).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mscmreid.command_line import out_file, run_tool, tool_parser
from mscmreid.corruptions import INFRARED, choose_corruptions
from mscmreid.synthetic import Options, Painter, make_plan
from mscmreid.visualization.corruption_sheet import corruption_sheet
from mscmreid.visualization.rankings import PICTURES, open_image, save_picture

PERSON, VISIBLE_CAMERA, INFRARED_CAMERA = 3, 1, 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    parser.add_argument("out", type=out_file(*PICTURES), help="picture to write: .png, .jpg, .webp or .pdf")
    parser.add_argument("--visible", type=Path, help="image (default: a synthetic person)")
    parser.add_argument("--infrared", type=Path, help="image, brought to the size of the other")
    parser.add_argument(
        "--corruptions", nargs="+", default=["all", INFRARED], help="names or families (default: every one)"
    )
    parser.add_argument("--per-line", type=int, default=2, help="corruptions beside each other (default: 2)")
    args = parser.parse_args(argv)
    if (args.visible is None) != (args.infrared is None):
        parser.error("--visible and --infrared go together")
    return args


def synthetic_person() -> tuple[np.ndarray, np.ndarray]:
    """One person before a visible and an infrared camera, 144 x 72."""
    plan = make_plan(Options("sysu", num_ids=8, size=(144, 72), absent=0.0))
    painter = Painter.of(plan)
    frames = {frame.cam_id: frame for frame in reversed(plan.by_pid[PERSON])}
    return painter.draw(frames[VISIBLE_CAMERA]), painter.draw(frames[INFRARED_CAMERA])


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    names = choose_corruptions(args.corruptions)
    if args.visible is None:
        visible, infrared, key = *synthetic_person(), "synthetic"
    else:
        visible, infrared = np.asarray(open_image(args.visible)), np.asarray(open_image(args.infrared))
        if visible.shape != infrared.shape:
            width, height = visible.shape[1], visible.shape[0]
            infrared = np.asarray(Image.fromarray(infrared).resize((width, height), Image.Resampling.LANCZOS))
        key = args.visible.name
    save_picture(corruption_sheet(visible, infrared, names, key, args.per_line), args.out)
    print(f"{args.out}: {len(names)} corruptions")


if __name__ == "__main__":
    run_tool(main)
