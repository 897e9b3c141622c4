"""From image files to the network's input, and the features of large folders."""

from __future__ import annotations

import copy
import math
import multiprocessing
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from made_up_sysu import make_sysu, use_hollow_caches, write_photos
from measuring import CONFIGS, Report, child_command, copy_rate, decode_rate, fastest, in_child, process_seconds
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from mscmreid.apis import init_model, load_config
from mscmreid.cores import available_cores
from mscmreid.datasets import PlainFolder, reid_collate
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.engine.runner.processes import peak_memory_mib, preload_workers, start_method
from mscmreid.registry import MODELS, RUNNERS
from mscmreid.retrieval.adding import SEGMENT
from mscmreid.retrieval.encoder import ModelEncoder
from mscmreid.retrieval.gallery import Gallery
from mscmreid.structures import ReIDDataSample

CONFIG = CONFIGS / "mscm_sysu.py"
SIZE = (384, 192)
BATCH = 48
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILL = (0.4914, 0.4822, 0.4465)
GRAY = (0.2989, 0.5870, 0.1140)


def preprocessors() -> dict[str, tuple[str, nn.Module]]:
    """Of each view of MSCMNet's recipe, by its stem: its modality, and a preprocessor that makes this view alone."""
    init_default_scope("mscmreid")
    cfg = load_config(CONFIG).model.data_preprocessor.to_dict()
    recipe, built = cfg["views"], MODELS.build(cfg).views
    by_name = isinstance(recipe, Mapping)
    alone = {
        key: {key: recipe[key]} if by_name else [recipe[key]] for key in (recipe if by_name else range(len(recipe)))
    }
    return {built[k].stem: (built[k].modality, MODELS.build(dict(cfg, views=own))) for k, own in alone.items()}


def batch_of(images: Tensor, modality: str) -> dict:
    """What a data loader gives of images (N, 3, H, W) of one modality."""
    return dict(inputs=images, data_samples=[ReIDDataSample(metainfo=dict(modality=modality, label=0)) for _ in images])


# ---------------------------------------------------------------------------- the same views, one image after another


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
    """MSCMNet's four views of one image (H, W, 3) uint8 by stem, with torchvision on PIL images."""
    crop = [transforms.Pad(10), transforms.RandomCrop(size), transforms.RandomHorizontalFlip()]
    float_part = [transforms.ToTensor(), transforms.Normalize(MEAN, STD), erase_one]
    brightness = transforms.ColorJitter(brightness=(0.5, 1.5))
    stages = dict(
        visible_1=[transforms.RandomGrayscale(0.5), *crop, *float_part],
        visible_2=[*crop, *float_part, lambda image: copy_one(image, random.randrange(3))],
        infrared_1=[*crop, *float_part, gray_one],
        infrared_2=[brightness, *crop, *float_part, scale_one],
    )
    return {stem: transforms.Compose([transforms.ToPILImage(), *ops]) for stem, ops in stages.items()}


# -------------------------------------------------------------------------------------------------------------- cases


def views(quick: bool, threads: int) -> Report:
    """MSCMNet's four training views on one core: this package's batch operations beside a per-image pipeline of Pillow
    and torchvision, as training scripts commonly have it in their data workers. Both start from the same uint8 images
    in memory and end with one float32 batch a view; processor time, in turn, the fastest of each. Bound: reading
    uint8 pixels and writing float32 ones once."""
    torch.set_num_threads(1)
    keep_freed_memory()  # for both sides, as in training
    report = Report()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (24, *SIZE, 3), generator=generator, dtype=torch.uint8)
    arrays, images = list(pixels.numpy()), pixels.permute(0, 3, 1, 2)
    bound = 1e6 * 5 * arrays[0].nbytes / copy_rate()
    totals = np.zeros(2)
    pipelines = per_image_views(SIZE)
    for stem, (modality, preprocessor) in preprocessors().items():
        batch = batch_of(images, modality)
        ours, theirs = fastest(
            [
                lambda preprocessor=preprocessor, batch=batch: preprocessor(batch, training=True),
                lambda stem=stem: torch.stack([pipelines[stem](array) for array in arrays]),
            ],
            5 if quick else 15,
        )
        ours, theirs = 1e6 * ours / len(arrays), 1e6 * theirs / len(arrays)
        totals += ours, theirs
        report.figure(f"{stem}, an image", ours, "us", theirs, bound, "memory copy")
    report.figure("all four", totals[0], "us", totals[1], 4 * bound, "memory copy")
    report.at_least("views from uint8, a core", 3, totals[1] / totals[0])
    return report


