"""Batch norm over the images of all processes, where there is no GPU: torch's own has no CPU kernel."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverRanks(torch.autograd.Function):
    """The sum over all ranks; every rank's output depends on every rank's input, so gradients are summed too."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


class CPUSyncBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance in training are those of all ranks' images together, (N, C, ...).

    In fp32 (fp64 for such input), two passes over the input: mean, then squared deviations. In evaluation, and in a
    single process, it is torch's batch norm. Arguments, parameters and buffers are those of batch norm.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2 or input.shape[1] != self.num_features:
            raise ValueError(f"expected (N, {self.num_features}, ...), found {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [d for d in range(x.ndim) if d != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.new_full((1,), x.numel() / self.num_features)
        totals = _SumOverRanks.apply(torch.cat([x.sum(dims), count]))  # (C + 1,)
        mean, total = totals[:-1] / totals[-1], totals[-1].detach()
        centred = x - mean.view(shape)
        var = _SumOverRanks.apply(centred.square().sum(dims)) / total  # (C,)
        self._track(mean.detach(), var.detach() * total / (total - 1).clamp_min(1))
        scale = torch.rsqrt(var + self.eps)
        out = centred * (scale if self.weight is None else scale * self.weight).view(shape)
        return (out if self.bias is None else out + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards ``mean`` and the unbiased ``var``, as batch norm does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(var, share)


def convert_sync_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every batch norm in ``module`` by a :class:`CPUSyncBatchNorm` with the same parameters and buffers.

    Returns:
        The module (another one only if it is a batch norm itself).
    """
    if isinstance(module, _BatchNorm) and not isinstance(module, CPUSyncBatchNorm):
        synced = CPUSyncBatchNorm(
            module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
        )
        synced.weight, synced.bias = module.weight, module.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            setattr(synced, name, getattr(module, name))
        return synced.train(module.training)
    for name, child in module.named_children():
        module.add_module(name, convert_sync_batch_norm(child))
    return module
