"""Building a part of a model from its config, with those facts about its surroundings that its constructor names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mscmreid.registry import MODELS


def build_part(cfg: Mapping[str, Any], **known: Any) -> Any:
    """A registered part.

    Args:
        cfg: its config: ``type`` and arguments; an argument that stands here counts, not the one in ``known``.
        known: what is known where it is built, such as ``in_channels``; the constructor gets what it names.
    """
    cls = MODELS.get(cfg["type"]) if isinstance(cfg.get("type"), str) else cfg.get("type")
    names = inspect.signature(cls).parameters if cls else ()  # an unknown type: the registry says so
    return MODELS.build({**{name: value for name, value in known.items() if name in names}, **cfg})
