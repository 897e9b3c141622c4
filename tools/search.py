"""A gallery of images on disk: make it once, add to it every day, ask it with a photo or a thousand.

python tools/search.py create GALLERY CONFIG CHECKPOINT
python tools/search.py add GALLERY day/ --modality visible --camera-pattern '(cam[0-9]+)/'
python tools/search.py query GALLERY photo.jpg --modality infrared --gallery-modality visible --out answers/
python tools/search.py calibrate GALLERY --false-matches 0.001
python tools/search.py info GALLERY
python tools/search.py serve GALLERY
python tools/search.py export GALLERY --out table.parquet

docs/search.md goes through a day with it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mscmreid.command_line import add_options, run_tool, tool_parser
from mscmreid.modalities import MODALITIES

if TYPE_CHECKING:
    from mscmreid.retrieval.encoder import Encoder
    from mscmreid.retrieval.filters import Filter

MOST_SHOWN = 10
"""Queries whose answers are printed."""
ENGINES = "exact, faiss:flat, faiss:ivfpq, faiss:hnsw, milvus:flat, milvus:ivf, milvus:hnsw"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
        part = commands.add_parser(name, help=help, description=help)
        part.add_argument("gallery", type=Path, metavar="GALLERY", help="folder of the gallery")
        part.set_defaults(run=run)
        add_options(part, "--debug")
        return part

    part = command("create", create, "make a new gallery")
    part.add_argument("config", help="config file; or an exported model (.onnx, .xml) alone")
    part.add_argument("checkpoint", nargs="?", help="checkpoint of training, or a converted official one")
    part.add_argument("--dtype", choices=["float32", "float16"], default="float32", help="of the features on disk")
    part.add_argument("--feature", default="feat_bn", help="feat_bn, feat_pool, sum, blend=A (default: feat_bn)")
    part.add_argument(
        "--depth-range", nargs="+", metavar="VALUE", help="LOW HIGH of 16-bit frames, or percentiles:1,99"
    )
    add_options(part, "--cfg-options", "--flip", "--precision", "--device")

    part = command("add", add, "add images; what is there already is left alone")
    part.add_argument("images", nargs="+", metavar="IMAGES", help="files, lists (.txt, .csv) or folders")
    part.add_argument("--modality", choices=MODALITIES, required=True)
    part.add_argument("--camera", help="of all of them")
    part.add_argument(
        "--camera-pattern", metavar="REGEX", help="its first group is the camera; tried on the path below IMAGES"
    )
    part.add_argument("--time", help="of all of them (2026-11-25T22:14:03), or mtime: when the file was written")
    part.add_argument("--time-pattern", metavar="REGEX", help="its first group is the time")
    part.add_argument(
        "--time-format", metavar="FORMAT", help="of that group, such as %%Y%%m%%d_%%H%%M%%S (default: ISO 8601)"
    )
    part.add_argument("--id-pattern", metavar="REGEX", help="its first group is the person, where people are known")
    part.add_argument("--table", type=Path, metavar="CSV", help="columns path, and camera, time, id as far as known")
    part.add_argument("--skip-unreadable", action="store_true", help="leave out images that cannot be read")
    _encoder_options(part)

    part = command("query", query, "rank the gallery for each of some images")
    part.add_argument("images", nargs="+", metavar="IMAGES", help="files, lists (.txt, .csv) or folders")
    part.add_argument("--modality", choices=MODALITIES, required=True, help="of the queries")
    part.add_argument("--top", type=int, default=10, help="images a list (default: 10)")
    _filter_options(part)
    part.add_argument("--engine", default="exact", help=f"{ENGINES} (default: exact)")
    part.add_argument("--uri", help="of a Milvus server, such as http://milvus:19530 (default: a file in the gallery)")
    part.add_argument("--out", type=Path, metavar="DIR", help="write answers.csv, answers.json and pictures there")
    part.add_argument("--overwrite", action="store_true", help="replace the answers that are in OUT")
    part.add_argument("--pages", type=int, default=20, help="at most so many pictures of six queries (default: 20)")
    part.add_argument("--json", action="store_true", help="print JSON in the place of a table")
    _encoder_options(part)

    part = command("info", info, "say what is in it")
    part.add_argument("--json", action="store_true", help="as JSON")
    part.add_argument("--check", action="store_true", help="compare every file with its checksum")

    part = command("remove", remove, "take images out; their files are not touched")
    part.add_argument("--path", nargs="+", metavar="PATH", help="these files, and all below these folders")
    _filter_options(part)
    part.add_argument("--dry-run", action="store_true", help="only say which")

    part = command("calibrate", calibrate, "find out from labelled images what a score means")
    part.add_argument(
        "--pairs", type=Path, metavar="CSV", help="columns image_a, modality_a, image_b, modality_b, same"
    )
    part.add_argument("--features", type=Path, metavar="NPZ", help="labelled features of tools/test.py --out-features")
    part.add_argument("--split", choices=["val", "test"], help="labelled images of this data loader of --config")
    part.add_argument("--false-matches", type=float, default=1e-3, metavar="RATE", help="wished (default: 0.001)")
    part.add_argument("--method", choices=["isotonic", "platt"], default="isotonic", help="of the probability")
    part.add_argument(
        "--prior", type=float, help="share of pairs that show one person (default: of the labelled pairs)"
    )
    part.add_argument("--out", type=Path, metavar="DIR", help="write calibration.png and calibration_cameras.csv there")
    part.add_argument("--overwrite", action="store_true", help="replace what is in OUT")
    add_options(part, "--cfg-options")
    _encoder_options(part)

    part = command("serve", serve, "open a web page to search with, on this machine")
    part.add_argument("--host", default="127.0.0.1", help="where to listen; others need a token (default: 127.0.0.1)")
    part.add_argument("--port", type=int, default=8765, help="0: any free one (default: 8765)")
    part.add_argument("--marks", type=Path, metavar="CSV", help="what people mark (default: marks.csv in the gallery)")
    part.add_argument("--engine", default="exact", help=f"{ENGINES} (default: exact)")
    part.add_argument("--max-megabytes", type=float, default=20, help="of an uploaded file (default: 20)")
    part.add_argument("--max-megapixels", type=float, default=50, help="of an uploaded image (default: 50)")
    _encoder_options(part)

    part = command("export", export, "write features and what is known of the images for other programs")
    part.add_argument("--out", type=Path, required=True, metavar="FILE", help=".csv, .parquet, or a folder (FiftyOne)")
    part.add_argument("--format", choices=["csv", "parquet", "fiftyone"], help="default: by the end of --out")
    part.add_argument("--without-features", action="store_true", help="only what is known of the images")
    part.add_argument("--overwrite", action="store_true", help="replace --out")
    _filter_options(part)

    command("compact", compact, "join small parts and free the places of removed images")
    return parser.parse_args(argv)


def _encoder_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--config", help="in the place of the one that the gallery was made with")
    part.add_argument("--checkpoint", help="where it is now, if it moved")
    part.add_argument("--batch-size", type=int, default=64, help="images a forward pass (default: 64)")
    part.add_argument("--workers", type=int, help="decoding threads (default: one a core, at most eight)")
    add_options(part, "--device")


def _filter_options(part: argparse.ArgumentParser) -> None:
    group = part.add_argument_group("which images of the gallery")
    group.add_argument("--gallery-modality", choices=MODALITIES)
    group.add_argument("--camera", nargs="+", help="only these")
    group.add_argument("--exclude-camera", nargs="+", help="none of these")
    group.add_argument("--since", metavar="TIME", help="from then on: 2026-11-25 or 2026-11-25T22:14:03")
    group.add_argument("--until", metavar="TIME", help="before then")
    group.add_argument("--id", nargs="+", help="only these people")


def _filter(args: argparse.Namespace) -> Filter:
    from mscmreid.retrieval.filters import Filter

    return Filter(args.camera, args.exclude_camera, args.since, args.until, args.gallery_modality, args.id)


def _encoder(args: argparse.Namespace) -> Encoder:
    from mscmreid.retrieval.recipe import open_encoder

    return open_encoder(
        args.gallery,
        config=args.config,
        checkpoint=args.checkpoint,
        device=args.device,
        batch_size=args.batch_size,
        num_workers=args.workers,
    )


def create(args: argparse.Namespace) -> None:
    from mscmreid.intake import Intake
    from mscmreid.retrieval.exported import RUNTIMES, ExportedEncoder
    from mscmreid.retrieval.gallery import Gallery, require_new
    from mscmreid.retrieval.recipe import save_exported_recipe, save_recipe

    require_new(args.gallery)  # before a network is loaded
    intake = Intake.with_depth(args.depth_range)
    if Path(args.config).suffix in RUNTIMES:
        asked = (args.checkpoint, args.cfg_options, args.flip, args.precision, args.device, args.feature != "feat_bn")
        if any(asked):
            raise ValueError(
                f"{args.config} was exported with its weights and options: nothing of a model is asked here"
            )
        exported = ExportedEncoder(args.config, intake=intake)
        gallery = Gallery.create(args.gallery, exported, dtype=args.dtype)
        save_exported_recipe(gallery.path, exported)
    elif args.checkpoint is None:
        raise ValueError("a gallery needs a config and a checkpoint, or an exported model (.onnx, .xml)")
    else:
        from mscmreid.apis import init_model, load_config
        from mscmreid.apis.test import add_flip
        from mscmreid.retrieval.encoder import ModelEncoder

        cfg = load_config(args.config, args.cfg_options)
        if args.flip:
            add_flip(cfg)
        model = init_model(cfg, args.checkpoint, args.device)
        precision = args.precision or "float32"
        encoder = ModelEncoder(model, feature=args.feature, intake=intake, precision=precision)
        gallery = Gallery.create(args.gallery, encoder, dtype=args.dtype)
        save_recipe(gallery.path, model.cfg, args.checkpoint, encoder)
    print(f"{gallery.path}: a new gallery of {gallery.dim} {args.dtype} values an image")


def add(args: argparse.Namespace) -> None:
    from mscmreid.intake import write_skipped
    from mscmreid.retrieval.adding import Described
    from mscmreid.retrieval.gallery import Gallery

    Gallery.open(args.gallery)  # before a network is loaded, as is all that can be said of the images
    described = Described.of(args.images, args.modality, **_descriptions(args))
    gallery = Gallery.open(args.gallery, _encoder(args))
    before = len(gallery)
    report = gallery.add_described(described, on_error="skip" if args.skip_unreadable else "raise")
    print(
        f"{report.added:,} added, {report.replaced:,} replaced, {report.already_there:,} already there: "
        f"{before:,} -> {len(gallery):,} images"
    )
    if report.skipped:
        write_skipped(report.skipped, gallery.path / "skipped.csv")
        print(f"{len(report.skipped):,} cannot be read and were left out: {gallery.path / 'skipped.csv'}")


def _descriptions(args: argparse.Namespace) -> dict[str, Any]:
    """Camera, time and ids of :meth:`Gallery.add`, from the options."""
    from mscmreid.retrieval.describing import by_pattern, by_table

    found: dict[str, Any] = {}
    for column, value, pattern in (
        ("camera", args.camera, args.camera_pattern),
        ("time", args.time, args.time_pattern),
        ("ids", None, args.id_pattern),
    ):
        if value is not None and pattern is not None:
            raise ValueError(f"--{column} and --{column}-pattern exclude each other")
        if pattern is not None:
            found[column] = by_pattern(pattern, args.time_format if column == "time" else None)
        elif value is not None:
            found[column] = value
    if args.table is not None:
        table = by_table(args.table)
        both = sorted(set(table) & set(found))
        if both:
            raise ValueError(f"{args.table} and an option both say the {', '.join(both)}")
        found |= table
    return found


def query(args: argparse.Namespace) -> None:
    from mscmreid.intake import UnreadableImageError, check_images, list_reasons
    from mscmreid.retrieval import answers as written
    from mscmreid.retrieval.engines import make_engine
    from mscmreid.retrieval.files import image_files
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.retrieval.recall import recall_on_sample
    from mscmreid.tables import plain, write_csv
    from mscmreid.visualization.rankings import save_picture

    if args.out is not None:
        written.check_free(args.out, "answers*", args.overwrite)
    if args.top < 1:
        raise ValueError(f"--top must be at least 1, found {args.top}")
    where = _filter(args)
    gallery = Gallery.open(args.gallery)  # all that can be told is told before a network is loaded
    gallery.check_filter(where)
    engine = make_engine(args.engine, gallery.path, args.uri)
    names = [file.path for file in image_files(args.images)]
    if unreadable := check_images(names, gallery.intake):
        number = f"{len(unreadable):,} of {len(names):,} queries cannot be read"
        raise UnreadableImageError(f"{number}: {list_reasons(unreadable)}", unreadable)
    gallery = Gallery.open(args.gallery, _encoder(args))
    features = gallery.query_features(names, args.modality)
    found = written.answers(gallery, names, features, args.modality, args.top, where, engine)
    notes = [gallery.trust(args.modality, args.gallery_modality)]
    if not engine.is_exact:
        notes.append(recall_on_sample(gallery, engine, features, where))
    if args.json:
        print(written.as_json(found))
    elif args.out is None:
        for answer in found[:MOST_SHOWN]:
            print("\n".join([f"\n{plain(answer.query)}", *written.terminal_lines(answer)]))
        if len(found) > MOST_SHOWN:
            print(f"... and {len(found) - MOST_SHOWN:,} more queries: --out DIR for all of them")
        print()
    if args.out is not None:
        title, num_pages = f"{args.modality} queries in {gallery.path.name}", 0
        with written.results_folder(args.out, "answers*", args.overwrite) as folder:
            intake = gallery.intake
            for page in written.pages(found, title, args.pages, intake=intake):
                num_pages += 1
                save_picture(page, folder / f"answers_{num_pages:03d}.png")
            write_csv(written.table_rows(found), folder / "answers.csv")
            (folder / "answers.json").write_text(written.as_json(found), encoding="utf-8")
        print(f"{args.out}: answers.csv, answers.json; queries: {len(found):,}, pictures: {num_pages}")
        if len(found) > num_pages * written.QUERIES_A_PAGE:
            print(f"only the first {num_pages * written.QUERIES_A_PAGE} queries are pictured: --pages for more")
    nobody = sum(written.verdict(answer.hits) == written.NOBODY for answer in found)
    if nobody:
        notes.append(f"nobody here, for {nobody:,} of {len(found):,} queries: no image reaches the threshold")
    print("\n".join(notes), file=sys.stderr if args.json else sys.stdout)


def info(args: argparse.Namespace) -> None:
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.tables import plain

    gallery = Gallery.open(args.gallery)
    if args.check:
        gallery.verify()
    content = gallery.info()
    if args.json:
        print(json.dumps(content, indent=1))
        return
    identity = content.pop("identity")
    for name, value in content.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key}: {_number(count)}" for key, count in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name.replace('_', ' '):<18} {'none' if value in ('', None) else plain(_number(value))}")
    encoder = f"{identity.get('model')}, {identity.get('feature')}, weights {identity['weights_sha256'][:12]}"
    print(f"{'encoder':<18} {plain(encoder)}")
    if args.check:
        print("every file is what was written")


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def remove(args: argparse.Namespace) -> None:
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.tables import plain

    gallery, where = Gallery.open(args.gallery), _filter(args)
    if not where.is_empty:
        gallery.check_filter(where)
    if args.dry_run:
        gone = gallery.chosen(where, args.path)
        print("\n".join(plain(hit.path) for hit in gone))
        print(f"{len(gone):,} of {len(gallery):,} images would go")
        return
    before = len(gallery)
    count = gallery.remove(where, args.path)
    where_they_are = "their files are where they were" if count else f"none is, or lies below, {', '.join(args.path)}"
    print(f"{count:,} of {before:,} images removed; {where_they_are}")


def calibrate(args: argparse.Namespace) -> None:
    from mscmreid.retrieval import labelled
    from mscmreid.retrieval.answers import check_free, results_folder
    from mscmreid.retrieval.calibration import calibrate
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.tables import aligned_lines, plain, write_csv

    if sum(source is not None for source in (args.pairs, args.features, args.split)) > 1:
        raise ValueError("--pairs, --features and --split exclude each other")
    if args.out is not None:
        check_free(args.out, "calibration*", args.overwrite)
    if args.pairs is not None:
        encoder = _encoder(args)
        gallery = Gallery.open(args.gallery, encoder)
        pairs, source = labelled.of_list(gallery, encoder, args.pairs)
    elif args.split is not None:
        from mscmreid.apis import load_config

        if args.config is None:
            raise ValueError("--split is of a config: say which with --config")
        encoder = _encoder(args)
        gallery = Gallery.open(args.gallery, encoder)
        pairs, source = labelled.of_split(gallery, encoder, load_config(args.config, args.cfg_options), args.split)
    else:
        gallery = Gallery.open(args.gallery)
        pairs, source = (
            labelled.of_gallery(gallery) if args.features is None else labelled.of_features(gallery, args.features)
        )
    found = calibrate(pairs, gallery.identity, source, args.false_matches, args.method, args.prior)
    gallery.set_calibration(found)
    lines = [["modalities", "threshold", "false matches, %", "true matches, %", "pairs of two", "pairs of one"]]
    for kind, means in found.kinds.items():
        threshold = f"{means.threshold:.4f} [{means.threshold_interval[0]:.4f}, {means.threshold_interval[1]:.4f}]"
        rates = [
            f"{100 * rate.value:.3g} [{100 * rate.low:.3g}, {100 * rate.high:.3g}]"
            for rate in (means.false_matches, means.true_matches)
        ]
        counts = [f"{rate.num:,}" for rate in (means.false_matches, means.true_matches)]
        lines.append([kind, threshold, *rates, *counts])
    print("\n".join(aligned_lines(lines)))
    print(f"from {plain(source)}; in brackets {next(iter(found.kinds.values())).intervals}")
    if args.out is not None:
        from mscmreid.visualization.calibration_chart import draw_calibration

        table: list[list[Any]] = [["modalities", "camera_a", "camera_b", "measure", "rate", "low", "high", "pairs"]]
        for kind, means in found.kinds.items():
            for pair in means.cameras:
                for measure in [name for name in ("false_matches", "true_matches") if name in pair]:
                    rate = pair[measure]
                    table.append(
                        [kind, *pair["cameras"], measure, rate["value"], rate["low"], rate["high"], rate["num"]]
                    )
        with results_folder(args.out, "calibration*", args.overwrite) as folder:
            draw_calibration(found, folder / "calibration.png")
            write_csv(table, folder / "calibration_cameras.csv")
        print(f"{args.out}: calibration.png, calibration_cameras.csv")


def serve(args: argparse.Namespace) -> None:
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.serving.run import serve as run

    run(
        Gallery.open(args.gallery, _encoder(args)),
        host=args.host,
        port=args.port,
        marks=args.marks,
        engine=args.engine,
        megabytes=args.max_megabytes,
        megapixels=args.max_megapixels,
    )


def export(args: argparse.Namespace) -> None:
    from mscmreid.retrieval.gallery import Gallery
    from mscmreid.retrieval.tables import FORMATS, export_gallery

    kind = args.format or FORMATS.get(args.out.suffix, "fiftyone")
    if args.out.suffix not in FORMATS and args.out.suffix and args.format is None:
        raise ValueError(
            f"{args.out}: a table's name ends in {' or '.join(FORMATS)}; a folder for FiftyOne: --format fiftyone"
        )
    if args.out.exists() and (kind == "fiftyone" or not args.overwrite):
        hint = "a data set needs a new folder" if kind == "fiftyone" else "choose another --out, or --overwrite"
        raise ValueError(f"{args.out} is there already: {hint}")
    gallery, where = Gallery.open(args.gallery), _filter(args)
    gallery.check_filter(where)
    count = export_gallery(gallery, args.out, kind, where, not args.without_features)
    print(f"{args.out}: {count:,} images, {kind}")


def compact(args: argparse.Namespace) -> None:
    from mscmreid.retrieval.gallery import Gallery

    gallery = Gallery.open(args.gallery)
    before = gallery.info()
    gallery.compact()
    after = gallery.info()
    print(
        f"{before['segments']} -> {after['segments']} segments, {before['bytes'] / 2**20:,.1f} -> "
        f"{after['bytes'] / 2**20:,.1f} MiB"
    )


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    run_tool(main)
