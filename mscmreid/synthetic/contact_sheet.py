"""A contact sheet: a row a person, visible cameras on the left, infrared on the right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mscmreid.synthetic.person import draw_person
from mscmreid.synthetic.plan import Frame, Plan

Cell = tuple[str, np.ndarray]
"""A caption such as 'cam 1', and a picture (H, W, 3) uint8."""


def make_contact_sheet(rows: Sequence[tuple[str, Sequence[Cell], Sequence[Cell]]], per_line: int = 2) -> Image.Image:
    """Lays out ``rows`` of (label, visible cells, infrared cells); ``per_line`` persons stand beside each other."""
    if not rows:
        raise ValueError("a contact sheet needs at least one person, found none")
    height, width = rows[0][1][0][1].shape[:2]
    num_visible = max(len(v) for _, v, _ in rows)
    num_infrared = max(len(i) for _, _, i in rows)
    gap, head = 8, 28
    block_w = (num_visible + num_infrared) * (width + 2) + gap + 12
    block_h = height + head + 6
    num_lines = -(-len(rows) // per_line)
    sheet = Image.new("RGB", (block_w * per_line + 8, block_h * num_lines + 8), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for number, (label, visible, infrared) in enumerate(rows):
        x0, y0 = 8 + (number % per_line) * block_w, 4 + (number // per_line) * block_h
        draw.text((x0, y0), label, fill="black", font=font)
        for start, cells in ((0, visible), (num_visible * (width + 2) + gap, infrared)):
            for k, (caption, picture) in enumerate(cells):
                x = x0 + start + k * (width + 2)
                draw.text((x, y0 + 13), caption, fill="gray", font=font)
                sheet.paste(Image.fromarray(picture), (x, y0 + head))
    return sheet


def contact_sheet(root: Path, plan: Plan, num_people: int = 20, per_line: int = 2) -> Image.Image:
    """The contact sheet of the first held-out people of the data set that ``plan`` wrote into ``root``."""
    rows = []
    for pid in plan.split["test"][:num_people]:
        label = f"{pid}: {draw_person(plan.options.seed, pid).describe()}"
        visible = _one_per_camera(root, plan.by_pid[pid], "visible", num=4)
        infrared = _one_per_camera(root, plan.by_pid[pid], "infrared", num=4)
        rows.append((label, visible, infrared))
    return make_contact_sheet(rows, per_line)


def _one_per_camera(root: Path, frames: Sequence[Frame], modality: str, num: int) -> list[Cell]:
    """Up to ``num`` pictures, camera after camera, then a second round and so on."""
    cameras: dict[int, list[Frame]] = {}
    for frame in frames:
        if frame.modality == modality:
            cameras.setdefault(frame.cam_id, []).append(frame)
    depth = max((len(f) for f in cameras.values()), default=0)
    chosen = [cameras[c][k] for k in range(depth) for c in sorted(cameras) if k < len(cameras[c])][:num]
    cells = []
    for frame in sorted(chosen, key=lambda f: (f.cam_id, f.path)):
        with Image.open(Path(root) / frame.path) as image:
            cells.append((f"cam {frame.cam_id}", np.asarray(image.convert("RGB"))))
    return cells
