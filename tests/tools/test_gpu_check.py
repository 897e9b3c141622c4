"""The check of a GPU: the same code at toy size on a CPU, what fails in it, and that it can find what it looks for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from tool_modules import ROOT, load_tool

BROKEN = """
import time
from measuring import Report

def raises(device, toy, people):
    raise ValueError("no such kernel")

def hangs(device, toy, people):
    time.sleep(60)

def disagrees(device, toy, people):
    report = Report()
    report.at_most("deviation", 1e-4, 0.5, "of the largest")
    return report

def agrees(device, toy, people):
    return Report()
"""


@pytest.fixture(scope="module")
def tool():
    before = list(sys.path)
    yield load_tool("gpu_check")
    sys.path[:] = before


def test_without_a_gpu_it_says_so_and_toy_figures_do_not_go_to_the_docs(tool, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for options, message in (([], "expected a CUDA device, found none"), (["--device", "cpu"], "--out must name")):
        monkeypatch.setattr(sys, "argv", ["gpu_check.py", *options])
        with pytest.raises(ValueError, match=message):
            tool.main()


def test_a_check_that_fails_hangs_or_disagrees_is_reported_and_the_others_go_on(tool, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tools" / "benchmarks"))
    import broken

    limits = dict(raises=60, hangs=5, disagrees=60, agrees=60)
    checks = {name: (getattr(broken, name), name.capitalize(), limit) for name, limit in limits.items()}
    monkeypatch.setattr(tool, "CHECKS", checks)
    out = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--device", "cpu", "--out", str(out)])
    with pytest.raises(SystemExit, match="failed: raises, hangs, disagrees; "):
        tool.main()
    page = out.read_text()
    assert "**failed**: ValueError: no such kernel" in page and "hangs took longer than its 5 s" in page
    assert "| deviation | <= 0.0001 of the largest | 0.5 of the largest | **no** |" in page
    assert "| Agrees (`--only agrees`) | passed |" in page and "Toy size on a CPU" in page
    assert "agrees: passed" in capsys.readouterr().out


def test_parity_finds_a_system_that_computes_something_else(tool, monkeypatch):
    compute, calls = tool.forward_numbers, []

    def off_by_a_little(*args):
        calls.append(args)
        found = compute(*args)
        if len(calls) == 2:  # the first system's, on the device
            found["visible feat_bn"] = found["visible feat_bn"] * 1.01
        return found

    monkeypatch.setattr(tool, "forward_numbers", off_by_a_little)
    goals = tool.parity("cpu", True, "").goals
    assert len(goals) == 2 * len(tool.RELEASED)
    assert [goal["what"] for goal in goals if not goal["reached"]] == ["mscm, features in float32"]


def test_a_wait_for_the_device_is_found(tool):
    x = torch.ones(3)
    assert tool.waits_of(lambda: x * 2, "cpu") == []
    assert len(tool.waits_of(lambda: (x.sum().item(), x.nonzero()), "cpu")) == 2
    assert tool.copies_of(lambda: (x * 2, x.double(), x.clone(), x[0].clone())) == 2


def test_resume_compares_every_entry_bit_by_bit(tool):
    state = dict(a=torch.ones(2), b=[dict(c=1.0)])
    assert dict(tool.flat(state)).keys() == {"a", "b.0.c"}
    assert tool.same(torch.ones(2), torch.ones(2)) and not tool.same(torch.ones(2), torch.ones(2) + 1e-7)
    assert not tool.same(1.0, None)


@pytest.mark.slow
def test_all_checks_pass_at_toy_size_within_their_limits(tool, tmp_path):
    out = tmp_path / "page.md"
    command = [sys.executable, str(ROOT / "tools" / "gpu_check.py"), "--device", "cpu", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = out.read_text()
    assert page.count("| passed |") == len(tool.CHECKS) and "**no**" not in page
    limits = {name: limit for name, (_, _, limit) in tool.CHECKS.items()}
    alone = sum(limits.pop(name) for name in tool.TIMED)
    assert alone + max(limits.values()) < 8 * 60  # the others run side by side
