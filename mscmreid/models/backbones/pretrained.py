"""ImageNet weights of torchvision's networks, by name or from a file."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from mscmreid.torch_files import check_weights, read_torch

PREFIX = "torchvision://"


def load_imagenet_state(checkpoint: str, *one_of: str) -> dict[str, Tensor]:
    """State dict of a network trained on ImageNet.

    Args:
        checkpoint: ``torchvision://resnet50`` (IMAGENET1K_V1, fetched once into torch's hub cache), or the path of a
            file that holds a state dict, bare or under ``model`` or ``state_dict``.
        one_of: entries of which a file must hold one; without any: ``conv1.weight``, a ResNet's.

    Raises:
        FileNotFoundError: the file is not there, or the weights are neither cached nor reachable; the message says
            how to go on.
        ValueError: the file does not hold a state dict.
        DamagedFileError: it is damaged, no torch file, or its weights are not finite and floating.
    """
    if checkpoint.startswith(PREFIX):
        name = checkpoint.removeprefix(PREFIX)
        weights = get_model_weights(name)["IMAGENET1K_V1"]
        try:
            return dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
        except (URLError, OSError) as error:
            cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
            raise FileNotFoundError(
                f"ImageNet weights of {name}: not in the cache ({cache}), and the download of {weights.url} failed "
                f"({error}). Put that file there, or name a local copy with "
                "--cfg-options model.backbone.init_cfg.checkpoint=FILE, or go on from random weights with "
                "--cfg-options model.backbone.init_cfg=None (the published numbers need the ImageNet weights)."
            ) from error
    path = Path(checkpoint)
    state = read_torch(path, "ImageNet weights: a state dict file")
    for key in ("model", "state_dict"):
        state = state.get(key, state) if isinstance(state, dict) else state
    one_of = one_of or ("conv1.weight",)
    if not isinstance(state, dict) or not set(one_of) & set(state):
        raise ValueError(f"{path} does not hold the state dict of such a network: no entry {' or '.join(one_of)!r}")
    check_weights(state, path)
    return dict(state)