def files(quick: bool, threads: int) -> Report:
    """Photos of 300 x 120 to two views of 384 x 192, on one core: a data set that decodes, resizes and makes the views
    of every image in every epoch, beside this package's way, cache -> batch -> views. Then what a batch costs between
    worker and main process, and what the data of SYSU-MM01's true size cost in memory: its files are links to a few
    photos and its cache is hollow; both have their true length. Bound: Pillow's decoding and resizing alone, or
    copying memory."""
    torch.set_num_threads(1)
    report = Report()
    pipelines = per_image_views(SIZE)
    recipe = preprocessors()
    names = ("visible_1", "visible_2")
    with tempfile.TemporaryDirectory() as folder:
        num_images = 96 if quick else 240
        photos = write_photos(Path(folder), num_images)
        decode = decode_rate(photos[:BATCH], SIZE)
        start = process_seconds()
        dataset = PlainFolder(folder, "visible", cache=True, image_size=SIZE, cache_workers=1)
        built = (process_seconds() - start) / num_images

        def from_files() -> None:
            images = []
            for path in photos[:BATCH]:
                with Image.open(path) as image:
                    images.append(np.asarray(image.convert("RGB").resize(SIZE[::-1], Image.Resampling.LANCZOS)))
            for name in names:
                torch.stack([pipelines[name](image) for image in images])

        def to_batch() -> Tensor:
            return reid_collate([dataset[i] for i in range(BATCH)])["inputs"]

        def compared() -> Tensor:
            dataset.cache = copy.copy(dataset.cache)  # which has compared no image yet
            return to_batch()

        def from_cache() -> list[Tensor]:
            batch = batch_of(to_batch(), "visible")
            return [recipe[name][1](batch, training=True)["inputs"][name] for name in names]

        plain, here, first, loading = (BATCH / t for t in fastest([from_files, from_cache, compared, to_batch], 3))
        pixels, floats = to_batch().nbytes, sum(view.nbytes for view in from_cache())
    copies, an_image = copy_rate() / 2, pixels / BATCH  # bytes read and written a second; bytes
    report.figure("files to cache, once", 1 / built, "images/s", bound=decode, bound_is="Pillow, decoding and resizing")
    report.figure("cache to uint8 batch", loading, "images/s", bound=copies / an_image, bound_is="memory copy")
    report.figure("the same, each image compared with its checksum", first, "images/s", loading)
    report.figure("files or cache to two views", here, "images/s", plain, copies / an_image / 5, "memory copy")
    report.at_least("files or cache to views, a core", 3, here / plain)
    report.at_least("bytes from worker to main, fewer than float views", 7, floats / pixels)
    workers = available_cores()
    memory = in_child(loader_memory, num_batches=30 if quick else 60)
    report.notes.append(
        f"SYSU-MM01's size: {memory['images']:,} images, {memory['cache'] / 1024:.1f} GiB of cache, {workers} workers."
    )
    unshared = memory["workers"]["private"] + memory["main"]["private"]
    report.table(
        ("MiB", "unshared", "pages of the cache's file only it has touched", "shared"),
        [(name, *memory[name].values()) for name in ("workers", "main")],
    )
    report.at_most(f"unshared memory of SYSU-MM01's data, {workers} workers", 1024, unshared, "MiB")
    return report


def memory_of(pid: int | str) -> dict[str, int]:
    """MiB of a process: ``private`` (its own alone, written), ``clean`` (file pages only it has mapped), ``shared``."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0]) // 1024
    shared = fields["Shared_Clean"] + fields["Shared_Dirty"]
    return dict(private=fields["Private_Dirty"], clean=fields["Private_Clean"], shared=shared)


def loader_memory(num_batches: int) -> dict:
    """Memory of the processes that feed a training run on SYSU-MM01's true size, after ``num_batches`` batches."""
    use_hollow_caches()
    multiprocessing.set_start_method(start_method(), force=True)
    preload_workers()
    init_default_scope("mscmreid")
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(CONFIG, dict(data_root=str(make_sysu(Path(folder)))))
        before = memory_of("self")
        loader = RUNNERS.get("ReIDRunner").build_dataloader(cfg.train_dataloader.to_dict(), seed=0)
        batches = iter(loader)
        for _ in range(num_batches):
            next(batches)
        workers = [memory_of(worker.pid) for worker in batches._workers]
        own = memory_of("self")
        images = len(loader.dataset)
        del batches, loader
    return dict(
        workers={key: sum(worker[key] for worker in workers) for key in own},
        main={key: own[key] - before[key] for key in own},
        images=images,
        cache=images * 3 * SIZE[0] * SIZE[1] >> 20,
    )


