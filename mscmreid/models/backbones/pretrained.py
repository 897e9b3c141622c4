"""ImageNet weights to start from: torchvision's by name, a published file by its address, or a file at hand."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from mscmreid.fileio import sha256_of
from mscmreid.torch_files import check_weights, read_torch

PREFIX = "torchvision://"
HTTPS = "https://"


def load_imagenet_state(checkpoint: str, *one_of: str) -> dict[str, Tensor]:
    """State dict of a network trained on ImageNet.

    Args:
        checkpoint: ``torchvision://resnet50`` (IMAGENET1K_V1) or the address of a file (``https://...``), fetched once
            into torch's hub cache and compared with the hash in the file's name; or the path of a file. A file holds a
            state dict, bare or under ``model`` or ``state_dict``.
        one_of: entries of which a file must hold one; without any: ``conv1.weight``, a ResNet's.

    Raises:
        FileNotFoundError: the file is not there, or the weights are neither cached nor reachable; the message says
            how to go on.
        ValueError: the file does not hold a state dict, or what was fetched is not what its name says.
        DamagedFileError: a file is damaged, no torch file, or its weights are not finite and floating.
    """
    url = _address(checkpoint)
    if url is not None:
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
        try:
            state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"ImageNet weights {checkpoint}: {url}, kept as {cache}, is not the file that it should be ({error}); "
                "delete it and try again"
            ) from error
        except (URLError, OSError) as error:
            raise FileNotFoundError(
                f"ImageNet weights {checkpoint}: not in the cache ({cache}), and the download of {url} failed "
                f"({error}). Put that file there, or name a local copy with "
                "--cfg-options model.backbone.init_cfg.checkpoint=FILE, or go on from random weights with "
                "--cfg-options model.backbone.init_cfg=None (the published numbers need the ImageNet weights)."
            ) from error
    else:
        state = read_torch(Path(checkpoint), "ImageNet weights: a state dict file")
    for key in ("model", "state_dict"):
        state = state.get(key, state) if isinstance(state, dict) else state
    one_of = one_of or ("conv1.weight",)
    if not isinstance(state, dict) or not set(one_of) & set(state):
        raise ValueError(
            f"{checkpoint} does not hold the state dict of such a network: no entry {' or '.join(one_of)!r}"
        )
    check_weights(state, Path(checkpoint))
    return dict(state)


def describe_weights(checkpoint: str) -> str:
    """Which weights ``checkpoint`` of :func:`load_imagenet_state` names, in a line that a result keeps.

    The name or address, and for a file at hand its SHA-256, since a path says nothing of what was in it.
    """
    if checkpoint.startswith(PREFIX):
        return f"{checkpoint} ({Path(_address(checkpoint) or '').name})"
    if checkpoint.startswith(HTTPS):
        return checkpoint
    return f"{checkpoint} (SHA-256 {sha256_of(checkpoint)})"


def pretrained_checkpoint(init_cfg: Mapping | None, owner: str) -> str | None:
    """The checkpoint that a backbone's ``init_cfg`` names; None: from scratch.

    Raises:
        ValueError: it is of another type than 'Pretrained'.
    """
    if not init_cfg:
        return None
    if init_cfg.get("type") != "Pretrained":
        raise ValueError(f"init_cfg of {owner} must be of type 'Pretrained', found {init_cfg}")
    return init_cfg["checkpoint"]


def _address(checkpoint: str) -> str | None:
    """Where ``checkpoint`` is fetched from; None of a file at hand."""
    if checkpoint.startswith(PREFIX):
        return get_model_weights(checkpoint.removeprefix(PREFIX))["IMAGENET1K_V1"].url
    return checkpoint if checkpoint.startswith(HTTPS) else None
