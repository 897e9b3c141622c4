"""Charts: what they say, that they are well-formed, and that the points lie where the numbers say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from mscmreid.visualization.charts import Plot, camera_chart, cmc_chart, round_ticks


def texts(svg: str) -> list[str]:
    return [node.text for node in ElementTree.fromstring(svg).iter("text")]


def test_the_cmc_line_is_the_mean_and_the_band_a_standard_deviation():
    curves = np.array([[50.0, 70, 90], [60, 80, 94]])
    svg = cmc_chart(curves)
    root = ElementTree.fromstring(svg)
    plot = Plot((1, 3), (40, 100))
    line = root.find(".//polyline").get("points").split()
    expected = [f"{plot.x(rank):.1f},{plot.y(mean):.1f}" for rank, mean in ((1, 55), (2, 75), (3, 92))]
    assert line == expected
    band = [float(point.split(",")[1]) for point in root.find(".//polygon").get("points").split()]
    spread = np.std([50, 60], ddof=1)
    assert band[0] == pytest.approx(plot.y(55 - spread), abs=0.1)
    assert band[-1] == pytest.approx(plot.y(55 + spread), abs=0.1)
    assert "55.0" in texts(svg)


def test_one_trial_has_no_band():
    assert "polygon" not in cmc_chart([[50.0, 70, 90]])


def test_camera_cells_show_their_numbers_and_gaps():
    values = dict(R1=80.0, mAP=61.5, num_queries=12.0)
    svg = camera_chart({(3, 1): values}, [3, 6], [1, 2])
    root = ElementTree.fromstring(svg)
    assert {"80.0", "mAP 61.5", "camera 3", "camera 6"} <= set(texts(svg))
    kinds = [node.get("class") for node in root.iter("rect")]
    assert kinds.count("cell") == 1 and kinds.count("empty") == 3
    assert "Rank-1 80.0 %, mAP 61.5 %, 12 queries" in [node.text for node in root.iter("title")]


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 100, [0, 20, 40, 60, 80, 100]), (0.38, 0.91, None), (3, 3, [3])]
)
def test_ticks_are_round_and_inside(low, high, expected):
    ticks = round_ticks(low, high)
    assert expected is None or ticks == expected
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert all(re.fullmatch(r"-?\d+(\.\d)?", f"{tick:g}") for tick in ticks)
