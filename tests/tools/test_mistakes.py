"""A user's mistake is one line that names the key or file, in every tool; a bug keeps its traceback."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import MMLogger
from tool_modules import load_tool

from mscmreid import command_line
from mscmreid.command_line import HEAD_START, is_mistake, one_line, out_file, run_tool, tool_parser
from mscmreid.interruption import Interrupted
from mscmreid.registry import MODELS

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import write_image

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "mscm_synthetic.py")


def told(main, capsys) -> str:
    """The one line on stderr with which ``main`` under the tools' wrapper ends, status 1."""
    with pytest.raises(SystemExit) as end:
        run_tool(main)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 1 and lines[-1].startswith("error: ") and not any("Traceback" in line for line in lines)
    return lines[-1]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with broken files, as the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):  # tests of several processes may have left them
        monkeypatch.delenv(name, raising=False)
    MMLogger._instance_dict.clear()  # an older logger would write to the stream of an older test, which is closed
    (tmp_path / "syntax.py").write_text("model = dict(\n")
    (tmp_path / "name.py").write_text("model = dict(type=ReID)\n")
    (tmp_path / "base.py").write_text("_base_ = ['absent_base.py']\n")
    (tmp_path / "no_model.py").write_text("train_cfg = dict()\n")
    (tmp_path / "type.py").write_text(
        f"_base_ = [{CONFIG!r}]\nmodel = dict(backbone=dict(type='MultiStreamResNett'))\n"
    )
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "text.json").write_text("text")
    (tmp_path / "text.pth").write_text("text")
    np.savez(tmp_path / "columns.npz", path=np.array(["a"]))
    (tmp_path / "a").mkdir()
    write_image(tmp_path / "a" / "1.png", seed=0)
    (tmp_path / "b").mkdir()
    return tmp_path


TRAIN = [CONFIG, "--cfg-options"]
RANK = ["--query", "a", "--gallery", "b", "--query-modality", "visible", "--out", "out"]
LOOK = ["--query", "a/1.png", "--query-modality", "infrared", "--gallery", "b", "--out", "out"]
MISTAKES = [
    ("train", ["absent.py"], "absent.py"),
    ("train", ["mscm_synthetc"], "close to it: mscm_synthetic"),
    ("train", ["syntax.py"], "syntax.py"),
    ("train", ["name.py"], "name.py: NameError: name 'ReID'"),
    ("train", ["base.py"], "absent_base.py"),
    ("train", ["no_model.py"], "model"),
    (
        "train",
        ["type.py"],
        "model.backbone.type: nothing is registered as 'MultiStreamResNett'; did you mean 'MultiStreamResNet'?",
    ),
    ("train", [CONFIG], "data/synthetic"),
    ("train", [*TRAIN, "image_size=128"], "option image_size: expected height and width"),
    ("train", [*TRAIN, "optim_wrapper.optimizer.lr=1e-3x"], "option optim_wrapper.optimizer.lr: expected a number"),
    ("train", [*TRAIN, "mobel.backbone.depth=18"], "no config has the key 'mobel'; did you mean 'model'?"),
    ("train", [*TRAIN, "stage=warm"], "option stage: a training in stages writes it by itself"),
    ("train", [*TRAIN, "model.bakbone.depth=18"], "no 'bakbone' in model; did you mean 'backbone'?"),
    ("train", [*TRAIN, "model.backbone.dept=18"], "'dept'"),
    ("train", [*TRAIN, "train_cfg.max_epochs=ten"], "option train_cfg.max_epochs: expected a number"),
    (
        "train",
        ["caj_synthetic", "--cfg-options", "auto_scale_lr.enable=yes"],
        "option auto_scale_lr.enable: expected True",
    ),
    ("train", [*TRAIN, "train_cfg.max_epoch=10"], "nothing reads train_cfg.max_epoch; did you mean 'max_epochs'?"),
    ("train", [*TRAIN, "randomness.sed=1"], "nothing reads randomness.sed; did you mean 'seed'?"),
    ("train", [CONFIG, "--launcher", "pytorch"], "--launcher pytorch expects the environment variables"),
    ("test", [CONFIG, "absent.pth"], "absent.pth"),
    ("test", [CONFIG, "text.pth"], "text.pth"),
    ("test", ["absent.py", "untrained"], "absent.py"),
    ("test", [CONFIG, "untrained", "--cfg-options", "test_evaluator.protocols=5"], "option test_evaluator.protocols"),
    ("test", [CONFIG, "untrained"], "data/synthetic"),
    ("test", [CONFIG, "untrained", "--corruptions", "frog"], "found frog"),
    ("test", [CONFIG, "untrained", "--corruptions", "--severities", "6"], "severities must be some of"),
    ("rank", [CONFIG, "text.pth", *RANK], "no image in 'b'"),
    ("rank", [CONFIG, "absent.pth", *RANK[:-1], "a/out"], "lies in a"),
    ("eval_features", ["absent.npz"], "absent.npz"),
    ("eval_features", ["text.npz"], "text.npz"),
    ("eval_features", ["columns.npz"], "columns.npz"),
    ("report", ["text.json", "out.html"], "text.json: cannot be read as a results file (JSON)"),
    ("report", ["absent.json", "out.html"], "absent.json"),
    ("prepare_data", ["absent.py"], "absent.py"),
    ("prepare_data", [CONFIG], "data/synthetic"),
    ("prepare_data", ["no_model.py"], "no_model.py"),
    ("make_synthetic", ["out", "--size", "64"], "--size must look like"),
    ("make_synthetic", ["out", "--counts", "text.json"], "text.json must look like"),
    ("analysis_tools/ablate", ["absent.py"], "absent.py"),
    ("analysis_tools/ablate", [CONFIG, "--cfg-options", "randomness.seed=1"], "--seeds"),
    ("analysis_tools/ablate", [CONFIG, "--table-only", "--cfg-options", "train_cfg.max_epochs=x"], "max_epochs"),
    ("export", [CONFIG, "absent.pth"], "absent.pth"),
    ("export", ["absent.py", "text.pth"], "absent.py"),
    ("search", ["info", "absent"], "absent"),
    ("search", ["create", "new", CONFIG, "text.pth"], "text.pth"),
    ("analysis_tools/compare", ["absent.npz", "text.npz"], "absent.npz"),
    ("analysis_tools/compare", ["a=text.json", "b=text.json"], "text.json"),
    ("analysis_tools/compare", ["a/F.npz", "b/F.npz"], "two systems would be called 'F', a/F.npz and b/F.npz"),
    ("analysis_tools/explain", [CONFIG, "absent.pth", *LOOK], "absent.pth"),
    ("analysis_tools/explain", [CONFIG, "text.pth", *LOOK], "text.pth"),
    ("analysis_tools/model_info", ["absent.py"], "absent.py"),
    ("analysis_tools/model_info", [*TRAIN, "model.backbone.depth=text"], "option model.backbone.depth"),
    ("analysis_tools/results_table", ["absent.json"], "absent.json"),
    ("analysis_tools/results_table", ["text.json"], "text.json"),
    ("analysis_tools/draw_rankings", ["absent.npz", "out.png"], "absent.npz"),
    ("analysis_tools/draw_corruptions", ["out.png", "--corruptions", "frog"], "found frog"),
    ("analysis_tools/plot_curves", ["absent"], "expected the logs of a run, absent/"),
    ("analysis_tools/zoo_tables", ["--page", "absent.md"], "absent.md"),
    ("gpu_check", ["--device", "cpu"], "--out"),
    ("model_converters/official_to_mscmreid", ["absent.t", "out.pth", "--system", "mscm"], "absent.t"),
    ("model_converters/official_to_mscmreid", ["text.pth", "out.pth", "--system", "mscm"], "text.pth"),
]


