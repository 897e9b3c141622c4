"""A model to use outside a run."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from mscmreid.apis.config import config_of_stage, load_config, naming_the_part
from mscmreid.engine.runner.checkpoint import load_weights, made_by, read_checkpoint, state_dict_of
from mscmreid.registry import MODELS


def init_model(
    config: str | Path | Config, checkpoint: str | Path | None = None, device: str | torch.device | None = None
) -> nn.Module:
    """The model of a config, with a checkpoint's weights, ready for inference.

    Args:
        config: file, name of a config of the package (``mscm_sysu``), or config.
        checkpoint: of training, or a converted official one; every weight must fit. None leaves random weights.
        device: None: the GPU if there is one, else the CPU.

    Returns:
        The model in eval mode; ``model.cfg`` is its config. Use ``model.extract_features(x, modality)``.

    Raises:
        FileNotFoundError: config or checkpoint is missing.
        ValueError: the checkpoint does not fit the model, or is damaged.
    """
    content = {} if checkpoint is None else read_checkpoint(checkpoint)
    cfg = config_of_stage(load_config(config), content.get("meta", {}))
    with naming_the_part(cfg):
        model = MODELS.build(cfg.model)
    if checkpoint is None:
        print_log("init_model: no checkpoint given, the weights are random", "current")
    else:
        state = state_dict_of(content, checkpoint)
        print_log(load_weights(model, state, checkpoint, made_by=made_by(content)), "current")
    model.cfg = cfg
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval()
