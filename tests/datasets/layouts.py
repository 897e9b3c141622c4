"""Tiny data sets in the real folder layouts."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

OUTDOOR_ONLY = 4  # a person whom cameras 1 and 2 never saw


def write_image(path: Path, seed: int, size: tuple[int, int] = (40, 20)) -> None:
    """An image of smooth random colours, (height, width) in pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(seed).randint(0, 256, (5, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC).save(path)


def make_sysu(root: Path, train=(1, 2, 4), val=(7,), test=(3, 10), frames: int = 2) -> Path:
    """SYSU-MM01's layout; person 4 is missing from cameras 1 and 2."""
    for name, ids in dict(train=train, val=val, test=test).items():
        (root / "exp").mkdir(parents=True, exist_ok=True)
        (root / "exp" / f"{name}_id.txt").write_text(",".join(map(str, ids)) + "\n")
    for pid in (*train, *val, *test):
        for cam in range(1, 7):
            if pid == OUTDOOR_ONLY and cam in (1, 2):
                continue
            for frame in range(1, frames + 1):
                write_image(root / f"cam{cam}" / f"{pid:04d}" / f"{frame:04d}.jpg", pid * 100 + cam * 10 + frame)
    return root


def make_regdb(root: Path, train=(88, 5), test=(12, 7), frames: int = 3) -> Path:
    """RegDB's layout with splits 1 and 2, which swap training and test people."""
    for top, letter in (("Visible", "v"), ("Thermal", "t")):
        lines = {}
        for pid in (*train, *test):
            names = [f"{top}/{pid}/male_back_{letter}_{frame:05d}_{pid}.bmp" for frame in range(frames)]
            for frame, name in enumerate(names):
                write_image(root / name, pid * 10 + frame)
            lines[pid] = names
        (root / "idx").mkdir(exist_ok=True)
        for split, (first, second) in {1: (train, test), 2: (test, train)}.items():
            for part, ids in (("train", first), ("test", second)):
                text = "".join(f"{name} {label}\n" for label, pid in enumerate(ids) for name in lines[pid])
                (root / "idx" / f"{part}_{top.lower()}_{split}.txt").write_text(text)
    return root


def make_llcm(root: Path, train=(250, 2), test=(891, 0)) -> Path:
    """LLCM's layout: lists name test images as vis/..., which lie under test_vis/cam{c}/..."""
    (root / "idx").mkdir(parents=True)
    for short, cams in (("vis", (3, 5)), ("nir", (2, 6))):
        for part, ids in (("train", train), ("test", test)):
            lines = []
            for label, pid in enumerate(ids):
                for cam in cams:
                    for frame in (10, 9):
                        name = f"{pid:04d}_c{cam:02d}_s18_f{frame}_{short}.jpg"
                        folder = f"{short}/{pid:04d}" if part == "train" else f"test_{short}/cam{cam}/{pid:04d}"
                        write_image(root / folder / name, pid + cam + frame)
                        lines.append(f"{short}/{pid:04d}/{name} {label}\n")
            (root / "idx" / f"{part}_{short}.txt").write_text("".join(lines))
    return root


def touch_sysu(root: Path, splits: Path) -> Path:
    """SYSU-MM01's true size, with empty files, from its lists and frame counts."""
    (root / "exp").mkdir(parents=True)
    for part in ("train", "val", "test"):
        (root / "exp" / f"{part}_id.txt").write_text((splits / "exp" / f"{part}_id.txt").read_text())
    for cam, people in json.loads((splits / "image_counts.json").read_text()).items():
        for person, frames in people.items():
            folder = root / cam / person
            folder.mkdir(parents=True)
            for frame in range(1, frames + 1):
                (folder / f"{frame:04d}.jpg").touch()
    return root


def touch_listed(root: Path, splits: Path, relocate: Callable[[str, str], str] = lambda part, path: path) -> Path:
    """RegDB's or LLCM's true size, with empty files, from its list files."""
    (root / "idx").mkdir(parents=True)
    paths: set[str] = set()
    for listing in (splits / "idx").glob("*_*.txt"):
        if listing.name == "test_id.txt":
            continue
        (root / "idx" / listing.name).write_text(listing.read_text())
        part = listing.name.split("_")[0]
        paths.update(relocate(part, line.split()[0]) for line in listing.read_text().splitlines())
    for folder in {os.path.dirname(path) for path in paths}:
        (root / folder).mkdir(parents=True)
    for path in paths:
        (root / path).touch()
    return root


def llcm_test_folder(part: str, path: str) -> str:
    """Where LLCM's list entry ``vis/0891/0891_c05_....jpg`` really lies."""
    if part == "train":
        return path
    short, person, name = path.split("/")
    return f"test_{short}/cam{int(name.split('_c')[1][:2])}/{person}/{name}"
