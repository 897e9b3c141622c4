"""MSCMNet's four training views: this package's batch operations beside a per-image Pillow/torchvision pipeline.

    python tools/benchmarks/views.py [--size 384 192] [--images 24] [--threads 1] [--repeats 15]

Both sides start from the same uint8 images in memory and end with one float32 batch per view; the per-image side is
what training scripts commonly do in their data workers (torchvision on PIL images, from (H, W, 3) arrays, then a
stack). This package starts from the batch as its loader makes it, (N, 3, H, W) in channels_last memory. Processor time
is counted, runs of both are interleaved and the fastest of each is taken, so that a busy machine disturbs the ratio
little.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import at_least, fastest, table
from torch import Tensor
from torchvision import transforms

from mscmreid.apis.config import load_config
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.models.views import View, view_generator

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILL = (0.4914, 0.4822, 0.4465)
GRAY = (0.2989, 0.5870, 0.1140)
CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mscm_sysu.py"


def our_views() -> dict[str, View]:
    """The views of MSCMNet's recipe by name."""
    preprocessor = load_config(CONFIG).model.data_preprocessor
    return {
        name.replace("_", " "): View.build(name, view, preprocessor.ops, MEAN, STD)
        for name, view in preprocessor.views.items()
    }


def erase_one(image: Tensor) -> Tensor:
    """Random erasing of one normalised image, in plain Python."""
    if random.random() >= 0.5:
        return image
    _, height, width = image.shape
    for _ in range(100):
        area, ratio = random.uniform(0.02, 0.4) * height * width, random.uniform(0.3, 1 / 0.3)
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            top, left = random.randint(0, height - h), random.randint(0, width - w)
            for c in range(3):
                image[c, top : top + h, left : left + w] = FILL[c]
            break
    return image


def copy_one(image: Tensor, channel: int) -> Tensor:
    """One channel in all three."""
    for c in {0, 1, 2} - {channel}:
        image[c] = image[channel]
    return image


def gray_one(image: Tensor) -> Tensor:
    """MSCMNet's infrared view 1 after erasing."""
    if random.random() < 0.5:
        return copy_one(image, 1)
    if random.random() < 0.5:
        image[:] = GRAY[0] * image[0] + GRAY[1] * image[1] + GRAY[2] * image[2]
    return image


def scale_one(image: Tensor) -> Tensor:
    """MSCMNet's infrared view 2 after erasing."""
    if random.random() < 0.5:
        for c in range(3):
            image[c] *= random.uniform(0.02, 1.0)
    return image


def per_image_views(size: tuple[int, int]) -> dict[str, Callable[[np.ndarray], Tensor]]:
    """The same four views of one image (H, W, 3) uint8, with torchvision on PIL images."""
    crop = [transforms.Pad(10), transforms.RandomCrop(size), transforms.RandomHorizontalFlip()]
    float_part = [transforms.ToTensor(), transforms.Normalize(MEAN, STD), erase_one]
    brightness = transforms.ColorJitter(brightness=(0.5, 1.5))
    stages = {
        "visible 1": [transforms.RandomGrayscale(0.5), *crop, *float_part],
        "visible 2": [*crop, *float_part, lambda image: copy_one(image, random.randrange(3))],
        "infrared 1": [*crop, *float_part, gray_one],
        "infrared 2": [brightness, *crop, *float_part, scale_one],
    }
    return {name: transforms.Compose([transforms.ToPILImage(), *ops]) for name, ops in stages.items()}


def measure(size: tuple[int, int] = (384, 192), images: int = 24, repeats: int = 15) -> dict[str, tuple[float, float]]:
    """Processor microseconds an image and view, the fastest of ``repeats``: (per-image pipeline, this package)."""
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (images, *size, 3), generator=generator, dtype=torch.uint8)
    arrays = list(batch.numpy())
    batch = batch.permute(0, 3, 1, 2)
    ours, theirs = our_views(), per_image_views(size)
    times = {}
    for stream, name in enumerate(ours):
        view, pipeline = ours[name], theirs[name]

        def one_by_one(iteration: int, pipeline: Callable = pipeline) -> Tensor:
            return torch.stack([pipeline(array) for array in arrays])

        def at_once(iteration: int, view: View = view, stream: int = stream) -> Tensor:
            return view.apply(batch, view.draw(view_generator(0, iteration, stream), images, size))

        per_image, mscmreid = fastest([one_by_one, at_once], repeats)
        times[name] = (1e6 * per_image / images, 1e6 * mscmreid / images)
    return times


def main() -> None:
    """Print the table, in processor microseconds an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 192), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--images", type=int, default=24, help="images of a batch and modality")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_freed_memory()  # for both sides, as in training
    times = measure(tuple(args.size), args.images, args.repeats)
    times["all four"] = tuple(sum(side) for side in zip(*times.values(), strict=True))  # type: ignore[assignment]
    threads = f"{args.threads} thread{'s' if args.threads > 1 else ''}"
    headers = (f"view, {args.size[0]} x {args.size[1]}, {threads}", "per image", "here", "ratio")
    cells = [(name, f"{a:.0f} us", f"{b:.0f} us", f"{a / b:.1f}") for name, (a, b) in times.items()]
    table(headers, cells)
    at_least("views from uint8, a core", 3, times["all four"][0] / times["all four"][1])


if __name__ == "__main__":
    main()
