"""The tool that shows where a network looks: one picture a query, from a folder or from a feature file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tool_modules import load_tool
from toy_people import toy_table

from mscmreid.apis import init_model
from mscmreid.engine.runner.checkpoint import write_checkpoint
from mscmreid.retrieval.extract import extract_table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis_tools/explain")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """(config, checkpoint, model) of MSCMNet at 64 x 32."""
    folder = tmp_path_factory.mktemp("network")
    base = str(ROOT / "configs" / "mscm_synthetic.py")
    tiny = dict(backbone=dict(base_channels=8))
    (folder / "tiny.py").write_text(f"_base_ = [{base!r}]\nimage_size = (64, 32)\nmodel = {tiny}\n")
    torch.manual_seed(0)
    model = init_model(folder / "tiny.py", device="cpu")
    write_checkpoint(dict(state_dict=model.state_dict(), meta={}), folder / "tiny.pth")
    return str(folder / "tiny.py"), str(folder / "tiny.pth"), model


@pytest.fixture(scope="module")
def people(tmp_path_factory, network):
    """A data set of toy people in noise, with a feature file of the network."""
    root = tmp_path_factory.mktemp("people")
    table = toy_table(root, num_ids=3)
    rng = np.random.default_rng(0)
    for path in table.path:
        Image.fromarray(rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)).save(root / path)
    found = extract_table(network[2], table.columns, root)
    found.meta |= dict(table.meta, data_root=str(root))
    found.save(root / "F.npz")
    return root, found


def test_a_picture_a_query_with_every_kind_of_map(tool, network, people, tmp_path, capsys):
    config, checkpoint, _ = network
    root, _ = people
    own = ["--gallery", str(root / "cam1"), str(root / "cam2/0001/0001.png"), "--query-modality", "infrared"]
    queries = [str(root / "cam3/0001/0001.png"), str(root / "cam6/0002/0001.png")]  # two of one name
    tool.main([config, checkpoint, "--query", *queries, *own, "--out", str(tmp_path), "--top", "3"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0001.png", "0001_2.png"]
    assert capsys.readouterr().out.count("10 kinds of maps") == 2  # two of Grad-CAM, four each of non-local and MIMB
    with Image.open(tmp_path / "0001.png") as picture:
        pixels = np.asarray(picture.convert("HSV")).astype(int)
    warm = (pixels[..., 1] > 120) & (pixels[..., 0] < 45) & (pixels[..., 2] > 120)
    assert warm.mean() > 0.005  # heat is there


def test_queries_of_a_feature_file_are_ranked_as_its_protocol_does(tool, network, people, tmp_path, capsys):
    config, checkpoint, _ = network
    root, table = people
    row = table.path.index("cam3/0002/0001.png")
    options = [
        "--features",
        str(root / "F.npz"),
        "--data-root",
        str(root),
        "--out",
        str(tmp_path),
        "--top",
        "2",
        "--method",
        "hirescam",
    ]
    tool.main([config, checkpoint, "--query", str(row), *options, "--position", "0.5", "0.5"])
    assert (tmp_path / "cam3_0002_0001.png").is_file()
    with pytest.raises(ValueError, match=r"'cam1/0001/0001\.png' is no query of SYSU-MM01"):
        tool.main([config, checkpoint, "--query", "cam1/0001/0001.png", *options])
    out = capsys.readouterr().out
    values = [float(v) for v in out.split("similarities ")[1].split(";")[0].split(", ")]
    assert values == sorted(values, reverse=True)


def test_features_of_another_network_are_noticed(tool, network, people, tmp_path):
    config, checkpoint, _ = network
    root, _ = people
    toy_table(root, num_ids=3).save(tmp_path / "other.npz")  # made up
    with pytest.raises(ValueError, match="made by another network"):
        options = ["--features", str(tmp_path / "other.npz"), "--data-root", str(root), "--out", str(tmp_path)]
        tool.main([config, checkpoint, "--query", "cam3/0002/0001.png", *options])


def test_options_that_do_not_go_together(tool, network, capsys):
    config, checkpoint, _ = network
    for options in ([], ["--gallery", "x"], ["--gallery", "x", "--features", "F.npz"]):
        with pytest.raises(SystemExit):
            tool.parse_args([config, checkpoint, "--query", "a.jpg", "--out", "o", *options])
    assert "exactly one of --gallery and --features" in capsys.readouterr().err
