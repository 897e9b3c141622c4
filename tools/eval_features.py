"""Score a feature file without a network: python tools/eval_features.py F.npz --dataset sysu

The table and the JSON are those of a test run. Other people's features: an .npz with the arrays path, pid, cam_id,
modality and one or more features (N, D), or a .csv with those columns and --npy FEATURES.npy. See docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys

from mscmreid.evaluation import (
    FeatureTable,
    GeneralProtocol,
    Protocol,
    evaluate,
    latex_rows,
    markdown_table,
    save_results,
    terminal_table,
)
from mscmreid.evaluation.presets import DATASETS, protocols_of

FORMATS = {"terminal": terminal_table, "markdown": markdown_table, "latex": latex_rows}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help=".npz of a test run or of other code, or a .csv that goes with --npy")
    parser.add_argument("--npy", help="(N, D) array of the .csv's rows")
    parser.add_argument("--dataset", choices=list(DATASETS), help="default: the data set named in the file")
    parser.add_argument("--data-root", help="folder of the data set; only the 'official' SYSU-MM01 draws need it")
    parser.add_argument("--split", help="name of the split in the results, for files that do not say")
    parser.add_argument(
        "--protocol", nargs="+", help="all, indoor, all_multi, all_official, ..., every (default: published)"
    )
    parser.add_argument("--feature", nargs="+", help="feat_bn, feat_pool, sum, blend=A, ... (default: all in the file)")
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, help="default: if mirrored features are there")
    parser.add_argument("--rerank", action="store_true", help="add k-reciprocal re-ranked rows")
    parser.add_argument("--normalize", action="store_true", help="scale every feature row to unit length first")
    parser.add_argument("--memory", type=int, default=1024, help="MiB for ranking beyond the features (default 1024)")
    parser.add_argument("--format", choices=list(FORMATS), default="terminal")
    parser.add_argument("--out-json", help="write the results here")
    own = parser.add_argument_group("own data, instead of --dataset")
    own.add_argument("--query", nargs="+", metavar="KEY=VALUE", help="modality=infrared cameras=3,6 role=query")
    own.add_argument("--gallery", nargs="+", metavar="KEY=VALUE", help="the same for the gallery")
    own.add_argument("--exclude", default="none", choices=["none", "camera", "id-camera"])
    own.add_argument("--shots", type=int, help="gallery images drawn per id and camera (default: all)")
    own.add_argument("--identity-cmc", action="store_true", help="rank identities, each at its best row")
    return parser.parse_args(argv)


def conditions(pairs: list[str]) -> dict:
    """``['modality=infrared', 'cameras=3,6']`` as keyword conditions of a general protocol."""
    found: dict = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"conditions are KEY=VALUE, found {pair!r}")
        found[key] = [int(camera) for camera in value.split(",")] if key == "cameras" else value
    return found


def choose_protocols(args: argparse.Namespace, table: FeatureTable) -> list[Protocol]:
    """The protocols that the options ask for."""
    if args.query or args.gallery:
        if not (args.query and args.gallery) or args.dataset or args.protocol:
            raise ValueError("own data needs --query and --gallery, without --dataset and --protocol")
        sides = conditions(args.query), conditions(args.gallery)
        return [GeneralProtocol(*sides, exclude=args.exclude, shots=args.shots, identity_cmc=args.identity_cmc)]
    named = table.meta.get("dataset_name")
    dataset = args.dataset or {name: short for short, name in DATASETS.items()}.get(named)
    if dataset is None:
        raise ValueError(f"the file names the data set {named!r}: say --dataset, or --query and --gallery")
    table.meta.setdefault("dataset_name", DATASETS[dataset])
    return protocols_of(dataset, args.protocol)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    table = FeatureTable.load(args.features, args.npy)
    if args.normalize:
        table = table.normalized()
    for name, value in (("data_root", args.data_root), ("split", args.split)):
        if value is not None:
            table.meta[name] = value
    protocols = choose_protocols(args, table)
    features = args.feature or [name for name in table.features if not name.endswith("_flip")]
    evaluations = evaluate(
        table, protocols, features, flip=args.flip, rerank=args.rerank, memory_bytes=args.memory << 20
    )
    results = [evaluation.result for evaluation in evaluations]
    print(FORMATS[args.format](results))
    if args.out_json:
        save_results(results, args.out_json)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError, ImportError) as error:
        sys.exit(f"error: {error}")
