"""Draw a synthetic data set of people in visible light and infrared, in the folder layout of a real one.

python tools/make_synthetic.py data/synthetic --layout sysu --ids 200 --report --contact-sheet sheet.png
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.cores import available_cores
from mscmreid.gate import read_json
from mscmreid.synthetic import Options, Plan, contact_sheet, make_plan, read_plan, write_dataset
from mscmreid.synthetic.plan import LAYOUTS, Counts
from mscmreid.tables import aligned_lines


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line options."""
    parser = tool_parser(__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--layout", choices=LAYOUTS, default="sysu", help="whose folder layout (default: sysu)")
    parser.add_argument(
        "--ids", type=int, default=200, help="number of people, a quarter of them for testing (default: 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other people and cameras (default: 0)")
    parser.add_argument("--images-per-camera", type=int, help="default: 6; layout regdb: 10 per modality")
    parser.add_argument("--size", default="128x64", help="HEIGHTxWIDTH of the images (default: 128x64)")
    parser.add_argument(
        "--absent",
        type=float,
        default=0.3,
        help="chance that a person is missing in one visible camera, layout sysu (default: 0.3)",
    )
    parser.add_argument("--counts", type=Path, help="JSON file with the frames of each camera and person, layout sysu")
    parser.add_argument("--id-lists", type=Path, help="folder with train_id.txt, val_id.txt and test_id.txt to use")
    parser.add_argument(
        "--distinct",
        type=int,
        default=0,
        help="at most this many drawings of a person in a camera, further frames repeat them",
    )
    parser.add_argument("--workers", type=int, default=available_cores(), help="drawing processes; 0: in this process")
    parser.add_argument("--overwrite", action="store_true", help="replace an older synthetic set in OUT")
    parser.add_argument("--report", action="store_true", help="also measure how far raw pixels get")
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE", help="also write a picture of held-out people")
    parser.add_argument(
        "--no-draw", action="store_true", help="draw nothing: --report and --contact-sheet of the set that is in OUT"
    )
    return parser.parse_args(argv)


def make_options(args: argparse.Namespace) -> Options:
    """The data set that the command line asks for."""
    try:
        height, width = (int(n) for n in args.size.lower().split("x"))
    except ValueError:
        raise ValueError(f"--size must look like 128x64 (height x width), found {args.size!r}") from None
    return Options(
        layout=args.layout,
        num_ids=args.ids,
        seed=args.seed,
        images_per_camera=args.images_per_camera or (10 if args.layout == "regdb" else 6),
        size=(height, width),
        absent=args.absent,
        distinct=args.distinct,
        counts=read_counts(args.counts) if args.counts else None,
        split=read_id_lists(args.id_lists) if args.id_lists else None,
    )


def read_counts(path: Path) -> Counts:
    """Frames by camera and person from JSON such as {"cam1": {"0001": 29}}."""
    try:
        values = read_json(path, "counts of frames")
        counts = {int(cam.removeprefix("cam")): {int(p): int(n) for p, n in ids.items()} for cam, ids in values.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'{path} must look like {{"cam1": {{"0001": 29}}}}: {error}') from error
    if sorted(counts) != [1, 2, 3, 4, 5, 6]:
        raise ValueError(f"{path} must have the cameras cam1 to cam6, found {sorted(values)}")
    return counts


def read_id_lists(folder: Path) -> dict[str, list[int]]:
    """People by 'train', 'val', 'test' from comma separated files, as in SYSU-MM01's folder exp."""
    split = {}
    for name in ("train", "val", "test"):
        path = folder / f"{name}_id.txt"
        if not path.is_file():
            raise FileNotFoundError(f"--id-lists needs {path}, which does not exist")
        split[name] = [int(p) for p in path.read_text(encoding="utf-8").replace("\n", ",").split(",") if p.strip()]
    return split


def summary(plan: Plan) -> str:
    """People, cameras and images, by split and modality."""
    part_of = {pid: part for part, ids in plan.split.items() for pid in ids}
    images = Counter((part_of.get(f.pid, "unlisted"), f.modality) for f in plan.frames)
    rows: list[tuple] = [("split", "people", "visible", "infrared")]
    for part in ("train", "val", "test", "unlisted"):
        people = sum(part_of.get(pid, "unlisted") == part for pid in plan.by_pid)
        if people:
            rows.append((part, people, images[part, "visible"], images[part, "infrared"]))
    totals = Counter(f.modality for f in plan.frames)
    rows.append(("all", len(plan.by_pid), totals["visible"], totals["infrared"]))
    return "\n".join(aligned_lines(rows))


def main(argv: list[str] | None = None) -> None:
    """Draws, reports, and says what to do next."""
    args = parse_args(argv)
    if args.no_draw:
        plan = read_plan(args.out)
    else:
        plan = make_plan(make_options(args))
        notes = write_dataset(plan, args.out, args.workers, args.overwrite, sys.stderr)
        for note in notes:
            print(f"note: {note}")
    print(f"{args.out}: synthetic people in the layout of {plan.options.layout}, seed {plan.options.seed}")
    print(summary(plan))
    if args.report:
        from mscmreid.experiments.baselines import comparison_table, synthetic_comparisons

        print(comparison_table(*synthetic_comparisons(args.out, plan)))
    if args.contact_sheet:
        args.contact_sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(args.out, plan).save(args.contact_sheet)
        print(f"contact sheet: {args.contact_sheet}")
    print(f"next: train on it with the data root set to {args.out} (docs/synthetic.md)")


if __name__ == "__main__":
    run_tool(main)
