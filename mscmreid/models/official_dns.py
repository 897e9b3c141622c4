"""The released DNS's names for our parameters (repository Joey623/DNS, root folder)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mscmreid.models.backbones.resnet import torchvision_name

_STREAMS = {"visible": "visible.visible", "infrared": "thermal.thermal"}
_HSS = {
    "reduce": "channel_attention.0",
    "bn": "channel_attention.1",
    "attend_height": "conv_h",
    "attend_width": "conv_w",
}

UNUSED = (
    (r"base\.base\.layer[12]\.", "the shared network's own stages 1 and 2 are never run"),
    (r"(CSS|DD)\.|base\.HSS\d\.", "this variant has no such part"),
)


def is_dns(names: Iterable[str]) -> bool:
    """Whether these are the parameters of a network whose streams have stages of their own."""
    return any(re.match(r"backbone\.streams\.\w+\.stage", name) for name in names)


def dns_name(name: str) -> str | None:
    """The released name of a parameter of backbone or losses; None: it has none of its own in DNS."""
    if (match := re.fullmatch(r"backbone\.streams\.(\w+)\.(.+)", name)) and match[1] in _STREAMS:
        return f"{_STREAMS[match[1]]}.{torchvision_name(match[2])}"
    if match := re.fullmatch(r"backbone\.trunk\.(.+)", name):
        return f"base.base.{torchvision_name(match[1])}"
    if (match := re.fullmatch(r"backbone\.plugins\.hss\.stage(\d)\.(\w+)\.(\w+)", name)) and match[2] in _HSS:
        return f"base.HSS{match[1]}.{_HSS[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"backbone\.plugins\.css\.stage\d\.(.+)", name):
        return f"CSS.{match[1]}"
    if match := re.fullmatch(r"head\.losses\.dd\.(visible|infrared)\.weight", name):
        return f"DD.{match[1]}_classifier.weight"
    if match := re.fullmatch(r"head\.losses\.dd\.teacher_(visible|infrared)", name):
        return f"DD.{match[1]}_classifier_.weight"
    return None
