"""Colours of clothes where they are, and heat that covers an image only where there is some."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mscmreid.evaluation import FeatureTable
from mscmreid.visualization.clothes import clothes_colours, to_lab
from mscmreid.visualization.heat import overlay, warm
from mscmreid.visualization.rankings import RankedImage, Ranking, draw_rankings


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [((255, 0, 0), (53.24, 80.09, 67.20)), ((0, 255, 0), (87.73, -86.18, 83.18)), ((0, 0, 0), (0, 0, 0))],
)
def test_lab_is_that_of_the_colour_tables(rgb, lab):
    np.testing.assert_allclose(to_lab(np.array(rgb)), lab, atol=0.05)


def test_upper_and_lower_body_of_visible_images(tmp_path):
    picture = np.zeros((100, 40, 3), np.uint8)
    picture[15:50] = (200, 0, 0)
    picture[50:90] = (0, 0, 200)
    picture[:, :8] = picture[:, 32:] = 255  # the background at the sides
    paths = [f"{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(picture).save(tmp_path / path)
    modality = np.array(["visible"] * 4 + ["infrared"])
    table = FeatureTable(paths, np.array([1, 1, 1, 2, 2]), np.ones(5, int), modality, {})
    found = clothes_colours(table, np.arange(5), tmp_path, most=2)
    assert np.isfinite(found).all(axis=1).tolist() == [True, False, True, True, False]  # two a person, no infrared
    np.testing.assert_allclose(found[0, :3], to_lab(np.array([200, 0, 0])))
    np.testing.assert_allclose(found[0, 3:], to_lab(np.array([0, 0, 200])))


def test_heat_covers_where_it_is_and_brightens_as_it_rises():
    image = Image.new("RGB", (40, 80), (100, 140, 60))
    heat = np.zeros((4, 2))
    heat[0, 0] = 1
    pixels = np.asarray(overlay(image, heat)).astype(int)
    assert np.ptp(pixels[70, 35]) == 0  # gray where nothing is
    assert pixels[5, 5, 0] > pixels[5, 5, 2] + 60  # yellow where most is
    brightness = warm(np.linspace(0, 1, 50)[None])[0] @ [0.3, 0.6, 0.1]
    assert (np.diff(brightness) > 0).all()


def test_a_row_may_have_a_label_and_a_picture_of_its_own(tmp_path):
    Image.new("RGB", (10, 20), "blue").save(tmp_path / "a.png")
    query = RankedImage(tmp_path / "a.png")
    red = RankedImage(tmp_path / "missing.png", picture=Image.new("RGB", (10, 20), "red"))
    plain = draw_rankings([Ranking(query, [query])])
    labelled = draw_rankings([Ranking(query, [red], "a label\nof two lines")])
    assert labelled.width > plain.width and labelled.height == plain.height
    colours = {colour for _, colour in labelled.getcolors(1 << 20)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours
