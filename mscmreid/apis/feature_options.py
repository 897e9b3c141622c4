"""Command-line options of the tools that work on a feature file: which file, which protocols."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from mscmreid.evaluation.features import FeatureTable
from mscmreid.evaluation.presets import DATASETS, protocols_of
from mscmreid.evaluation.protocols import GeneralProtocol, Protocol, protocol_of
from mscmreid.evaluation.standard import check_layout
from mscmreid.near_names import did_you_mean


def add_feature_options(parser: argparse.ArgumentParser) -> None:
    """The options that :func:`read_features` reads; the file itself is the positional argument ``features``."""
    parser.add_argument("--npy", help="(N, D) array of a .csv's rows")
    parser.add_argument("--dataset", choices=list(DATASETS), help="whose protocols (default: those named in the file)")
    parser.add_argument("--split", help="name of the split in the results, for files that do not say")
    parser.add_argument(
        "--protocol",
        nargs="+",
        help="all, indoor, all_multi, all_official, ..., every; or names in the file (default: those in the file)",
    )
    parser.add_argument("--flip", action=argparse.BooleanOptionalAction, help="default: if mirrored features are there")
    parser.add_argument("--normalize", action="store_true", help="scale every feature row to unit length first")
    own = parser.add_argument_group("own data, instead of --dataset")
    own.add_argument("--query", nargs="+", metavar="KEY=VALUE", help="modality=infrared cameras=3,6 role=query")
    own.add_argument("--gallery", nargs="+", metavar="KEY=VALUE", help="the same for the gallery")
    own.add_argument("--name", help="of the data set in the results, for files that do not say")
    own.add_argument("--exclude", default="none", choices=["none", "camera", "id-camera"])
    own.add_argument("--shots", type=int, help="gallery images drawn per id and camera (default: all)")
    own.add_argument("--identity-cmc", action="store_true", help="rank identities, each at its best row")


def read_features(args: argparse.Namespace) -> tuple[FeatureTable, list[Protocol]]:
    """The feature table and the protocols that the options ask for.

    Args:
        args: with ``features``, the options of :func:`add_feature_options`, and ``data_root`` (None: as the file
            says).
    """
    table = FeatureTable.load(args.features, args.npy)
    if args.normalize:
        table = table.normalized()
    for name, value in (("data_root", args.data_root), ("split", args.split)):
        if value is not None:
            table.meta[name] = value
    if args.name is not None:
        if table.meta.get("dataset_name", args.name) != args.name:
            raise ValueError(f"--name {args.name}, but the file says that it is of {table.meta['dataset_name']}")
        table.meta["dataset_name"] = args.name
    return table, choose_protocols(args, table)


def image_root(args: argparse.Namespace, table: FeatureTable) -> Path:
    """The folder that images are read below: the one that the user names, not the one that the file does.

    Raises:
        ValueError: ``--data-root`` is not given.
        FileNotFoundError: it is no folder.
    """
    if args.data_root is None:
        told = table.meta.get("data_root")
        where = f"the file says they are in {told!r}" if told else "the file does not say where they are"
        without = ", or --no-images" if hasattr(args, "no_images") else ""
        raise ValueError(f"say in which folder the images are: give --data-root DIR{without} ({where})")
    if not Path(args.data_root).is_dir():
        raise FileNotFoundError(f"--data-root {args.data_root}: there is no such folder")
    return Path(args.data_root)


def choose_protocols(args: argparse.Namespace, table: FeatureTable) -> list[Protocol]:
    """The protocols that the options ask for; without options those of the file, else its data set's published ones.

    Raises:
        ValueError: options that do not go together; a file that does not say what it is, or whose rows cannot be those
            of the data set that it, or an option, names.
    """
    if args.query or args.gallery:
        if not (args.query and args.gallery) or args.dataset or args.protocol:
            raise ValueError("own data needs --query and --gallery, without --dataset and --protocol")
        sides = conditions(args.query), conditions(args.gallery)
        return [GeneralProtocol(*sides, exclude=args.exclude, shots=args.shots, identity_cmc=args.identity_cmc)]
    named = table.meta.get("dataset_name")
    short = {name: short for short, name in DATASETS.items()}
    if args.dataset and named in short and short[named] != args.dataset:
        raise ValueError(f"--dataset {args.dataset}, but the file says that its features are of {named}")
    dataset = args.dataset or short.get(str(named))
    recorded = {} if args.dataset else _recorded(table)
    if dataset is not None:
        check_layout(table.columns, DATASETS[dataset])
    if recorded:
        if not args.protocol:
            return list(recorded.values())
        if set(args.protocol) <= set(recorded):
            return [recorded[tag] for tag in args.protocol]
        if dataset is None:
            wrong = next(tag for tag in args.protocol if tag not in recorded)
            raise ValueError(
                f"the file has no protocol {wrong!r}{did_you_mean(wrong, recorded)}; it has {', '.join(recorded)}"
            )
    if dataset is None:
        what = "names no data set" if named is None else f"is of the data set {named!r}"
        raise ValueError(f"the file {what}: say --dataset {'/'.join(DATASETS)}, or --query and --gallery")
    table.meta.setdefault("dataset_name", DATASETS[dataset])
    return protocols_of(dataset, args.protocol)


def _recorded(table: FeatureTable) -> dict[str, Protocol]:
    """Tag -> protocol, of those that the run tested that made the file."""
    recorded = table.meta.get("protocols") or []
    if not isinstance(recorded, list) or not all(isinstance(config, dict) for config in recorded):
        raise ValueError(f"the file's protocols must be a list of dicts, found {recorded!r}")
    protocols = [protocol_of(config) for config in recorded]
    return {protocol.tag: protocol for protocol in protocols}


def conditions(pairs: Sequence[str]) -> dict:
    """``['modality=infrared', 'cameras=3,6']`` as keyword conditions of a general protocol."""
    found: dict = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"conditions are KEY=VALUE, found {pair!r}")
        if key == "cameras" and not re.fullmatch(r"\d+(,\d+)*", value):
            raise ValueError(f"cameras are whole numbers, as in cameras=3,6, found {pair!r}")
        found[key] = [int(camera) for camera in value.split(",")] if key == "cameras" else value
    return found
