"""Curves of a run: what is read of its logs, what the released runs hold, and where a run is said to leave them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mscmreid.visualization.curves import RELEASED, Curves, compare, read_run, released_run


def write_log(work_dir: Path, stamp: str, entries: list[dict], end: str = "\n") -> None:
    folder = work_dir / stamp / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("\n".join(map(json.dumps, entries)) + end)


def train(step: int, epoch: int, loss: float, lr: float = 0.1) -> dict:
    values = {"train/loss": loss, "train/loss_ce": loss / 2, "train/acc": 50.0, "train/base_lr": lr, "train/time": 1.0}
    return {**values, "epoch": epoch, "iter": step, "step": step}


def validation(epoch: int, rank1: float) -> dict:
    return {"val/reid/R1": rank1, "val/reid/mAP": rank1 - 5, "val/reid/all/feat_pool/R1": 1.0, "step": epoch}


def test_a_resumed_run_counts_the_later_value_and_a_cut_line_is_left_out(tmp_path):
    write_log(tmp_path, "20260101_000000", [train(2, 1, 4.0), train(4, 1, 2.0), validation(1, 40.0), train(6, 2, 9.0)])
    write_log(tmp_path, "20260102_000000", [train(6, 2, 1.0, lr=0.01), validation(2, 50.0)], end='\n{"train/lo')
    series = read_run(tmp_path).series
    assert series["loss"] == {1: 3.0, 2: 1.0} and series["loss_ce"] == {1: 1.5, 2: 0.5}
    assert series["R1"] == {1: 40.0, 2: 50.0} and series["mAP"] == {1: 35.0, 2: 45.0}
    assert series["lr"] == {1: 0.1, 2: 0.01} and set(series) == {"loss", "loss_ce", "acc", "lr", "R1", "mAP"}


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is it a work folder"):
        read_run(tmp_path)
    write_log(tmp_path, "20260101_000000", [])
    with pytest.raises(ValueError, match="no losses and no validation"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match="released runs are"):
        released_run("agw_sysu")


@pytest.mark.parametrize(
    ("name", "epoch", "values"),
    [
        ("mscm_sysu", 96, dict(R1=79.73, mAP=75.21)),
        ("mscm_sysu", 25, dict(lr=0.1)),
        ("mscm_sysu", 81, dict(lr=0.001)),
        ("dns_sysu", 1, dict(R1=14.09, mAP=14.47, loss=11.8035, loss_ce=4.7987, loss_circle=1.0818, loss_dd=5.8215)),
        ("dns_sysu", 98, dict(R1=76.91, mAP=74.11)),
        ("dns_llcm", 100, dict(R1=57.1, mAP=63.4)),
    ],
)
def test_released_runs_hold_the_released_numbers(name, epoch, values):
    series = released_run(name).series
    assert {key: series[key][epoch] for key in values} == pytest.approx(values)


@pytest.mark.parametrize("name", RELEASED)
def test_the_losses_of_a_released_run_add_up(name):
    series = released_run(name).series
    parts = [values for key, values in series.items() if key.startswith("loss_")]
    for epoch, total in series["loss"].items():
        assert sum(part[epoch] for part in parts) == pytest.approx(total, abs=2e-3)


def shifted(run: Curves, name: str, amount: float, epochs: set[int]) -> Curves:
    values = {e: v + amount * (e in epochs) for e, v in run.series[name].items()}
    return Curves("mine", {**run.series, name: values})


def test_where_a_run_leaves_the_released_one_is_said_in_words():
    released = released_run("dns_sysu")
    assert all(": with the released run in 100 compared epochs" in line for line in compare(released, released))
    lines = compare(shifted(released, "R1", -11.0, set(range(31, 101))), released)
    before = released.series["R1"][31]
    assert lines[0] == f"Rank-1 leaves the released run after epoch 31: {before - 11:.1f}, released {before:.1f}"
    assert sum("leaves" in line for line in lines) == 1
    assert not any("leaves" in line for line in compare(shifted(released, "R1", -11.0, {31, 32, 34}), released))
    short = Curves("short", {"R1": {1: 40.0}, "lr": released.series["lr"]})
    lines = compare(short, released)
    assert lines[0] == "Rank-1 leaves the released run after epoch 1: 40.0, released 14.1"
    assert lines[1] == "mAP: nothing to compare" and "learning rate: with" in lines[-1]


def test_another_schedule_is_noticed_and_the_end_of_an_epoch_is_not():
    released = released_run("mscm_sysu")
    code = {e: lr * (10 if 80 < e <= 90 else 1) for e, lr in released.series["lr"].items()}  # drops at 90, not 80
    line = compare(Curves("code", {**released.series, "lr": code}), released)[-1]
    assert line == "learning rate leaves the released run after epoch 81: 0.01, released 0.001"
    released = released_run("dns_sysu")
    end = {e: 0.2 * min(e / 16, (100 - e) / 84) for e in range(1, 101)}  # the lines at each epoch's end
    assert "with the released run in 100" in compare(Curves("ends", {"lr": end}), released)[-1]


def test_the_tool_draws_and_tells(tmp_path, repo_root):
    pytest.importorskip("matplotlib")
    for name, rank1 in (("one", 14.0), ("two", 60.0)):
        write_log(tmp_path / name, "20260101_000000", [train(2, 1, 11.8, lr=0.0125), validation(1, rank1)])
    tool = repo_root / "tools/analysis_tools/plot_curves.py"
    command = [sys.executable, tool, tmp_path / "one", tmp_path / "two", "--released", "dns_sysu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Rank-1: with the released run" in done.stdout.split("two:")[0]
    assert "Rank-1 leaves the released run after epoch 1: 60.0, released 14.1" in done.stdout.split("two:")[1]
    assert (tmp_path / "one/curves.png").read_bytes().startswith(b"\x89PNG")
    wrong = subprocess.run([sys.executable, tool, tmp_path / "none"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: curves: expected the logs")
