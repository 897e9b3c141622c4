"""A picture of corruptions: a strip each, the clean image and its five severities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mscmreid.corruptions import INFRARED, SEVERITIES, corrupt, family_of
from mscmreid.visualization.rankings import FAINT, INK, PAPER

GAP, HEAD = 3, 20


def corruption_sheet(
    visible: np.ndarray, infrared: np.ndarray, names: Sequence[str], key: str, per_line: int = 2
) -> Image.Image:
    """Lays out every corruption in the order of ``names``.

    Args:
        visible, infrared: (H, W, 3) uint8, of one size; the infrared family is shown on the second.
        names: registered corruptions.
        key: of the images, see :func:`mscmreid.corruptions.corrupt`.
        per_line: strips beside each other.
    """
    height, width = visible.shape[:2]
    strip_width = (len(SEVERITIES) + 1) * (width + GAP) + 4 * GAP
    strip_height = height + HEAD + 2 * GAP
    lines = -(-len(names) // per_line)
    sheet = Image.new("RGB", (per_line * strip_width, lines * strip_height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for number, name in enumerate(names):
        x, y = number % per_line * strip_width + GAP, number // per_line * strip_height + GAP
        clean = infrared if family_of(name) == INFRARED else visible
        draw.text((x, y), name.replace("_", " "), fill=INK, font=font)
        draw.text((x + 2 * width, y), f"{family_of(name)}; clean, then severity 1 to 5", fill=FAINT, font=font)
        pictures = [clean, *(corrupt(clean, name, severity, key) for severity in SEVERITIES)]
        for column, picture in enumerate(pictures):
            sheet.paste(Image.fromarray(picture), (x + column * (width + GAP), y + HEAD - 4))
    return sheet
