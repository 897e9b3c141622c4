"""The picture of rankings: what is framed how, and what is said when a file is missing."""

from __future__ import annotations

import pytest
from PIL import Image, ImageColor

from mscmreid.visualization.rankings import NEUTRAL, RIGHT, WRONG, RankedImage, Ranking, draw_rankings


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (10, 20), "#123456").save(path)
    return path


def colors(picture: Image.Image) -> set:
    return {color for _, color in picture.getcolors(1 << 20)}


@pytest.mark.parametrize(("is_match", "frame"), [(True, RIGHT), (False, WRONG), (None, NEUTRAL)])
def test_frames_say_right_wrong_or_unknown(image, is_match, frame):
    picture = draw_rankings([Ranking(RankedImage(image), [RankedImage(image, "x", is_match)])])
    frames = {ImageColor.getrgb(c) for c in (RIGHT, WRONG)} & colors(picture)
    assert frames == ({ImageColor.getrgb(frame)} if is_match is not None else set())
    assert ImageColor.getrgb("#123456") in colors(picture)


def test_the_canvas_grows_with_queries_and_ranks(image):
    one = draw_rankings([Ranking(RankedImage(image), [RankedImage(image)] * 3)])
    two = draw_rankings([Ranking(RankedImage(image), [RankedImage(image)] * 10)] * 2, title="T", subtitle="S")
    assert two.width > one.width and two.height > one.height


def test_a_missing_or_broken_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        draw_rankings([Ranking(RankedImage(tmp_path / "gone.png"), [])])
    (tmp_path / "broken.png").write_text("no image")
    with pytest.raises(ValueError, match=r"broken\.png' cannot be decoded"):
        draw_rankings([Ranking(RankedImage(tmp_path / "broken.png"), [])])
    with pytest.raises(ValueError, match="at least one query"):
        draw_rankings([])
