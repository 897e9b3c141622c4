"""Options that people know from ``train.py`` and ``test.py`` of other OpenMMLab projects: what they are here, or what
to do instead."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from mscmreid.command_line import ToolAction, out_file, set_options

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
CONFIG_ALIASES: dict[str, Mapping[str, Any]] = {
    "--auto-scale-lr": {"auto_scale_lr.enable": True},
    "--deterministic": {"randomness.deterministic": True},
    "--no-pin-memory": {f"{loader}.pin_memory": False for loader in LOADERS},
    "--no-persistent-workers": {f"{loader}.persistent_workers": False for loader in LOADERS},
    "--no-validate": dict.fromkeys(("val_dataloader", "val_cfg", "val_evaluator")),
}
"""Switches -> the options of the config that they stand for."""
TRAIN_INSTEAD = {
    "--gpus": "start several processes by tools/dist_train.sh CONFIG GPUS",
    "--gpu-ids": "choose GPUs by CUDA_VISIBLE_DEVICES=0,1",
    "--gpu-id": "choose a GPU by CUDA_VISIBLE_DEVICES=0",
}
TEST_INSTEAD = {
    "--show-dir": "pictures are made from features: --out-features F.npz, then "
    "tools/analysis_tools/draw_rankings.py F.npz OUT.png --config CONFIG, or a page by tools/report.py",
    "--show": "nothing opens a window: --out-features F.npz, then tools/report.py F.npz OUT.html makes a page",
    "--wait-time": "it belongs to --show, which this tool has not",
    "--eval": "test_evaluator of the config says what is measured; every protocol is, in one pass",
    "--metrics": "test_evaluator of the config says what is measured; every protocol is, in one pass",
    "--out-item": "--out-features F.npz keeps the features, --out-json R.json the results",
    "--dump": "--out-features F.npz keeps the features, --out-json R.json the results",
}
"""Options without a counterpart -> what to do."""


class SetsConfig(ToolAction):
    """A switch, or an option with a value, that stands for options of the config."""

    def __init__(self, *args: Any, sets: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sets = sets

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """Add them to what ``--cfg-options`` says."""
        options = {key: values if value is ... else value for key, value in self.sets.items()}
        set_options(namespace, options, [f"{key}={value}" for key, value in options.items()], "cfg_options")


class Instead(ToolAction):
    """An option that is not here: says what to do."""

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """End with the message."""
        raise ValueError(f"not an option here: {self.const}")


class OutFile(ToolAction):
    """``--out FILE``: features or results, by the file's ending."""

    def act(self, namespace: argparse.Namespace, values: Any) -> None:
        """As ``--out-features`` or ``--out-json``."""
        setattr(namespace, "out_features" if values.suffix.lower() == ".npz" else "out_json", values)


def add_config_switches(group: Any, *names: str) -> None:
    """Some of :data:`CONFIG_ALIASES`."""
    for name in names:
        text = " ".join(f"{key}={value}" for key, value in CONFIG_ALIASES[name].items())
        group.add_argument(
            name, nargs=0, action=SetsConfig, sets=CONFIG_ALIASES[name], dest=argparse.SUPPRESS, help=text
        )


def add_instead(group: Any, instead: Mapping[str, str]) -> None:
    """Options that only say what to do; not in the help."""
    for name, text in instead.items():
        group.add_argument(name, nargs="*", action=Instead, const=text, dest=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Those of ``train.py``."""
    group = parser.add_argument_group("as in other OpenMMLab projects")
    add_config_switches(group, *CONFIG_ALIASES)
    group.add_argument(
        "--seed",
        type=int,
        action=SetsConfig,
        sets={"randomness.seed": ...},
        dest=argparse.SUPPRESS,
        metavar="N",
        help="randomness.seed",
    )
    group.add_argument(
        "--load-from",
        action=SetsConfig,
        sets={"load_from": ...},
        dest=argparse.SUPPRESS,
        metavar="FILE",
        help="load_from",
    )
    group.add_argument("--resume-from", dest="resume", default=argparse.SUPPRESS, help="--resume PATH")
    add_instead(group, TRAIN_INSTEAD)


def add_test_options(parser: argparse.ArgumentParser) -> None:
    """Those of ``test.py``."""
    group = parser.add_argument_group("as in other OpenMMLab projects")
    add_config_switches(group, "--no-pin-memory")
    group.add_argument("--tta", dest="flip", action="store_true", help="--flip", default=argparse.SUPPRESS)
    group.add_argument(
        "--amp",
        dest="precision",
        action="store_const",
        const="float16",
        help="--precision float16",
        default=argparse.SUPPRESS,
    )
    group.add_argument(
        "--out",
        action=OutFile,
        type=out_file(".json", ".npz"),
        dest=argparse.SUPPRESS,
        metavar="FILE",
        help="--out-json R.json, --out-features F.npz",
    )
    add_instead(group, TEST_INSTEAD)
