"""The config of a run: its text, its variables, and the short names that reach every place where they are needed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pprint import pformat
from typing import Any

from mmengine.config import Config

from mscmreid.engine.runner.config_check import SHARED, drop_variables
from mscmreid.engine.runner.config_form import check_form

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


class PlainTextConfig(Config):
    """MMEngine's config, whose text is written by ``pprint``.

    MMEngine formats the text with yapf, a second of work each time, and asks for it five times at a start and once a
    checkpoint.
    """

    @property
    def pretty_text(self) -> str:
        """The config as Python code, one assignment a key."""
        items = self.to_dict().items()
        return "".join(f"{key} = {pformat(value, width=110, sort_dicts=False)}\n" for key, value in items)


def plain_config(cfg: Config) -> tuple[PlainTextConfig, list[str]]:
    """A copy of a config without its variables, and their names.

    Raises:
        ValueError: see :func:`mscmreid.engine.runner.config_check.drop_variables`.
    """
    content = cfg.to_dict()
    variables = drop_variables(content, cfg.filename)
    env = dict(cfg.env_variables)
    return PlainTextConfig(content, cfg_text=cfg.text, filename=cfg.filename, env_variables=env), variables


def spread_shared(cfg: Config) -> None:
    """Write the short names of the top level (:data:`SHARED`) where they are needed and not said.

    Raises:
        ValueError: it is no image size, or a part of the config says another one; a part is no dict where one must be
            (:func:`mscmreid.engine.runner.config_form.check_form`).
    """
    check_form(cfg.to_dict())
    size = cfg.get("image_size", (0, 0))
    if not (isinstance(size, list | tuple) and [type(v) for v in size] == [int, int]):
        raise ValueError(f"config: image_size must be height and width such as (384, 192), found {size!r}")
    for key in sorted(SHARED & set(cfg)):
        for place in places_of(cfg, key):
            part = functools.reduce(lambda level, name: level[name], place.split("."), cfg)
            found = part.setdefault(key, cfg[key])
            if key == "image_size" and list(_listed(found)) != list(cfg[key]):
                raise ValueError(
                    f"{place}.image_size is {found}, image_size at the top level {tuple(cfg[key])}: the top "
                    "level is the only place that says it"
                )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def places_of(cfg: Config, key: str) -> list[str]:
    """Dotted names of the parts of a config that need the shared ``key``."""
    loaders = [f"{name}.dataset" for name in LOADERS if (cfg.get(name) or {}).get("dataset") is not None]
    backbone = key == "image_size" and (cfg.get("model") or {}).get("backbone") is not None
    return [*loaders, *(["model.backbone"] if backbone else [])]
