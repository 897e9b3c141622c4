"""Where the configs and tools are that come with the package: in a checkout, or as installed."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
CONFIG_FOLDERS = ("", "ablations", "cross")
"""Folders of configs, below ``configs``, that a name may go without or with."""


def shipped(name: str) -> Path:
    """The folder ``configs`` or ``tools``: beside the package in a checkout, in its folder ``.mim`` where installed.

    Raises:
        FileNotFoundError: neither is there.
    """
    checkout, installed = PACKAGE.parent / name, PACKAGE / ".mim" / name
    if (PACKAGE.parent / "setup.py").is_file() and checkout.is_dir():
        return checkout
    if not installed.is_dir():
        raise FileNotFoundError(
            f"expected the {name} of mscmreid in {installed}, found none: install the package again"
        )
    return installed


def find_config(config: str | Path) -> Path:
    """The file of a config.

    Args:
        config: a file, or the name of a config that comes with the package (``mscm_synthetic``, with or without
            ``.py``, also of ``ablations`` and ``cross``). A file of that name goes first.

    Raises:
        FileNotFoundError: there is neither.
    """
    path = Path(config)
    if path.is_file():
        return path
    named = {file.stem: file for file in sorted(shipped("configs").rglob("*.py")) if "_base_" not in file.parts}
    name = path.name.removesuffix(".py")
    folders = {Path(top, folder) for top in ("", "configs") for folder in CONFIG_FOLDERS}
    if path.parent in folders and name in named:
        return named[name]
    close = get_close_matches(name, named, 3)
    raise FileNotFoundError(
        f"config: expected a file at {path.absolute()} or the name of one of mscmreid's configs, found neither"
        + (f" (close to it: {', '.join(close)})" if close else "")
    )
