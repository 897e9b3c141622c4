"""Several configs with several seeds: what runs, what is left out, what is gone on with, and the table."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mscmreid.engine.runner.checkpoint import trained_checkpoint
from mscmreid.evaluation import Result, save_results
from mscmreid.experiments import table as ablation_table
from mscmreid.experiments.costs import ModelInfo
from mscmreid.experiments.paired import choose_bases
from mscmreid.experiments.runs import Plan, Record, is_finished, job_command, run_all
from mscmreid.experiments.table import collect_rows, csv_text, markdown, mean_and_std, write_table

ROOT = Path(__file__).resolve().parents[2]

# In the place of tools/train.py and tools/test.py: they note how they were called and leave what the real ones leave.
TRAIN = """
import pathlib, sys, time
here, args = pathlib.Path(__file__).parent, sys.argv[1:]
work_dir = pathlib.Path(args[args.index("--work-dir") + 1])
with open(here / "calls.txt", "a") as file:
    file.write("train " + " ".join(args) + "\\n")
if (here / "hang").exists() and "seed_1" in work_dir.name:
    (here / "hanging").touch()
    time.sleep(60)
if (here / "fail").exists() and "seed_1" in work_dir.name:
    sys.exit("out of paper")
(work_dir / "epoch_2.pth").touch()
"""
TEST = """
import json, pathlib, sys
here, args = pathlib.Path(__file__).parent, sys.argv[1:]
with open(here / "calls.txt", "a") as file:
    file.write("test " + " ".join(args) + "\\n")
content = json.loads((here / "template.json").read_text())
axes = dict(arg.split("=") for arg in args[args.index("--cfg-options") + 1:])
seed = float(axes["randomness.seed"]) + 10 * float(axes.get("split_id", 0))
for result in content["results"]:
    if "split_id" in axes:
        result["split"], result["trials"] = axes["split_id"], [0]
        for name in ("num_queries", "num_left_out", "num_gallery", "cmc"):
            result[name] = result[name][:1]
        result["values"] = {name: values[:1] for name, values in result["values"].items()}
    result["values"]["R1"] = [value + seed for value in result["values"]["R1"]]
pathlib.Path(args[args.index("--out-json") + 1]).write_text(json.dumps(content))
"""


def made_up_result(feature: str = "feat_bn", r1: tuple[float, float] = (50.0, 60.0)) -> Result:
    measures = dict(R1=list(r1), R5=[80.0, 80.0], R10=[90.0, 90.0], R20=[95.0, 95.0], mAP=[40.0, 44.0])
    return Result(
        dataset="synthetic",
        split="test",
        protocol="SYSU-MM01",
        feature=feature,
        exclusion="none",
        cmc_kind="identity",
        trials=[0, 1],
        values={**measures, "mINP": [30.0, 30.0]},
        cmc=[[0.5] * 20] * 2,
        num_queries=[10, 10],
        num_left_out=[0, 0],
        num_gallery=[4, 4],
        mode="all-search",
        shots=1,
        lineage="agw",
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder with train.py and test.py that take no time."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "test.py").write_text(TEST)
    save_results([made_up_result(), made_up_result("feat_pool", r1=(10.0, 10.0))], folder / "template.json")
    return folder


@pytest.fixture
def configs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "first.py", tmp_path / "second.py"]
    for number, path in enumerate(paths):
        path.write_text(f"model = dict(width={number})\n")
    return paths


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model costs the same; what real ones cost is tested elsewhere."""
    info = ModelInfo(dict(trunk=1_500_000), 128, 48, 3 * 10**9, 10**9, 2**30, 2**20)
    monkeypatch.setattr(ablation_table, "model_info", lambda cfg: info)


def runs_of(configs, seeds, work_dir, **more) -> list:
    return Plan(configs, work_dir, seeds, **more).runs()


def calls(tools: Path) -> list[str]:
    return (tools / "calls.txt").read_text().splitlines()


def test_every_config_runs_with_every_seed_and_then_nothing_is_left_to_do(configs, tools, tmp_path):
    runs = runs_of(configs, [0, 1], tmp_path / "out", options=["model.depth=18"], values={"model.depth": 18})
    said: list[str] = []
    assert run_all(runs, tools, say=said.append) == []
    out = tmp_path / "out" / "first" / "seed_1"
    options = "--cfg-options model.depth=18 randomness.seed=1"
    assert calls(tools)[2:4] == [
        f"train {configs[0]} --work-dir {out} --resume {options}",
        f"test {configs[0]} {out}/epoch_2.pth --work-dir {out} --out-json {out}/results_last.json {options}",
    ]
    assert len(calls(tools)) == 8 and all(is_finished(run) for run in runs)
    assert run_all(runs, tools, say=said.append) == []
    assert len(calls(tools)) == 8
    assert said[-4:] == [f"{run.title}: has results in {run.folder}, not done again" for run in runs]


def test_a_test_that_was_cut_off_is_done_again_without_training(configs, tools, tmp_path):
    runs = runs_of(configs[:1], [0], tmp_path / "out")
    run_all(runs, tools, say=lambda line: None)
    runs[0].results.unlink()
    run_all(runs, tools, say=lambda line: None)
    assert [line.split()[0] for line in calls(tools)] == ["train", "test", "test"]


