"""A folder in SYSU-MM01's layout and of its true size, whose files and cache cost next to nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mscmreid.datasets import cache as image_cache
from mscmreid.datasets.listing import ImageRow

SPLITS = {"train": range(1, 297), "val": range(297, 396), "test": range(396, 492)}
COUNTS = {  # (visible, infrared) images as published
    "train": (20284, 9929),
    "val": (1974, 1980),
    "test": (6775, 3803),
}
CAMERAS = {"visible": (1, 2, 4, 5), "infrared": (3, 6)}


def write_photos(folder: Path, number: int, size: tuple[int, int] = (300, 120), seed: int = 0) -> list[Path]:
    """JPEG files of smooth noise with some grain, about as large as a person cut out of a camera's frame."""
    random = np.random.RandomState(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(number):
        coarse = Image.fromarray(random.randint(0, 256, (12, 5, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
        grain = random.randint(-12, 13, smooth.shape)
        paths.append(folder / f"{i:05d}.jpg")
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths


def make_sysu(root: Path, share: float = 1.0, num_photos: int = 40) -> Path:
    """491 people and ``share`` of the images of every split; the files are links to ``num_photos`` different ones."""
    photos = write_photos(root / "photos", num_photos)
    made = 0
    for split, people in SPLITS.items():
        (root / "exp").mkdir(exist_ok=True)
        (root / "exp" / f"{split}_id.txt").write_text(",".join(map(str, people)) + "\n")
        for modality, count in zip(CAMERAS, COUNTS[split], strict=True):
            places = [root / f"cam{camera}" / f"{pid:04d}" for pid in people for camera in CAMERAS[modality]]
            for i in range(max(len(places), round(count * share))):
                place = places[i % len(places)]
                if i < len(places):
                    place.mkdir(parents=True)
                os.link(photos[made % num_photos], place / f"{i // len(places) + 1:04d}.jpg")
                made += 1
    return root


def build_hollow_cache(
    path: str,
    rows: Sequence[ImageRow],
    data_root: str,
    size: tuple[int, int],
    num_workers: int,
    resize: object,
    intake: object,
) -> None:
    """Stands in for the cache's builder: a file of the full length without content (it takes no room on the disk)."""
    with open(path, "xb") as file:
        header = dict(descr="|u1", fortran_order=False, shape=(len(rows), *size, 3))
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + len(rows) * size[0] * size[1] * 3)
    image_cache.write_description(path, np.zeros(len(rows), dtype=np.uint64), size, {})


def use_hollow_caches() -> None:
    """Let data sets of this process make such caches."""
    image_cache._build = build_hollow_cache
