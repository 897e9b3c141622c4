"""Launchers, threads, seeds."""

import random

import numpy as np
import pytest
import torch

from mscmreid.engine.hooks.reproducible_hook import seed_everything, seed_worker
from mscmreid.engine.runner import processes as platform


def draws() -> tuple:
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_the_same_key_gives_the_same_draws_and_another_key_others():
    seen = []
    for key in [(0, 1, 0), (0, 1, 0), (0, 2, 0), (1, 1, 0), (0, 1, 1)]:
        seed_everything(*key)
        seen.append(draws())
    assert seen[0] == seen[1]
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 4


def test_a_worker_follows_torch():
    seen = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        seed_worker(0)
        seen.append((random.random(), np.random.rand()))
    assert seen[0] == seen[1] != seen[2]


def test_slurm_variables_become_torchs(monkeypatch):
    for name, value in dict(SLURM_PROCID="3", SLURM_LOCALID="1", SLURM_NTASKS="4", MASTER_ADDR="node1").items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    expected = dict(RANK="3", LOCAL_RANK="1", WORLD_SIZE="4", MASTER_ADDR="node1", MASTER_PORT="29500")
    assert platform.rank_variables("slurm") == expected


def test_a_launcher_that_did_not_launch_is_named(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="dist_train"):
        platform.rank_variables("pytorch")
    with pytest.raises(ValueError, match="horovod"):
        platform.rank_variables("horovod")


def test_threads_are_shared_unless_the_user_said_how(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    platform.limit_threads(2)
    assert platform.os.environ["OMP_NUM_THREADS"] == platform.os.environ["MKL_NUM_THREADS"] == "3"
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(platform.os, "cpu_count", lambda: 8)
    chosen = []
    monkeypatch.setattr(platform.torch, "set_num_threads", chosen.append)
    platform.limit_threads(4)
    assert chosen == [2] and platform.os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("OMP_NUM_THREADS")


def test_memory_is_measured():
    assert platform.peak_memory_mib() > 50


def test_no_more_workers_are_started_than_there_are_cores(monkeypatch):
    from mmengine.runner import Runner

    from mscmreid.engine.runner import runner

    built = []
    monkeypatch.setattr(runner, "available_cores", lambda: 2)
    monkeypatch.setattr(Runner, "build_dataloader", staticmethod(lambda cfg, *rest: built.append(cfg["num_workers"])))
    for num_workers in (0, 1, 8):
        runner.ReIDRunner.build_dataloader(dict(num_workers=num_workers))
    assert built == [0, 1, 2]