def test_interrupted_it_ends_its_children_and_goes_on_with_the_unfinished_run(configs, tools, tmp_path):
    (tools / "hang").touch()
    runs = runs_of(configs[:1], [0, 1], tmp_path / "out")

    def interrupt(line: str) -> None:
        if line.endswith("done"):
            while not (tools / "hanging").exists():
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all(runs, tools, jobs=2, say=interrupt)
    assert [is_finished(run) for run in runs] == [True, False]
    assert not Record(runs[1]).is_trained
    (tools / "hang").unlink()
    assert run_all(runs, tools, say=lambda line: None) == []
    assert sum("seed_0" in line for line in calls(tools)) == 2  # once trained, once tested
    assert sum("--resume" in line and "seed_1" in line for line in calls(tools)) == 2
    assert len(Record(runs[1]).content["attempts"]) == 2


def test_a_failed_run_is_told_with_its_last_lines_and_the_others_go_on(configs, tools, tmp_path):
    (tools / "fail").touch()
    runs = runs_of(configs, [1, 0], tmp_path / "out")
    failures = run_all(runs, tools, say=lambda line: None)
    assert len(failures) == 2
    assert "first, seed 1: the training ended with status 1" in failures[0] and "out of paper" in failures[0]
    assert [is_finished(run) for run in runs] == [False, True, False, True]


def test_a_folder_with_a_run_of_another_config_is_refused_before_anything_runs(configs, tools, tmp_path):
    runs = runs_of(configs, [0], tmp_path / "out")
    run_all(runs, tools, say=lambda line: None)
    configs[1].write_text("model = dict(width=7)\n")
    with pytest.raises(ValueError, match=r"second/seed_0 holds a run of .*second\.py as it was then"):
        run_all(runs_of(configs, [0], tmp_path / "out"), tools, say=lambda line: None)
    assert len(calls(tools)) == 4


def test_results_of_nobody_knows_what_are_refused(configs, tools, tmp_path):
    runs = runs_of(configs[:1], [0], tmp_path / "out")
    run_all(runs, tools, say=lambda line: None)
    (runs[0].folder / "ablate.json").unlink()
    with pytest.raises(ValueError, match=r"results_last\.json stands without ablate\.json"):
        is_finished(runs[0])


def test_wrong_plans_are_refused(configs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.py"):
        runs_of([*configs, "none.py"], [0], tmp_path)
    with pytest.raises(ValueError, match="a name of their own"):
        runs_of([configs[0], configs[0]], [0], tmp_path)
    with pytest.raises(ValueError, match="different seeds"):
        runs_of(configs, [1, 1], tmp_path)
    with pytest.raises(ValueError, match="which"):
        runs_of(configs, [1], tmp_path, which="first")
    with pytest.raises(ValueError, match="choose with --seeds"):
        runs_of(configs, [1], tmp_path, values={"randomness.seed": 3})
    with pytest.raises(ValueError, match=r"for each seed, with \{seed\} in it"):
        runs_of(configs[:1], [1, 2], tmp_path, checkpoints="one.pth")
    with pytest.raises(ValueError, match="jobs"):
        run_all([], tmp_path, jobs=0)


def test_the_best_and_the_last_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="best epoch"):
        trained_checkpoint(tmp_path, "best")
    for name in ("epoch_9.pth", "epoch_10.pth", "best_reid_R1_epoch_4.pth"):
        (tmp_path / name).touch()
    assert trained_checkpoint(tmp_path, "last").name == "epoch_10.pth"
    assert trained_checkpoint(tmp_path, "best").name == "best_reid_R1_epoch_4.pth"


def test_a_run_as_a_job_of_its_own(configs, tmp_path):
    run = runs_of(configs, [3], tmp_path / "my runs", options=["model.b=1"], values={"model.b": 1}, which="best")[1]
    assert job_command(run, "tools/analysis_tools/ablate.py") == (
        f"python tools/analysis_tools/ablate.py {configs[1]} --seeds 3 --work-dir '{tmp_path}/my runs' --which best "
        "--no-table --cfg-options model.b=1"
    )


def test_configs_that_compute_the_same_are_refused(configs, tmp_path):
    options = dict(options=["model.width=3"], values={"model.width": 3})  # which is what they differ in
    with pytest.raises(ValueError, match=f"{configs[0]} and {configs[1]} compute the same"):
        runs_of(configs, [0], tmp_path / "out", **options)
    assert len(runs_of(configs[:1], [0, 1], tmp_path / "out", **options)) == 2


