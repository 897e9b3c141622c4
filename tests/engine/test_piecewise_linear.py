"""DNS's learning rate: every number of its released schedules, the clean variant, and resuming in an epoch."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch import nn

from mscmreid.engine import PiecewiseLinearLR

POINTS = [(0, 1e-4), (16, 1.0), (None, 0.0)]


def scheduler(epoch_length: int, lr: float = 0.2, end: int = 100, **options) -> PiecewiseLinearLR:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=lr)
    return PiecewiseLinearLR(optimizer, POINTS, epoch_length, end=end, **options)


@pytest.mark.parametrize("run", ["sysu_100", "sysu_80", "sysu_150", "llcm_100", "regdb_100"])
def test_rates_are_those_of_the_released_schedule(run, golden):
    spec = golden("dns_lr_schedules.json")[run]
    n = spec["n"]
    rates = scheduler(spec["batches_run"], spec["lr"], spec["epochs"])
    assert len(spec["lrs"]) == spec["epochs"]
    for epoch, expected in enumerate(spec["lrs"]):
        found = [spec["lr"] * rates.factor(epoch * (n + 1) + batch) for batch in (0, 1, n // 2, n - 1, n)]
        assert found == pytest.approx(expected, rel=0, abs=1e-9), f"epoch {epoch}"


def test_the_clean_rule_follows_the_lines_from_the_first_batch_to_the_last():
    rates = scheduler(10, end=20, batch_rule="clean")
    factors = [rates.factor(i) for i in range(200)]
    assert factors[0] == pytest.approx(1e-4) and max(factors) == factors[160] == 1.0
    up, down = [[b - a for a, b in pairwise(part)] for part in (factors[:161], factors[160:])]
    assert up == pytest.approx([(1 - 1e-4) / 160] * 160) and down == pytest.approx([-1 / 40] * 39)


def test_the_published_rule_starts_an_epoch_with_the_rate_of_its_end():
    rates = scheduler(10, end=20)
    assert rates.factor(20) == rates.factor(29) > rates.factor(28) > rates.factor(22) > rates.factor(21)


def test_a_resumed_run_goes_on_with_the_same_rates_in_every_group():
    def run():
        model = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
        groups = [dict(params=model[0].parameters(), lr=0.02), dict(params=model[1].parameters(), lr=0.2)]
        wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.2))
        init_default_scope("mscmreid")
        cfg = dict(type="PiecewiseLinearLR", points=POINTS, by_epoch=True, convert_to_iter_based=True, end=20)
        return wrapper, PARAM_SCHEDULERS.build(cfg, default_args=dict(optimizer=wrapper, epoch_length=7))

    def step(wrapper, rates, times):
        seen = []
        for _ in range(times):
            seen.append([group["lr"] for group in wrapper.param_groups])
            wrapper.step()
            rates.step()
        return seen

    wrapper, rates = run()
    straight = step(wrapper, rates, 40)
    assert all(quick == pytest.approx(10 * slow) for slow, quick, *_ in straight)
    assert straight[8][1] == pytest.approx(0.2 * rates.factor(8))
    wrapper, rates = run()
    step(wrapper, rates, 17)
    states = wrapper.state_dict(), rates.state_dict()
    wrapper, rates = run()
    wrapper.load_state_dict(states[0])
    rates.load_state_dict(states[1])
    assert step(wrapper, rates, 23) == straight[17:]


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([(0, 1.0)], {}, "two or more points"),
        ([(1, 1.0), (2, 0.0)], {}, "ascending from 0"),
        ([(0, 1.0), (0, 0.0)], {}, "ascending from 0"),
        ([(0, 1.0), (None, 0.0)], {}, "a run of None epochs"),
        ([(0, 1.0), (9, -1.0)], {}, "not negative"),
        ([(0, 1.0), (9, 0.0)], dict(batch_rule="released"), "batch_rule"),
        ([(0, 1.0), (9, 0.0)], dict(epoch_length=2), "batch_rule='clean'"),
    ],
)
def test_what_makes_no_lines_is_refused(points, options, message):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match=message):
        PiecewiseLinearLR(optimizer, points, **{"epoch_length": 10, **options})
