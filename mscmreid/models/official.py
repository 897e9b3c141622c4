"""Official checkpoints of the released systems: their names for our parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from mscmreid.models.backbones.resnet import torchvision_name
from mscmreid.models.backbones.vit import timm_name
from mscmreid.models.official_dns import UNUSED, dns_name, is_dns
from mscmreid.torch_files import check_weights, read_torch, without_module

SYSTEMS = ("mscm", "agw", "caj", "deen", "dns", "pmt")

# ours -> theirs, tried in order; {n} in the replacement is filled with the plugin's place among its stage's blocks
_STREAMS = {
    "visible_1": "visible_module.visible",
    "visible_2": "visible_moduleA.visible",
    "infrared_1": "thermal_module.thermal",
    "infrared_2": "thermal_moduleA.thermal",
    "visible": "visible_module.visible",
    "infrared": "thermal_module.thermal",
}
_NONLOCAL = {"g": "g.0", "theta": "theta", "phi": "phi", "out_conv": "W.0", "out_bn": "W.1"}
_MFA = {**_NONLOCAL, "g": "g"}
_MIMB = {
    "narrow": "ATT_narrow",
    "broad": "ATT_broad",
    "norm": "ln_1",
    "source_norm": "ln_1o",
    "mlp_norm": "ln_2",
    "mlp_expand": "mlp.c_fc",
    "mlp_project": "mlp.c_proj",
    "attention": "attn",
}

# what the released files hold beyond the parameters that are used, and why it is not
_UNUSED = (
    (r"(visible|thermal)_module(A)?\.\w+\.(layer\d|fc)\.", "a stem's layers behind its first one are never run"),
    (r"base_resnet\.base\.(conv1|bn1|fc)\.", "the trunk starts behind the stems"),
    (r"(local_conv|feat_bn2d)\.", "dead layer of the release"),
    (r"layerATT\d\.ATT_narrow[12]\.", "the block's other down-convolution"),
    (r"layerATT3\.ln_1o\.", "the last block reads no earlier map"),
    (r"base_resnet\.base\.layer4\.", "stage 4 is not used in this variant"),
    (r"MFA3\.", "the third fusion is not used in this variant"),
    *UNUSED,
)


@dataclass(frozen=True)
class Conversion:
    """A converted state dict and the official entries it has no use for (name -> reason)."""

    state_dict: dict[str, Tensor]
    left_out: dict[str, str]


def official_name(name: str, names: Iterable[str]) -> str:
    """The released implementations' name for our parameter ``name``; ``names`` are all of our model's.

    Raises:
        ValueError: the released systems have nothing of that kind.
    """
    if is_dns(names) and (found := dns_name(name)):
        return found
    part, _, rest = name.partition(".")
    if part == "neck":
        return "bottleneck." + name.removeprefix("neck.bn.")
    if part == "head":
        return name.removeprefix("head.")
    if part == "backbone" and rest.startswith("trunk."):
        return f"base_resnet.base.{torchvision_name(rest.removeprefix('trunk.'))}"
    if part == "backbone" and "backbone.class_token" in names:  # PMT
        return f"base.{timm_name(rest)}"
    if (match := re.fullmatch(r"streams\.(\w+)\.(stem\..+)", rest)) and match[1] in _STREAMS:
        return f"{_STREAMS[match[1]]}.{torchvision_name(match[2])}"
    if match := re.fullmatch(r"plugins\.non_local\.stage(\d)_block(\d+)\.(\w+)\.(\w+)", rest):
        stage, block, layer, entry = match.groups()
        blocks = sorted({int(m[1]) for n in names if (m := re.search(rf"\.non_local\.stage{stage}_block(\d+)\.", n))})
        if layer in _NONLOCAL:
            return f"NL_{stage}.{blocks.index(int(block))}.{_NONLOCAL[layer]}.{entry}"
    if match := re.fullmatch(r"plugins\.mimb\.stage3\.layers\.(\d)\.(\w+)\.(.+)", rest):
        index, layer, entry = match.groups()
        if layer == "source_narrow":  # 6x6 for the two larger maps, 4x4 for the third
            return f"layerATT{index}.ATT_narrow{1 if int(index) < 2 else 2}.{entry}"
        if layer in _MIMB:
            return f"layerATT{index}.{_MIMB[layer]}.{entry}"
    if match := re.fullmatch(r"plugins\.mfa\.stage(\d)\.(cnl|pnl)\.(\w+)\.(\w+)", rest):
        stage, block, layer, entry = match.groups()
        return f"MFA{stage}.{block.upper()}.{_MFA[layer]}.{entry}"
    if match := re.fullmatch(r"plugins\.dee\.stage\d\.branches\.(\d)\.dilated\.(\d)\.(\w+)", rest):
        return f"DEE.FC{int(match[1]) + 1}{int(match[2]) + 1}.{match[3]}"
    if match := re.fullmatch(r"plugins\.dee\.stage\d\.branches\.(\d)\.expand\.(\w+)", rest):
        return f"DEE.FC{int(match[1]) + 1}.{match[2]}"
    raise ValueError(f"{name}: the released systems have no such parameter")


def convert(official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Conversion:
    """Rename an official state dict.

    Args:
        official: the released checkpoint's ``net``.
        expected: our model's state dict (its names and shapes; the tensors may be on the meta device).

    Raises:
        ValueError: an entry is missing, has another shape, or is known neither as used nor as unused: the file does
            not fit the system. Every offender is named (the first ten of each kind).
    """
    state, missing, wrong = {}, [], []
    used = set()
    for name, like in expected.items():
        theirs = official_name(name, expected)
        used.add(theirs)
        if theirs not in official:
            missing.append(theirs)
        elif official[theirs].shape != like.shape:
            wrong.append(f"{theirs} {tuple(official[theirs].shape)} instead of {tuple(like.shape)}")
        else:
            state[name] = official[theirs].detach().clone()
    left_out, unknown = {}, []
    for name in official:
        if name not in used:
            reason = next((why for pattern, why in _UNUSED if re.match(pattern, name)), None)
            if reason is None:
                unknown.append(name)
            else:
                left_out[name] = reason
    problems = [
        f"{what}: {_some(found)}"
        for what, found in (("missing", missing), ("of another shape", wrong), ("unknown", unknown))
        if found
    ]
    if problems:
        raise ValueError("the checkpoint does not fit this system; " + "; ".join(problems))
    return Conversion(state, left_out)


def _some(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def read_official(path: str | Path) -> dict[str, Tensor]:
    """The ``net`` of an official checkpoint, or all of it where it is a bare state dict (PMT's).

    Read without executing anything that the file may contain: numpy scalars and arrays beside the weights (the
    released ``cmc``, ``mAP``) are allowed; everything else is refused.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no state dict under ``net``.
        DamagedFileError: damaged, no torch file, or weights that are not finite and floating.
    """
    content = read_torch(path, "a released checkpoint")
    net = content.get("net") if isinstance(content, dict) else None
    if net is None and isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        net = content
    if not isinstance(net, Mapping) or not net:
        keys = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{path}: expected the released layout {{'net': state dict, ...}}, found {keys}")
    net = without_module(net, path)
    check_weights(net, path)
    if "classifier.weight" not in net:
        raise ValueError(f"{path}: 'net' has no classifier.weight; is this a checkpoint of a VI-ReID system?")
    return net
