"""Runs that are killed at random moments, many times, end like one that never was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
import kills

KILLS = 3
SOME = ("plain", "two processes, all options")
"""The others are in the second, and resuming with each alone is exact by test_runs; kills.py by itself has them all."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", SOME)
def test_a_run_killed_at_random_moments_ends_like_one_left_alone_to_the_bit(variant):
    command = [sys.executable, kills.__file__, "--variant", variant, "--kills", str(KILLS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    report = re.search(rf"^{variant}: {KILLS} kills .* 0 differences$", done.stdout, re.MULTILINE)
    assert report, done.stdout
    print(report[0])


def test_what_differs_is_found_at_any_depth():
    state = dict(a=torch.ones(2), b=[dict(lr=0.1), (1, "x")])
    same = dict(b=[dict(lr=0.1), (1, "x")], a=torch.ones(2))
    assert kills.unequal(state, same) == []
    assert kills.unequal(state, same | dict(a=torch.ones(2).nextafter(torch.zeros(2)))) == ["/a"]
    assert kills.unequal(state, same | dict(a=torch.ones(2).double())) == ["/a"]
    assert kills.unequal(state, same | dict(b=[dict(lr=0.2), (1, "x")])) == ["/b/0/lr"]
    assert kills.unequal(state, same | dict(b=[dict(lr=0.1), (1, "x", 2)])) == ["/b/1"]
    assert kills.unequal(state, same | dict(c=0)) == [": ['c'] in one only"]


def test_a_log_whose_last_line_was_cut_off_is_read_to_there(tmp_path):
    from toy_runs import logged_scalars

    log = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text('{"loss": 2.0, "data_time": 0.1, "step": 1}\n{"loss": 1.5, "step": 2}\n{"loss": 1.')
    assert logged_scalars(tmp_path) == {("train", 1): {"loss": 2.0}, ("train", 2): {"loss": 1.5}}
