"""One step of two processes is one step of one process on the same global batch."""

from __future__ import annotations

import copy
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from mscmreid.engine.checks import local_dataloader
from mscmreid.engine.parallel import ReIDDistributedDataParallel
from mscmreid.engine.param_groups import ReIDOptimWrapperConstructor
from mscmreid.engine.runner import ReIDRunner
from mscmreid.registry import MODELS


def step(cfg_text: str, iteration: int = 3) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses, and every parameter's gradient and value after one training step of this process, batch norms frozen."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    init_default_scope("mscmreid")
    cfg = Config.fromstring(cfg_text, ".py")
    world_size = dist.get_world_size() if dist.is_initialized() else 1
    loader = ReIDRunner.build_dataloader(local_dataloader(cfg.train_dataloader, world_size), seed=0)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    model.set_iteration(iteration)
    wrapped = ReIDDistributedDataParallel(model) if world_size > 1 else model
    optim_wrapper = ReIDOptimWrapperConstructor(
        dict(dtype="float32", optimizer=dict(type="SGD", lr=0.5, momentum=0.9)), None
    )(wrapped)
    log = wrapped.train_step(copy.deepcopy(next(iter(loader))), optim_wrapper)
    values = torch.stack([v.detach() for v in log.values()])
    if world_size > 1:
        dist.all_reduce(values)
        values /= world_size
    momentum = optim_wrapper.optimizer.state  # after the first step: the gradient
    after = {
        name: torch.stack([momentum[p]["momentum_buffer"], p.detach()])
        for name, p in model.named_parameters()
        if p in momentum
    }
    return dict(zip(log, values.tolist(), strict=True)), after


def one_of_two(rank: int, port: int, cfg_text: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(step(cfg_text), Path(folder, f"{rank}.pth"))
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["qct", "triplet"])
def test_one_step_of_two_processes_is_that_of_one(toy_config, tmp_path, loss):
    cfg = toy_config(image_size=(64, 32))  # at 32 x 16 MIMB's layer norms see two numbers, which magnifies rounding
    if loss == "triplet":
        cfg.model.head.metric_losses = dict(triplet=dict(type="BatchHardTripletLoss", margin=0.3))
    text = cfg.pretty_text
    log, after = step(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(one_of_two, args=(port, text, str(tmp_path)), nprocs=2)
    (log_0, after_0), (_, after_1) = (torch.load(tmp_path / f"{rank}.pth", weights_only=True) for rank in (0, 1))
    assert list(after_0) == list(after) == list(after_1)
    assert all(torch.equal(v, after_1[k]) for k, v in after_0.items())
    assert log_0 == pytest.approx(log, rel=1e-5)
    largest = max(gradient.norm().item() for gradient, _ in after.values())
    for name, (gradient, weight) in after.items():
        if gradient.norm() > 1e-3 * largest:
            assert (gradient - after_0[name][0]).norm() < 5e-3 * gradient.norm(), name
        assert torch.allclose(weight, after_0[name][1], atol=1e-5), name