def test_the_table_has_mean_and_deviation_over_the_seeds(configs, tools, tmp_path, costs):
    runs = runs_of(configs, [0, 1, 2], tmp_path / "out")
    run_all(runs[:5], tools, say=lambda line: None)  # the second config's last seed is missing
    rows = collect_rows(runs)
    assert rows[0].values("all-search single-shot agw", "R1") == [55.0, 56.0, 57.0]
    text = markdown(rows, ["Made today."], choose_bases(["first", "second"], ["second"]))
    lines = text.splitlines()
    assert lines[0] == "Made today." and lines[2].count("|") == lines[4].count("|") == lines[5].count("|")
    assert lines[4].startswith("| first | 3 | feat_bn | 56.00 ± 1.00 (+0.50) | 42.00 ± 0.00 (+0.00) |")
    assert lines[5].startswith("| second | 2 of 3 | feat_bn | 55.50 ± 0.71 | 42.00 ± 0.00 |")
    assert re.search(r"\| 1\.50 M \| 3 \| 1 \| 0\.\d min \|$", lines[4])
    found = list(csv.DictReader(csv_text(rows).splitlines()))
    assert len(found) == 6
    assert found[0]["values"] == "55.0000 56.0000 57.0000" and float(found[0]["std"]) == 1
    assert found[3]["seeds"] == "0 1" and found[0]["parameters"] == "1500000"


def test_mean_and_deviation_as_by_hand():
    values = np.random.RandomState(0).rand(5).tolist()
    mean = sum(values) / 5
    assert mean_and_std(values) == pytest.approx((mean, (sum((v - mean) ** 2 for v in values) / 4) ** 0.5))
    assert mean_and_std([3.0]) == (3.0, None)


def test_another_feature_can_be_chosen_and_an_unknown_one_is_named(configs, tools, tmp_path, costs):
    runs = runs_of(configs[:1], [0], tmp_path / "out")
    run_all(runs, tools, say=lambda line: None)
    assert collect_rows(runs, "feat_pool")[0].values("all-search single-shot agw", "R1") == [10.0]
    with pytest.raises(ValueError, match=r"not tested with 'sum': \['feat_bn', 'feat_pool'\]"):
        collect_rows(runs, "sum")


def test_results_of_other_protocols_stay_out_of_one_column(configs, tools, tmp_path, costs):
    runs = runs_of(configs, [0], tmp_path / "out")
    run_all(runs, tools, say=lambda line: None)
    content = json.loads(runs[1].results.read_text())
    content["results"][0]["cmc_kind"] = "plain"
    runs[1].results.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="cmc_kind"):
        collect_rows(runs)


def test_a_killed_attempt_makes_the_training_time_a_lower_bound(configs, tools, tmp_path, costs):
    runs = runs_of(configs[:1], [0], tmp_path / "out")
    runs[0].folder.mkdir(parents=True)
    Record(runs[0]).start()  # and nobody could note its end
    run_all(runs, tools, say=lambda line: None)
    assert Record(runs[0]).training_seconds[1] is False
    assert "| > 0.0 min |" in markdown(collect_rows(runs), [])


def test_all_three_files_are_written_and_nothing_else_is_left(configs, tools, tmp_path, costs):
    pytest.importorskip("matplotlib")
    runs = runs_of(configs, [0, 1], tmp_path / "out")
    run_all(runs[:3], tools, say=lambda line: None)
    paths = write_table(collect_rows(runs), tmp_path / "out", ["Made today."])
    assert [path.name for path in paths] == ["ablation.md", "ablation.csv", "ablation.png"]
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_file()} == {path.name for path in paths}
    assert paths[2].read_bytes().startswith(b"\x89PNG")


def test_a_table_of_nothing_yet_says_so(configs, tmp_path, costs):
    rows = collect_rows(runs_of(configs, [0], tmp_path / "out"))
    assert "| first | 0 of 1 |" in markdown(rows, [])
    assert len(csv_text(rows).splitlines()) == 3


@pytest.mark.slow
def test_the_command_line_trains_tests_and_writes_the_table(tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "datasets"))
    from layouts import make_sysu

    data = make_sysu(tmp_path / "data", train=(1, 2), val=(7, 8))
    options = [f"data_root={data}", "image_size=(32,16)", "model.backbone.base_channels=4", "model.head.num_classes=4"]
    options += ["train_dataloader.batch_sampler.num_ids=2", "train_cfg.max_epochs=1"]
    options += ["train_dataloader.batch_sampler.num_batches=2", "train_cfg.val_begin=1", "log_level=WARNING"]
    command = [
        sys.executable,
        str(ROOT / "tools" / "analysis_tools" / "ablate.py"),
        str(ROOT / "configs" / "agw_synthetic.py"),
    ]
    command += [str(ROOT / "configs" / "deen_synthetic.py"), "--work-dir", str(tmp_path / "out"), "--seeds", "0", "1"]
    command += ["--which", "best", "--cfg-options", *options]
    printed = subprocess.run([*command, "--print-commands"], capture_output=True, text=True, check=True, cwd=ROOT)
    jobs = printed.stdout.splitlines()
    assert len(jobs) == 4
    first = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert first.returncode == 0, first.stdout + first.stderr
    table = (tmp_path / "out" / "ablation.md").read_text()
    assert re.search(r"\| agw_synthetic \| 2 \| feat_bn \| [\d.]+ ± [\d.]+ \|", table)
    assert re.search(r"\| deen_synthetic \| 2 \| sum flip \|", table)
    assert "tested on synthetic" in table and "tools/analysis_tools/ablate.py" in table
    again = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert again.stdout.count("not done again") == 4
