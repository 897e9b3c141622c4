"""Data-parallel wrapper for GPUs and CPUs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mscmreid.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class ReIDDistributedDataParallel(MMDistributedDataParallel):
    """MMEngine's wrapper without device ids where there is no GPU (torch refuses them there).

    Args:
        module: the model.
        device_ids: this process's GPU, as the Runner passes it.
        broadcast_buffers: copy rank 0's batch-norm statistics to all ranks before every forward pass. Off: they are
            averaged at the end of each epoch (``SyncBuffersHook``).
        find_unused_parameters: needed only if a config leaves parameters without a gradient.
        static_graph: the same parameters are used in every iteration.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: Sequence[int] | None = None,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        static_graph: bool = False,
    ) -> None:
        on_gpu = torch.cuda.is_available()
        # torch calls the option by another name in newer versions and warns about the old one
        renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
        super().__init__(
            module=module,
            device_ids=list(device_ids) if on_gpu and device_ids is not None else None,
            **{"forward_sync_buffers" if renamed else "broadcast_buffers": broadcast_buffers},
            find_unused_parameters=find_unused_parameters,
            static_graph=static_graph,
            gradient_as_bucket_view=True,
        )
