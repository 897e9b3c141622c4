"""Rank a folder of images for each image of another, without any ids.

python tools/rank.py CONFIG CHECKPOINT --query night/ --gallery day/ --query-modality infrared --out ranked/

Writes OUT/rankings.csv (query, rank, gallery, similarity) and pictures OUT/rankings_001.png, ... Features are kept in
OUT/.features: a run that was stopped goes on where it stood.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.structures import MODALITIES


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--cfg-options", "--flip", "--precision", "--device")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint of training, or a converted official one")
    parser.add_argument("--query", type=Path, required=True, metavar="DIR", help="folder of query images")
    parser.add_argument("--gallery", type=Path, required=True, metavar="DIR", help="folder of gallery images")
    parser.add_argument("--query-modality", choices=MODALITIES, required=True)
    parser.add_argument("--gallery-modality", choices=MODALITIES, help="default: the other one")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--top", type=int, default=10, help="images a list (default: 10)")
    parser.add_argument("--pages", type=int, default=20, help="at most so many pictures of six queries (default: 20)")
    parser.add_argument("--feature", default="feat_bn", help="feat_bn, feat_pool, sum, blend=A (default: feat_bn)")
    parser.add_argument("--batch-size", type=int, default=64, help="images a forward pass (default: 64)")
    parser.add_argument("--workers", type=int, help="decoding threads (default: one a core, at most eight)")
    parser.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be decoded")
    args = parser.parse_args(argv)
    if args.gallery_modality is None:
        args.gallery_modality = MODALITIES[1 - MODALITIES.index(args.query_modality)]
    return args


def check_folders(args: argparse.Namespace) -> None:
    """Errors that would come only after the features."""
    from mscmreid.datasets import list_images
    from mscmreid.retrieval.ranked_lists import check_separate

    for folder in (args.query, args.gallery):
        list_images(str(folder))
        if args.out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"--out {args.out} lies in {folder}: its pictures would be images of the next run")
    check_separate(args.query, args.gallery)
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, found {args.top}")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    check_folders(args)
    from mscmreid.apis import init_model, load_config
    from mscmreid.apis.test import add_flip
    from mscmreid.engine.runner.allocator import keep_freed_memory
    from mscmreid.retrieval.ranked_lists import QUERIES_A_PAGE, draw_pages, extract_folder, rank_folders, write_lists
    from mscmreid.visualization.rankings import save_picture

    keep_freed_memory()
    cfg = load_config(args.config, args.cfg_options)
    if args.flip:
        add_flip(cfg)
    model = init_model(cfg, args.checkpoint, args.device)
    query, gallery = (
        extract_folder(
            model,
            folder,
            modality,
            args.out / ".features",
            feature=args.feature,
            batch_size=args.batch_size,
            num_workers=args.workers,
            precision=args.precision or "float32",
            on_error="skip" if args.skip_unreadable else "raise",
        )
        for folder, modality in ((args.query, args.query_modality), (args.gallery, args.gallery_modality))
    )
    lists = rank_folders(query, gallery, args.top)
    write_lists(lists, query, gallery, args.out / "rankings.csv")
    for old in args.out.glob("rankings_[0-9][0-9][0-9].png"):  # a shorter run must not leave pages of an older one
        old.unlink()
    pages = 0
    for page in draw_pages(lists, query, gallery, args.pages):
        pages += 1
        save_picture(page, args.out / f"rankings_{pages:03d}.png")
    print(
        f"{args.out / 'rankings.csv'}: the {lists.gallery.shape[1]} nearest of {len(gallery.paths):,} gallery images "
        f"for each of {len(query.paths):,} queries; {pages} pictures"
    )
    pictured = min(len(query.paths), QUERIES_A_PAGE * args.pages)
    if pictured < len(query.paths):
        print(f"only the first {pictured} queries are pictured: --pages for more")


if __name__ == "__main__":
    run_tool(main)
