"""ImageNet weights of torchvision's ResNets, by name or from a file."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor
from torchvision.models import get_weight

PREFIX = "torchvision://"


def load_imagenet_state(checkpoint: str) -> dict[str, Tensor]:
    """State dict of a torchvision ResNet.

    Args:
        checkpoint: ``torchvision://resnet50`` (IMAGENET1K_V1, fetched once into torch's hub cache), or the path of a
            file that holds such a state dict.

    Raises:
        FileNotFoundError: the file is not there, or the weights are neither cached nor reachable; the message says
            how to go on.
        ValueError: the file does not hold a state dict.
    """
    if checkpoint.startswith(PREFIX):
        name = checkpoint.removeprefix(PREFIX)
        weights = get_weight(f"{name.replace('resnet', 'ResNet')}_Weights.IMAGENET1K_V1")
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
    if not path.is_file():
        raise FileNotFoundError(f"ImageNet weights: expected a state dict file at {path}, found none")
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or "conv1.weight" not in state:
        raise ValueError(f"{path} does not hold the state dict of a torchvision ResNet: no entry 'conv1.weight'")
    return state
