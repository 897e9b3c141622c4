"""The benchmarks' glue: goals, the page, the made-up data set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "tools" / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_goals_are_lines_that_the_page_collects(capsys):
    import measuring
    import run_all

    measuring.at_least("speed", 3, 2.5)
    measuring.at_most("memory", 100, 99.6, "MiB")
    measuring.at_least("rate", 70, 80, "%", can_show=False)
    lines = capsys.readouterr().out.splitlines()
    goals = [json.loads(line.removeprefix(measuring.GOAL_PREFIX)) for line in lines]
    assert [goal["reached"] for goal in goals] == [False, True, None]
    page = run_all.page([("Title", "| a |")], goals, quick=True, load=0.5)
    assert "| speed | >= 3 x | 2.5 x | **no** |" in page
    assert "| memory | <= 100 MiB | 99.6 MiB | yes |" in page
    assert "not measurable here" in page and "## Title" in page and "load of the machine before the start: 0.5" in page


def test_a_failing_benchmark_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    import run_all

    (tmp_path / "broken.py").write_text("print('| half |')\nraise SystemExit('no room')\n")
    monkeypatch.setattr(run_all, "HERE", tmp_path)
    text, goals, _ = run_all.run(run_all.Benchmark("broken.py", "Broken"), quick=False, threads=1)
    assert "| half |" in text and "no room" in text
    assert goals == [dict(what="broken", wanted="runs", found="failed", reached=False)]


@pytest.mark.parametrize("script", sorted(path.name for path in BENCHMARKS.glob("*.py")))
def test_every_script_of_the_page_exists_and_says_how_to_run_it(script):
    import run_all

    text = (BENCHMARKS / script).read_text()
    assert all((BENCHMARKS / benchmark.script).is_file() for benchmark in run_all.BENCHMARKS)
    if "__main__" in text:
        assert f"python tools/benchmarks/{script}" in text
        assert script == "run_all.py" or script in {benchmark.script for benchmark in run_all.BENCHMARKS}


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


def test_a_child_process_hands_back_its_last_line(tmp_path):
    import measuring

    script = tmp_path / "child.py"
    script.write_text("import sys\nprint('noise')\nprint('{\"n\": %s}' % sys.argv[1])\n")
    assert measuring.in_child(str(script), 3) == dict(n=3)
    script.write_text("raise SystemExit('out of luck')\n")
    with pytest.raises(RuntimeError, match="out of luck"):
        measuring.in_child(str(script))


def test_the_losses_benchmark_runs():
    command = [sys.executable, str(BENCHMARKS / "losses.py"), "--rows", "24", "--dim", "16", "--repeats", "1"]
    root = str(BENCHMARKS.parents[1])
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": root, "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert "| QuadrupleCenterTripletLoss" in done.stdout and "goal: " in done.stdout
