"""Rank a folder of images for each of some others, without any ids.

python tools/rank.py CONFIG CHECKPOINT --query night/ --gallery day/ --query-modality infrared --out ranked/

Writes OUT/rankings.csv (query, rank, gallery, similarity) and pictures OUT/rankings_001.png, ... Features are kept in
OUT/.features: a run that was stopped goes on where it stood. For a gallery that is made once and asked every day, with
cameras, times and a threshold, see tools/search.py.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.modalities import MODALITIES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--cfg-options", "--flip", "--precision", "--device")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint of training, or a converted official one")
    parser.add_argument(
        "--query", nargs="+", required=True, metavar="IMAGES", help="query images: files, lists, folders"
    )
    parser.add_argument("--gallery", nargs="+", required=True, metavar="IMAGES", help="files, lists, folders")
    parser.add_argument("--query-modality", choices=MODALITIES, required=True)
    parser.add_argument("--gallery-modality", choices=MODALITIES, help="default: the other one")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace the lists and pictures that are in OUT")
    parser.add_argument("--top", type=int, default=10, help="images a list (default: 10)")
    parser.add_argument("--pages", type=int, default=20, help="at most so many pictures of six queries (default: 20)")
    parser.add_argument("--feature", default="feat_bn", help="feat_bn, feat_pool, sum, blend=A (default: feat_bn)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a forward pass (default: 64)")
    parser.add_argument("--workers", type=int, help="decoding threads (default: one a core, at most eight)")
    parser.add_argument(
        "--depth-range", nargs="+", metavar="RANGE", help="of 16-bit frames: LOW HIGH, or percentiles:1,99"
    )
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be decoded")
    args = parser.parse_args(argv)
    if args.gallery_modality is None:
        args.gallery_modality = MODALITIES[1 - MODALITIES.index(args.query_modality)]
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.intake import Intake, check_images, unreadable_images
    from mscmreid.retrieval.answers import QUERIES_A_PAGE, check_free, pages, results_folder
    from mscmreid.retrieval.files import image_files
    from mscmreid.retrieval.ranked_lists import check_separate, rank_images

    if args.top < 1:
        raise ValueError(f"--top must be at least 1, found {args.top}")
    check_free(args.out, "rankings*", args.overwrite)
    intake = Intake.with_depth(args.depth_range)
    unreadable: dict[str, str] = {}
    for source in map(Path, (*args.query, *args.gallery)):
        if source.is_dir() and args.out.resolve().is_relative_to(source.resolve()):
            raise ValueError(f"--out {args.out} lies in {source}: its pictures would be images of the next run")
    sides = [image_files(sources, unreadable) for sources in (args.query, args.gallery)]
    check_separate(*sides)
    if unreadable and not args.skip_unreadable:  # all at once, and before any feature is made
        raise unreadable_images({**unreadable, **check_images([file.path for side in sides for file in side], intake)})

    from mscmreid.apis import init_model, load_config
    from mscmreid.apis.test import add_flip
    from mscmreid.engine.runner.allocator import keep_freed_memory
    from mscmreid.intake import write_skipped
    from mscmreid.retrieval.encoder import ModelEncoder
    from mscmreid.tables import write_csv
    from mscmreid.visualization.rankings import save_picture

    keep_freed_memory()
    cfg = load_config(args.config, args.cfg_options)
    if args.flip:
        add_flip(cfg)
    encoder = ModelEncoder(
        init_model(cfg, args.checkpoint, args.device),
        feature=args.feature,
        intake=intake,
        batch_size=args.batch_size,
        num_workers=args.workers,
        precision=args.precision or "float32",
    )
    modalities = (args.query_modality, args.gallery_modality)
    on_error = "skip" if args.skip_unreadable else "raise"
    found, skipped = rank_images(encoder, *sides, modalities, args.out / ".features", args.top, on_error)
    skipped |= unreadable
    names = [{file.path: file.name for file in side} for side in sides]
    title, num_pages = f"{modalities[0]} queries in {modalities[1]} images", 0
    with results_folder(args.out, "rankings*", args.overwrite) as folder:
        for page in pages(found, title, args.pages, intake=encoder.intake):
            num_pages += 1
            save_picture(page, folder / f"rankings_{num_pages:03d}.png")
        lines: list[list[object]] = [["query", "rank", "gallery", "similarity"]]
        for answer in found:
            for rank, hit in enumerate(answer.hits, start=1):
                lines.append([names[0][answer.query], rank, names[1][hit.path], f"{hit.score:.6f}"])
        write_csv(lines, folder / "rankings.csv")
    num_gallery = len(sides[1]) - sum(file.path in skipped for file in sides[1])
    print(
        f"{args.out / 'rankings.csv'}: the {len(found[0].hits)} nearest of {num_gallery:,} gallery images for each of "
        f"{len(found):,} queries; {num_pages} pictures"
    )
    if skipped:
        write_skipped(skipped, args.out / "skipped.csv")
        print(f"{len(skipped)} images cannot be read and were left out: {os.path.join(args.out, 'skipped.csv')}")
    pictured = min(len(found), QUERIES_A_PAGE * args.pages)
    if pictured < len(found):
        print(f"only the first {pictured} queries are pictured: --pages for more")


if __name__ == "__main__":
    run_tool(main)
