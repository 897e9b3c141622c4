"""Where a network looks when it finds two people alike: Grad-CAM on both images, and its attention.

explain.py CONFIG CHECKPOINT --query night/a.jpg night/b.jpg --query-modality infrared --gallery day/ --out looks/
explain.py CONFIG CHECKPOINT --features F.npz --data-root data/SYSU-MM01 --query cam3/0007/0001.jpg --out looks/

One picture a query (OUT/NAME.png): its five nearest gallery images, where Grad-CAM sees the reason on either side, and
maps of the attention that the network has. With --features the queries are images of the file (or numbers of its
rows), ranked under its protocol, right and wrong ones framed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.evaluation.presets import DATASETS
from mscmreid.structures import MODALITIES

FAR = 0.02  # similarities of one checkpoint differ by less, whatever the machine and the precision of the features


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--cfg-options", "--device")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint of training, or a converted official one")
    parser.add_argument("--query", nargs="+", required=True, metavar="IMG", help="images; with --features also rows")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--top", type=int, default=5, help="gallery images (default: 5)")
    parser.add_argument("--feature", default="feat_bn", help="whose cosine is explained (default: feat_bn)")
    parser.add_argument("--method", choices=["gradcam", "hirescam"], default="gradcam", help="default: gradcam")
    parser.add_argument(
        "--position", nargs=2, type=float, metavar=("DOWN", "RIGHT"), help="of non-local blocks, 0 to 1 (default: mean)"
    )
    images = parser.add_argument_group("images of your own")
    images.add_argument("--gallery", nargs="+", type=Path, metavar="PATH", help="a folder, or images")
    images.add_argument("--query-modality", choices=MODALITIES)
    images.add_argument("--gallery-modality", choices=MODALITIES, help="default: the other one")
    table = parser.add_argument_group("images of a feature file")
    table.add_argument("--features", metavar="F.npz", help="of tools/test.py --out-features, of the same checkpoint")
    table.add_argument("--data-root", help="folder of the data set; no image outside of it is read")
    table.add_argument("--dataset", choices=list(DATASETS), help="whose protocols (default: those named in the file)")
    table.add_argument("--protocol", help="default: the first of the file, or of those published")
    args = parser.parse_args(argv)
    if (args.gallery is None) == (args.features is None):
        parser.error("exactly one of --gallery and --features is needed")
    if args.gallery is not None and args.query_modality is None:
        parser.error("--gallery needs --query-modality")
    if args.top < 1:
        parser.error("--top must be at least 1")
    return args


Asked = tuple[list[tuple[Any, str, list[str]]], Any]
"""(ranking, query modality, gallery modalities) of each query, and how the images are read."""


def own_rankings(args: argparse.Namespace, model: Any) -> Asked:
    """Queries among images of one's own."""
    import numpy as np

    from mscmreid.evaluation.similarity import similarities
    from mscmreid.intake import Intake, find_images
    from mscmreid.retrieval.extract import stream_features
    from mscmreid.visualization.rankings import RankedImage, Ranking

    other = args.gallery_modality or MODALITIES[1 - MODALITIES.index(args.query_modality)]
    paths = list(map(str, find_images(args.gallery)))
    features = []
    for names, modality in ((args.query, args.query_modality), (paths, other)):
        batches = [batch.features for batch in stream_features(model, names, modality, intake=Intake())]
        if args.feature not in batches[0]:
            raise ValueError(f"the model's features are {', '.join(batches[0])}; found {args.feature!r}")
        features.append(np.concatenate([batch[args.feature] for batch in batches]))
    scores = similarities(features[0], np.arange(len(args.query)), features[1])
    found = []
    for name, row in zip(args.query, scores, strict=True):
        nearest = np.argsort(-row, kind="stable")[: args.top]
        gallery = [RankedImage(Path(paths[i]), f"{row[i]:.2f}  {paths[i]}") for i in nearest]
        found.append((Ranking(RankedImage(Path(name), name), gallery), args.query_modality, [other] * len(gallery)))
    return found, Intake()


def table_rankings(args: argparse.Namespace) -> Asked:
    """Queries among the images of a feature file."""
    import numpy as np

    from mscmreid.apis.feature_options import choose_protocols, image_root
    from mscmreid.evaluation import FeatureTable
    from mscmreid.intake import PUBLISHED, Intake
    from mscmreid.visualization.nearest import nearest_rows
    from mscmreid.visualization.pictures import as_ranking

    table = FeatureTable.load(args.features)
    root = image_root(args, table)
    tags = args.protocol and [args.protocol]
    protocol = choose_protocols(argparse.Namespace(**dict(vars(args), query=None, gallery=None, protocol=tags)), table)[
        0
    ]
    selection = protocol.selections(table.columns, root)[0]
    row_of = {path: row for row, path in enumerate(table.path)}
    found = []
    for text in args.query:
        row = int(text) if text.isdigit() and text not in row_of else row_of.get(text)
        position = np.flatnonzero(selection.query == row)
        if row is None or not len(position):
            raise ValueError(
                f"{text!r} is no query of {protocol.name}: expected a path of the file, such as "
                f"{table.path[selection.query[0]]!r}, or the number of a row"
            )
        nearest = nearest_rows(table.matrix(args.feature), table, selection, position.tolist(), args.top)[0]
        kinds = table.modality[nearest.rows].tolist()
        found.append((as_ranking(nearest, table, root), str(table.modality[nearest.query]), kinds))
    return found, Intake.of(table.meta.get("intake"), PUBLISHED)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import init_model, load_config
    from mscmreid.explain.pictures import explain_ranking
    from mscmreid.visualization.rankings import draw_rankings, save_picture

    model = init_model(load_config(args.config, args.cfg_options), args.checkpoint, args.device)
    rankings, intake = own_rankings(args, model) if args.features is None else table_rankings(args)
    names: dict[str, int] = {}
    for ranking, modality, kinds in rankings:
        rows, similarity = explain_ranking(
            model, ranking, modality, kinds, args.feature, args.position, args.method, intake
        )
        if args.features is not None:
            shown = [float(image.caption.split()[-1]) for image in ranking.gallery]
            far = max(abs(a - b) for a, b in zip(shown, similarity, strict=True))
            if far > FAR:
                raise ValueError(
                    f"{args.features} was made by another network than {args.checkpoint}: a similarity differs by "
                    f"{far:.2f}; extract it anew with tools/test.py --out-features"
                )
        parts = ranking.query.path.with_suffix("").parts
        stem = "_".join(parts[-3:] if args.features else parts[-1:])
        names[stem] = names.get(stem, 0) + 1
        out = args.out / f"{stem}{'' if names[stem] == 1 else f'_{names[stem]}'}.png"
        title = f"Where {Path(args.config).stem} looks"
        told = f"{args.feature}, {Path(args.checkpoint).name}; each map from 0 (clear) to its largest value (yellow)"
        save_picture(draw_rankings(rows, title, told, intake=intake), out)
        print(f"{out}: similarities {', '.join(f'{value:.2f}' for value in similarity)}; {len(rows) - 1} kinds of maps")


if __name__ == "__main__":
    run_tool(main)
