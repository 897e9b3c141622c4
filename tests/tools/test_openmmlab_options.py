"""Options that OpenMMLab's users type: they do what they do there, or say what to do here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tool_modules import load_tool

from mscmreid.apis import load_config
from mscmreid.openmmlab_options import TEST_INSTEAD, TRAIN_INSTEAD


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--auto-scale-lr"], {"auto_scale_lr.enable": True}),
        (["--seed", "3", "--deterministic"], {"randomness.seed": 3, "randomness.deterministic": True}),
        (["--load-from", "x.pth"], {"load_from": "x.pth"}),
        (["--cfg-options", "log_level=ERROR", "--seed", "1"], {"log_level": "ERROR", "randomness.seed": 1}),
        (["--no-validate"], {"val_dataloader": None, "val_cfg": None, "val_evaluator": None}),
        (["--no-persistent-workers"], {f"{p}_dataloader.persistent_workers": False for p in ("train", "val", "test")}),
    ],
)
def test_switches_of_training_are_options_of_the_config(arguments, options):
    args = load_tool("train").parse_args(["mscm_synthetic", *arguments])
    assert args.cfg_options == options
    load_config("mscm_synthetic", args.cfg_options)
    assert load_tool("train").parse_args(["mscm_synthetic"]).cfg_options == {}


def test_resume_from_is_resume():
    train = load_tool("train")
    assert train.parse_args(["c", "--resume-from", "e.pth"]).resume == "e.pth"
    assert train.parse_args(["c", "--resume"]).resume == "auto" and train.parse_args(["c"]).resume is None


def test_options_of_testing():
    test = load_tool("test")
    args = test.parse_args(["c", "x.pth", "--tta", "--amp", "--out", "r.json", "--no-pin-memory"])
    assert (args.flip, args.precision, args.out_json) == (True, "float16", Path("r.json"))
    assert args.cfg_options["test_dataloader.pin_memory"] is False
    assert test.parse_args(["c", "x.pth", "--out", "f.npz"]).out_features == Path("f.npz")
    args = test.parse_args(["c", "x.pth"])
    assert (args.flip, args.precision, args.out_json, args.out_features) == (False, None, None, None)


@pytest.mark.parametrize(
    ("tool", "option", "text"),
    [
        *(("train", option, text) for option, text in TRAIN_INSTEAD.items()),
        *(("test", option, text) for option, text in TEST_INSTEAD.items()),
        ("test", "--out", "must end in .json or .npz, found 'x.pkl'"),
    ],
)
def test_what_is_not_here_says_what_to_do_instead(capsys, tool, option, text):
    with pytest.raises(SystemExit) as end:
        load_tool(tool).parse_args(["c", "x.pth", option, "x.pkl"] if tool == "test" else ["c", option, "2"])
    assert end.value.code == 2 and text in " ".join(capsys.readouterr().err.split())


def test_an_ablation_knows_the_switches_too():
    args = load_tool("analysis_tools/ablate").make_parser().parse_args(["c", "--auto-scale-lr"])
    assert args.cfg_options == {"auto_scale_lr.enable": True} and args.cfg_options_texts == [
        "auto_scale_lr.enable=True"
    ]