@pytest.mark.parametrize(("tool", "arguments", "message"), MISTAKES)
def test_a_mistake_is_one_line_that_names_it(files, capsys, tool, arguments, message):
    assert message in told(lambda: load_tool(tool).main(arguments), capsys)


@pytest.mark.parametrize("tool", sorted(str(p.relative_to(ROOT / "tools")) for p in command_line.tools().values()))
def test_every_tool_has_the_wrapper_and_mistakes_are_tried_on_it(tool):
    text = (ROOT / "tools" / tool).read_text()
    assert text.rstrip().endswith("run_tool(main)") and "tool_parser(" in text
    assert tool.removesuffix(".py") in {name for name, *_ in MISTAKES}


@pytest.mark.parametrize("value", ["[dict(type='EMAHook')]", "[dict(type='ProfilerHook',by_epoch=False)]"])
def test_a_dict_in_an_option_is_told(capsys, value):
    with pytest.raises(SystemExit) as end:
        tool_parser(None, "--cfg-options").parse_args(["--cfg-options", f"custom_hooks={value}"])
    assert end.value.code == 2 and "custom_hooks: " in capsys.readouterr().err.splitlines()[-1]


def test_debug_shows_where_it_happened(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool", "--debug"])
    with pytest.raises(SystemExit):
        run_tool(lambda: Path("absent").read_text())
    text = capsys.readouterr().err
    assert "Traceback" in text and text.splitlines()[-1].startswith("error: [Errno 2]") and "'absent'" in text


@pytest.mark.parametrize("bug", [lambda: {}["key"], lambda: None + 1, lambda: MODELS.build(dict(type=broken))])
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises((KeyError, TypeError)):
        run_tool(bug)


def broken():
    """A component with a bug inside."""
    return len(5)


def test_an_import_that_fails_in_the_package_is_a_bug_and_a_missing_package_is_not():
    assert is_mistake(ModuleNotFoundError("No module named 'scipy'", name="scipy"))
    assert not is_mistake(ImportError("cannot import name 'x'", name="mscmreid.models"))
    assert is_mistake(ImportError("reports need matplotlib: pip install matplotlib"))


def test_long_messages_are_put_into_one_line():
    assert one_line(ValueError("a:\n  b\n\n  c")) == "a: b c"
    assert one_line(KeyError("key")) == "key" and one_line(ValueError()) == "ValueError"


def test_of_several_processes_the_first_tells_and_the_others_wait_to_be_ended(capsys, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(command_line.time, "sleep", waited.append)
    for number, expected in (("0", "error: "), ("3", "error (process 3): ")):
        monkeypatch.setenv("RANK", number)
        with pytest.raises(SystemExit):
            run_tool(lambda: int("x"))
        assert capsys.readouterr().err.startswith(expected)
    assert waited == [HEAD_START]


def test_a_process_that_waits_with_its_mistake_is_ended_without_a_word(capsys, monkeypatch):
    def ended(seconds: float) -> None:
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(command_line.time, "sleep", ended)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: int("x"))
    assert end.value.code == 143 and capsys.readouterr().err == ""


def test_options_of_a_config_add_up_and_are_read_like_mmengine_reads_them():
    parser = tool_parser("text", "--cfg-options")
    args = parser.parse_args(["--cfg-options", "a.b=1", "c=(2,x)", "--cfg-options", "d=None"])
    assert args.cfg_options == {"a.b": 1, "c": (2, "x"), "d": None}
    assert args.cfg_options_texts == ["a.b=1", "c=(2,x)", "d=None"]
    assert parser.parse_args([]).cfg_options == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cfg-options", "a"], "expected KEY=VALUE, found 'a'"),
        (["--cfg-options", "a=[(1,2]"], "cannot read '[(1,2]'"),
        (["--device", "gpu"], "'gpu' cannot be used"),
        (["--launcher", "ssh"], "--launcher"),
    ],
)
def test_arguments_that_cannot_be_read_are_named(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        tool_parser("text", "--cfg-options", "--device", "--launcher").parse_args(arguments)
    assert end.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


def test_a_launchers_local_rank_becomes_the_environments(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")  # restored afterwards
    monkeypatch.delenv("LOCAL_RANK")
    for option in ("--local-rank=3", "--local_rank=4"):  # what is set already stays
        args = tool_parser("text", "--local-rank").parse_args([option])
        assert isinstance(args, argparse.Namespace) and os.environ["LOCAL_RANK"] == "3"


def python(*command: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_process_of_its_own_ends_the_same_way(tmp_path):
    done = python(str(ROOT / "tools" / "train.py"), "absent.py", cwd=tmp_path)
    _, text = done.communicate(timeout=60)
    assert done.returncode == 1 and text.startswith("error: config: expected a file") and text.count("\n") == 1


def test_an_interruption_prints_no_traceback(tmp_path):
    code = (
        "import time, sys; from mscmreid.command_line import run_tool\n"
        "def main(): print('ready', flush=True); time.sleep(60)\n"
        "run_tool(main)"
    )
    process = python("-c", code)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130 and text.startswith("interrupted by SIGINT: files are written whole")
    assert text.count("\n") == 1


def test_a_reader_that_leaves_is_no_error(tmp_path):
    code = (
        "import sys; from mscmreid.command_line import run_tool\n"
        "def main():\n    for _ in range(100000): print('line')\n"
        "run_tool(main)"
    )
    process = python("-c", code)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait(timeout=60)


def test_the_command_lists_the_tools_and_names_one_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mscmreid"])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    text = capsys.readouterr().out
    assert end.value.code == 0 and all(f"  {name} " in text for name in ("train", "test", "ablate", "rank"))
    monkeypatch.setattr(sys, "argv", ["mscmreid", "trainn"])
    assert "no tool 'trainn'" in told(command_line._main, capsys)


def test_the_command_runs_a_tool(capsys, monkeypatch, tmp_path):
    (tmp_path / "r.json").write_text(json.dumps({}))
    monkeypatch.setattr(sys, "argv", ["mscmreid", "results_table", str(tmp_path / "r.json")])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 1 and "r.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("F.csv", "its name must end in .npz or .json, found 'F.csv'"),
        ("made.npz", "'made.npz' is a folder"),
        ("a_file/F.npz", "nothing can be made in"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch, capsys, text, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.npz").mkdir()
    (tmp_path / "a_file").touch()
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=out_file(".npz", ".json"))
    assert parser.parse_args(["--out", "new/folder/F.npz"]).out == Path("new/folder/F.npz")
    assert not (tmp_path / "new").exists()
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", text])
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["test", "c", "x.pth", "--out-features", "F.csv"],
        ["test", "c", "x.pth", "--out-json", "R.txt"],
        ["report", "F.npz", "report.pdf"],
        ["eval_features", "F.npz", "--out-json", "R.csv"],
        ["analysis_tools/compare", "A.npz", "B.npz", "--out", "AB.html"],
        ["analysis_tools/compare", "A.npz", "B.npz", "--out-json", "AB.png"],
        ["analysis_tools/draw_rankings", "F.npz", "F.html"],
        ["analysis_tools/plot_curves", "run", "--out", "curves.html"],
    ],
)
def test_tools_refuse_a_file_of_another_kind_at_once(words, capsys):
    with pytest.raises(SystemExit):
        load_tool(words[0]).main(words[1:])
    assert "its name must end in" in capsys.readouterr().err
