"""Pictures of rankings from a feature file, and the floors that are printed beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tool_modules import load_tool
from toy_people import toy_table

from mscmreid.evaluation import LLCMProtocol, RegDBProtocol, SYSUProtocol, evaluate
from mscmreid.experiments.baselines import chance_comparison, comparison_table, pixel_comparisons, untrained_comparison
from mscmreid.visualization.nearest import ignored_rows

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def table(root):
    return toy_table(root)


@pytest.fixture(scope="module")
def features(table, root):
    table.save(root / "F.npz")
    return str(root / "F.npz")


@pytest.mark.parametrize("protocol", [SYSUProtocol(trials=3), LLCMProtocol(trials=2)])
def test_chance_is_the_mean_rank1_of_random_orders(table, protocol):
    rng = np.random.default_rng(0)
    comparison = chance_comparison(table, protocol)
    for selection, expected in zip(protocol.selections(table.columns), comparison.rank1, strict=True):
        hits = []
        for query in selection.query:
            visible = selection.gallery[~ignored_rows(table, selection, query)]
            if (table.pid[visible] == table.pid[query]).any():
                hits += (table.pid[rng.choice(visible, 400)] == table.pid[query]).tolist()
        assert 100 * np.mean(hits) == pytest.approx(expected, abs=1.5)


def test_pixels_are_compared_under_the_same_galleries(table, root):
    protocol = SYSUProtocol(trials=2)
    comparisons = list(pixel_comparisons(table, protocol, root, size=(8, 4)))
    assert [c.name.split(",")[0] for c in comparisons] == ["gray pixels"] * 2 + ["colour pixels"] * 2
    # every person's images have one flat colour, the same in both modalities: colour finds them, a flat image
    # without its own mean has nothing left
    by_name = {c.name: c.rank1 for c in comparisons}
    assert by_name["colour pixels, cosine, modality mean removed"] == [100.0, 100.0]
    chance = chance_comparison(table, protocol).rank1
    assert by_name["gray pixels, cosine, image mean removed"][0] < 3 * chance[0]


def test_one_flat_image_among_others_does_no_harm(table, tmp_path):
    rng = np.random.default_rng(0)
    for path in table.path:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)).save(tmp_path / path)
    Image.new("RGB", (8, 16), (7, 7, 7)).save(tmp_path / table.path[0])
    for comparison in pixel_comparisons(table, RegDBProtocol(), tmp_path, size=(16, 8)):
        assert 0 <= comparison.rank1[0] <= 100


def test_the_untrained_network_is_the_same_for_a_seed_and_leaves_the_random_state_alone(table, root, tmp_path):
    config = tmp_path / "tiny.py"
    base = str(ROOT / "configs" / "mscm_synthetic.py")
    config.write_text(f"_base_ = [{base!r}]\nimage_size = (64, 32)\nmodel = dict(backbone=dict(base_channels=8))\n")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (
        untrained_comparison(config, table, SYSUProtocol(trials=2), root, "feat_bn", seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert one == same and len(one.rank1) == 2 and one.rank1 != other.rank1


def test_the_table_has_mean_and_deviation(table):
    comparison = chance_comparison(table, SYSUProtocol(trials=2))
    lines = comparison_table("title", [comparison]).splitlines()
    assert lines[0] == "title" and lines[1].split() == ["chance", f"{np.mean(comparison.rank1):.2f}", "±", "0.00"]


def test_the_tool_draws_a_picture_and_prints_floors_and_result(table, features, root, tmp_path, capsys):
    tool = load_tool("analysis_tools/draw_rankings")
    out = tmp_path / "rankings.png"
    tool.main([features, str(out), "--data-root", str(root), "--queries", "3", "--top", "4", "--baselines"])
    text = capsys.readouterr().out
    with Image.open(out) as picture:
        assert picture.width > 5 * 96 and picture.height > 3 * 192
    rank1 = evaluate(table, [SYSUProtocol()], ["feat_bn"])[0].result.mean["R1"]
    assert f"all-search single-shot agw, feat_bn: Rank-1 {rank1:.1f} %" in text
    assert f"{rank1:.2f}" in text.splitlines()[-1] and "chance" in text and "colour pixels" in text


@pytest.mark.parametrize("how", ["best", "worst", "hardest", "first"])
def test_other_queries_other_pictures(features, tmp_path, how):
    tool = load_tool("analysis_tools/draw_rankings")
    root = ["--data-root", str(Path(features).parent)]
    tool.main([features, str(tmp_path / "a.webp"), *root, "--select", how, "--protocol", "indoor", "--feature", "sum"])
    assert (tmp_path / "a.webp").stat().st_size > 1000


def test_what_cannot_be_drawn_is_told(features, tmp_path):
    tool = load_tool("analysis_tools/draw_rankings")
    with pytest.raises(FileNotFoundError, match="is the data root right"):
        tool.main([features, str(tmp_path / "a.png"), "--data-root", str(tmp_path)])
    toy_table().save(tmp_path / "bare.npz")
    with pytest.raises(ValueError, match="give --data-root"):
        tool.main([str(tmp_path / "bare.npz"), str(tmp_path / "a.png")])


def test_own_data_is_drawn_under_a_general_protocol(features, tmp_path, capsys):
    tool = load_tool("analysis_tools/draw_rankings")
    sides = ["--query", "modality=visible", "cameras=1", "--gallery", "modality=infrared"]
    tool.main(
        [features, str(tmp_path / "a.png"), "--data-root", str(Path(features).parent), *sides, "--exclude", "id-camera"]
    )
    assert "visible cameras 1 -> infrared" in capsys.readouterr().out
