"""From image files to the network's input: this package's cache and batch views beside a per-image pipeline.

    python tools/benchmarks/data_path.py [--images 240] [--workers 4] [--batches 60]

Side by side, in images (each of which becomes two views) a second and core: a data set that decodes, resizes and makes
MSCMNet's two views of every image in a data worker (Pillow, torchvision), and this package's way, cache -> batch ->
views. Then what a batch costs between worker and main process, and what the data of SYSU-MM01's true size cost in
memory with several workers. Its files are links to a few pictures and its cache is hollow; both have their true length.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path

import numpy as np
import torch
from made_up_sysu import make_sysu, use_hollow_caches, write_photos
from measuring import at_least, at_most, fastest, goal, in_child, process_seconds, table
from mmengine.registry import init_default_scope
from PIL import Image
from torch.utils.data import DataLoader
from views import MEAN, STD, our_views, per_image_views

from mscmreid.datasets import SYSUMM01, CrossModalityBatchSampler, PlainFolder, reid_collate
from mscmreid.engine.runner.processes import preload_workers, start_method
from mscmreid.models import ReIDDataPreprocessor
from mscmreid.models.views import view_generator
from mscmreid.structures import MODALITIES, ReIDDataSample

SIZE = (384, 192)
BATCH = 48
STEMS = ("visible_1", "visible_2", "infrared_1", "infrared_2")


def rates(num_images: int, repeats: int = 3) -> dict[str, float]:
    """Processor seconds an image of each stage, on one core."""
    torch.set_num_threads(1)
    views, pipelines = our_views(), per_image_views(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder), num_images)
        start = process_seconds()
        dataset = PlainFolder(folder, "visible", cache=True, image_size=SIZE, cache_workers=1)
        built = process_seconds() - start
        paths = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]

        def from_files(number: int) -> list[torch.Tensor]:
            images = []
            for path in paths[:BATCH]:
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.LANCZOS)))
            return [torch.stack([pipelines[name](i) for i in images]) for name in ("visible 1", "visible 2")]

        def from_cache(number: int) -> list[torch.Tensor]:
            batch = reid_collate([dataset[i] for i in range(BATCH)])["inputs"]
            made = []
            for stream, name in enumerate(("visible 1", "visible 2")):
                draws = views[name].draw(view_generator(0, number, stream), BATCH, SIZE)
                made.append(views[name].apply(batch, draws))
            return made

        def to_batch(number: int) -> torch.Tensor:
            return reid_collate([dataset[i] for i in range(BATCH)])["inputs"]

        plain, here, loading = (t / BATCH for t in fastest([from_files, from_cache, to_batch], repeats))
    return dict(built=built / num_images, plain=plain, here=here, loading=loading)


def batch_bytes() -> dict[str, int]:
    """Bytes of a training batch between worker and main process: pixels here, float views there."""
    init_default_scope("mscmreid")
    recipe = {stem: dict(modality=stem[:-2], ops=dict(normalize=dict(type="Normalize"))) for stem in STEMS}
    preprocessor = ReIDDataPreprocessor(MEAN, STD, recipe)
    pixels = torch.zeros(3, *SIZE, dtype=torch.uint8)
    samples = [ReIDDataSample(metainfo=dict(modality=m, label=0)) for m in MODALITIES for _ in range(BATCH // 2)]
    batch = reid_collate([dict(inputs=pixels, data_samples=sample) for sample in samples])
    views = preprocessor(batch, training=True)["inputs"]
    return dict(here=batch["inputs"].nbytes, plain=sum(view.nbytes for view in views.values()))


def memory_of(pid: int | str) -> dict[str, int]:
    """MiB of a process: ``private`` (its own alone, written), ``clean`` (file pages only it has mapped), ``shared``."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) // 1024
    return dict(
        private=fields["Private_Dirty"],
        clean=fields["Private_Clean"],
        shared=fields["Shared_Clean"] + fields["Shared_Dirty"],
    )


def full_size_memory(num_workers: int, num_batches: int) -> dict[str, dict[str, int]]:
    """Memory of the workers that feed a training run on SYSU-MM01's true size, after ``num_batches`` batches."""
    use_hollow_caches()
    preload_workers()
    init_default_scope("mscmreid")
    with tempfile.TemporaryDirectory() as folder:
        root = make_sysu(Path(folder))
        before = memory_of("self")
        dataset = SYSUMM01(str(root), split="trainval", image_size=SIZE)
        loader = DataLoader(
            dataset,
            batch_sampler=CrossModalityBatchSampler(dataset, 6, 4, seed=0),
            num_workers=num_workers,
            collate_fn=reid_collate,
            multiprocessing_context=start_method(),
            persistent_workers=True,
        )
        batches = iter(loader)
        for _ in range(num_batches):
            next(batches)
        workers = [memory_of(worker.pid) for worker in batches._workers]  # type: ignore[attr-defined]
        own = memory_of("self")
        images = len(dataset)
        del batches, loader
    total = {key: sum(worker[key] for worker in workers) for key in workers[0]}
    return dict(
        workers=total,
        largest={key: max(worker[key] for worker in workers) for key in workers[0]},
        main={key: own[key] - before[key] for key in own},
        size=dict(images=images, cache=images * 3 * SIZE[0] * SIZE[1] >> 20),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240, help="photos for the rates")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--batches", type=int, default=60, help="training batches before the memory is read")
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    if args.memory_only:
        print(json.dumps(full_size_memory(args.workers, args.batches)))
        return
    found = rates(args.images)
    table(
        ("from 300 x 120 JPEG files to 384 x 192, one core", "images/s"),
        [
            ("files -> cache, once (decode, resize, write)", f"{1 / found['built']:.0f}"),
            ("per image: file -> decode -> two views, every epoch", f"{1 / found['plain']:.0f}"),
            ("here: cache -> uint8 batch", f"{1 / found['loading']:.0f}"),
            ("here: cache -> uint8 batch -> two views", f"{1 / found['here']:.0f}"),
            ("ratio", f"{found['plain'] / found['here']:.1f}"),
        ],
    )
    sizes = batch_bytes()
    print()
    table(
        ("a batch of 48 images from worker to main process", "MiB"),
        [("float32 views", f"{sizes['plain'] / 2**20:.1f}"), ("here: uint8 pixels", f"{sizes['here'] / 2**20:.1f}")],
    )
    memory = in_child(__file__, "--memory-only", "--workers", args.workers, "--batches", args.batches)
    print()
    size = memory["size"]
    print(f"{size['images']:,} images, a cache of {size['cache'] / 1024:.1f} GiB, {args.batches} batches read:\n")
    table(
        ("MiB", "unshared", "pages of the cache's file only it has touched", "shared"),
        [
            (name, memory[key]["private"], memory[key]["clean"], memory[key]["shared"])
            for name, key in (
                (f"{args.workers} workers together", "workers"),
                ("the largest of them", "largest"),
                ("main process, what the data added", "main"),
            )
        ],
    )
    at_least("files or cache to views, a core", 3, found["plain"] / found["here"])
    goal(
        "bytes from worker to main",
        "<= 1/7 of float views",
        f"1/{sizes['plain'] / sizes['here']:.1f}",
        sizes["here"] * 7 <= sizes["plain"],
    )
    unshared = memory["workers"]["private"] + memory["main"]["private"]
    at_most(f"unshared memory of SYSU-MM01's data, {args.workers} workers", 1024, unshared, "MiB")


if __name__ == "__main__":
    main()
