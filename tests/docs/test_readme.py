"""What the README promises is there: files, links, options of commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"(?:python )?(tools/[\w/]+\.py)([^`\n#|]*)", README)))


def test_links_and_named_files_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    named = re.findall(r"\b((?:configs|tools|docs|mscmreid|tests)/[\w/]+\.(?:py|sh|md|jpg))\b", README)
    assert len(links) > 5 and len(named) > 10
    assert [path for path in [*links, *named] if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("script", "options"), COMMANDS, ids=[script for script, _ in COMMANDS])
def test_options_of_commands_exist(script, options):
    shared = (ROOT / "mscmreid/command_line.py", ROOT / "mscmreid/apis/feature_options.py")
    source = "".join(path.read_text() for path in (ROOT / script, *shared))
    for option in re.findall(r"--[a-z][\w-]+", options):
        assert f'"{option}"' in source, f"{script} has no {option}"


def test_the_two_commands_are_the_ones_that_integration_runs():
    assert "bash tools/run_tests.sh" in README
    assert "bash tools/run_tests.sh" in (ROOT / ".ci/run").read_text()


def test_no_placeholder_is_left():
    assert not re.search(r"QS_\w+|TODO|XXX", README)


def test_the_python_lines_run(tmp_path, monkeypatch, capsys):
    """With a tiny network and random weights in the place of a trained one, and the gallery that the lines search."""
    import numpy as np
    import torch
    from colour_gallery import draw
    from mmengine.registry import init_default_scope
    from toy_training import CONFIGS, SIZE

    from mscmreid.apis import init_model, load_config
    from mscmreid.registry import MODELS
    from mscmreid.retrieval.encoder import ModelEncoder
    from mscmreid.retrieval.gallery import Gallery

    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 6  # five and an empty one
    init_default_scope("mscmreid")
    tiny = {"image_size": SIZE, "model.backbone.depth": 18, "model.backbone.base_channels": 8}
    cfg = load_config(CONFIGS / "mscm_sysu.py", tiny)
    cfg.model.backbone.init_cfg = None
    monkeypatch.chdir(tmp_path)
    cfg.dump("toy.py")
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), "weights.pth")
    for i, colour in enumerate(("red", "green", "blue", "gray", "red", "green")):
        draw(tmp_path / "images" / f"{i}.png", colour, 5 * i)
    draw(tmp_path / "day.png", "red", 0).rename("day.jpg")
    draw(tmp_path / "night.png", "gray", 0).rename("night.jpg")
    gallery = Gallery.create("station", ModelEncoder(init_model("toy.py", "weights.pth", "cpu")))
    gallery.add("images", "visible")

    names: dict = {}
    exec(code.replace('"mscm_sysu"', '"toy.py"'), names)
    assert names["features"].shape == (2, gallery.dim)
    np.testing.assert_allclose(np.linalg.norm(names["features"], axis=1), 1, atol=1e-5)
    printed = capsys.readouterr().out
    assert "Similarity(score=" in printed and printed.count("Hit(path=") == 5
