"""The benchmarks' glue: goals, the page, the made-up data set."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "tools" / "benchmarks"


CHILD = """
from measuring import Report

def shout(n):
    print("noise")
    return dict(n=n)

def fail():
    raise ValueError("out of luck")

def hang():
    import time
    time.sleep(60)

def case(quick, threads):
    report = Report(notes=["half"] if quick else [])
    report.figure("speed", 4.0, "images/s", plain=2.0, bound=8.0, bound_is="decoding")
    report.figure("step", 4.0, "ms", plain=2.0, bound=1.0)
    return report

def failing_case(quick, threads):
    \"""Compares nothing.\"""
    raise ValueError("no room")
"""


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))


@pytest.fixture
def child(tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "child", raising=False)
    return importlib.import_module("child")


def test_goals_stand_in_the_page(monkeypatch):
    import measuring
    import run_all

    report = measuring.Report()
    report.at_least("speed", 3, 2.5)
    report.at_most("memory", 100, 99.6, "MiB")
    report.at_least("rate", 70, 80, "%", can_show=False)
    assert [goal["reached"] for goal in report.goals] == [False, True, None]
    page = run_all.page(["## Title"], report.goals, "python run", load=0.5)
    assert "| speed | >= 3 x | 2.5 x | **no** |" in page
    assert "| memory | <= 100 MiB | 99.6 MiB | yes |" in page
    assert "not measurable here" in page and "## Title" in page and "start: 0.5" in page


def test_a_figure_stands_beside_the_plain_way_and_the_bound(child):
    import measuring

    lines = measuring.Report(**measuring.in_child(child.case, quick=False, threads=1)).markdown().splitlines()
    assert lines[0] == "| what | here | used plainly | times | bound of this machine | share of it |"
    assert lines[2] == "| speed | 4 images/s | 2 images/s | 2.00 | 8 images/s, decoding | 50 % |"
    assert lines[3] == "| step | 4 ms | 2 ms | 0.50 | 1 ms,  | 25 % |"


def test_empty_columns_are_left_out():
    from measuring import markdown_table

    assert markdown_table(("a", "b"), [("1", ""), ("2", "")]) == "| a |\n|---|\n| 1 |\n| 2 |"


def test_a_failing_case_is_named_and_the_page_goes_on(child, monkeypatch):
    import run_all

    monkeypatch.setattr(run_all, "CASES", dict(broken=(child.failing_case, "Broken")))
    report, taken = run_all.run("broken", quick=False, threads=1)
    assert "no room" in run_all.section("broken", report, taken)
    assert report.goals == [dict(what="broken", wanted="runs", found="failed", reached=False)]


def test_every_case_says_what_it_compares_and_takes_the_same_arguments():
    import run_all

    for name, (function, _) in run_all.CASES.items():
        assert list(inspect.signature(function).parameters)[:2] == ["quick", "threads"], name
        assert "ound: " in function.__doc__ or name in ("step", "small_step", "extraction", "precision", "ranking"), (
            name
        )
    assert set(run_all.ASKED_FOR) < set(run_all.CASES)


@pytest.mark.parametrize("page", sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]), ids=lambda p: p.name)
def test_pages_name_commands_that_exist(page):
    import run_all

    text = page.read_text()
    for script in re.findall(r"tools/benchmarks/(\w+\.py)", text):
        assert (BENCHMARKS / script).is_file(), script
    for name in re.findall(r"--only ([a-z]\w*)", text) if "run_all.py" in text else ():
        assert name in run_all.CASES, name


def test_the_made_up_set_has_the_published_counts_and_a_hollow_cache_of_full_length(tmp_path, monkeypatch):
    import made_up_sysu

    from mscmreid.datasets import SYSUMM01
    from mscmreid.datasets import cache as image_cache

    monkeypatch.setattr(image_cache, "_build", made_up_sysu.build_hollow_cache)
    root = made_up_sysu.make_sysu(tmp_path / "set", share=0.0, num_photos=3)
    dataset = SYSUMM01(str(root), split="trainval", image_size=(16, 8), check_counts=False)
    rows = dataset.rows()
    assert len(set(rows["pid"])) == 395 and set(rows["cam_id"]) == {1, 2, 3, 4, 5, 6}
    assert dataset.cache is not None and dataset.cache.images.shape == (len(dataset), 16, 8, 3)
    assert not np.asarray(dataset.cache[5]).any()
    assert dataset[5]["inputs"].shape == (3, 16, 8)
    published = dict(zip(("visible", "infrared"), zip(*made_up_sysu.COUNTS.values(), strict=True), strict=True))
    assert {m: sum(counts[:2]) for m, counts in published.items()} == dict(visible=22258, infrared=11909)


def test_a_child_process_hands_back_what_its_function_returns(child):
    import measuring

    assert measuring.in_child(child.shout, n=3) == dict(n=3)
    with pytest.raises(RuntimeError, match="out of luck"):
        measuring.in_child(child.fail)
    with pytest.raises(RuntimeError, match="hang took longer than its 4 s"):
        measuring.in_child(child.hang, limit=4)


def test_the_losses_case_runs():
    import network

    report = network.losses(quick=True, threads=1, num_rows=24, dim=16)
    assert [row[0] for row in report.figures] == ["QuadrupleCenterTripletLoss", "BatchHardTripletLoss"]
    assert len(report.goals) == 1


def test_what_all_similarities_of_a_query_share_is_no_change_of_them():
    import network

    exact = np.random.default_rng(0).standard_normal((20, 9))
    infrared = np.arange(20) < 8
    exact[~infrared, 8] = 1
    shared, own = exact.copy(), exact.copy()
    shared[infrared, 8] += 5  # to every similarity
    own[infrared, 0] *= 1.01
    assert network.relative_error(shared, exact) > 0.5
    assert network.change_of_similarities(shared, exact, infrared) < 1e-12
    assert 1e-3 < network.change_of_similarities(own, exact, infrared) < 1e-2


def test_where_time_goes_names_the_dearest_operation_first():
    from measuring import where_time_goes

    a = torch.randn(400, 400)
    told = where_time_goes(lambda: (a @ a) @ a + 1, most=2)
    assert told.startswith("mm ") and told.count("%") == 2
    assert 0 < sum(int(part.split()[-2]) for part in told.split(",")) <= 101