def folder(quick: bool, threads: int) -> Report:
    """A gallery of a large folder (a hundred pictures of 48 x 24, each image with bytes of its own behind them) with a
    tiny network at 32 x 16. The run is killed when two fifths of its segments are written, and started again; a tenth
    of the images is done in a process of its own: what grows with their number is the difference. Bound: decoding and
    resizing those pictures."""
    num_images = 20_000 if quick else 50_000
    total = -(-num_images // SEGMENT)
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        images = make_folder(Path(name, "images"), num_images)
        segments = killed_run(images, Path(name, "gallery"), max(1, 2 * total // 5))
        second = in_child(add_folder, folder=images, gallery=Path(name, "gallery"))
        tenth = make_folder(Path(name, "tenth"), num_images // 10)
        small = in_child(add_folder, folder=tenth, gallery=Path(name, "gallery of the tenth"))
        decode = decode_rate(sorted(tenth.rglob("*.jpg"))[:1000], (32, 16))
    done = num_images - second["reused"]
    pillow = "Pillow, decoding and resizing"
    for what, rows, found in (("started again", done, second), ("a tenth of it", small["rows"], small)):
        report.figure(f"{what}: {rows:,} images", rows / found["seconds"], "images/s", None, decode, pillow)
    report.goal(
        f"{num_images:,} images, killed and gone on",
        "every image once, finished segments kept",
        f"{second['rows']:,} rows, {second['reused'] // SEGMENT} of {total} segments kept",
        second["rows"] == num_images and second["reused"] == segments * SEGMENT > 0,
    )
    report.at_most("more memory for ten times the images", 64, second["peak"] - small["peak"], "MiB")
    return report


def make_folder(folder: Path, num_images: int, num_photos: int = 100) -> Path:
    """``num_images`` small pictures, no two files alike, a thousand a subfolder."""
    photos = write_photos(folder.with_name(folder.name + "_photos"), num_photos, size=(48, 24))
    contents = [Path(photo).read_bytes() for photo in photos]
    for i in range(num_images):
        place = folder / f"{i // 1000:04d}"
        if i % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{i % 1000:03d}.jpg").write_bytes(contents[i % num_photos] + b"%d" % i)  # decoders stop before it
    return folder


def add_folder(folder: str, gallery: str) -> dict[str, float]:
    """Add a folder to a gallery, made if it is not there; seconds, rows, how many had features, peak memory in MiB."""
    torch.set_num_threads(1)
    options = {"image_size": (32, 16), "model.backbone.depth": 18, "model.backbone.base_channels": 4}
    cfg = load_config(CONFIG, options)
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    encoder = ModelEncoder(init_model(cfg, device="cpu"), batch_size=256)
    there = Path(gallery, "manifest.json").exists()
    opened = Gallery.open(gallery, encoder) if there else Gallery.create(gallery, encoder)
    start = time.perf_counter()
    report = opened.add(folder, "infrared")
    taken = time.perf_counter() - start
    return dict(seconds=taken, rows=len(opened), reused=report.reused, peak=peak_memory_mib())


def killed_run(folder: Path, gallery: Path, segments: int) -> int:
    """Start, kill when ``segments`` are written; how many there are then."""
    command, environment = child_command(add_folder, folder=folder, gallery=gallery)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    while len(list(gallery.glob("segments/*.columns.npz"))) < segments:
        if child.poll() is not None:
            raise RuntimeError(f"the run ended by itself: {child.stderr.read()[-2000:] if child.stderr else ''}")
        time.sleep(0.05)
    time.sleep(0.5)  # into the middle of the next segment
    child.send_signal(signal.SIGKILL)
    child.wait()
    return len(list(gallery.glob("segments/*.columns.npz")))
