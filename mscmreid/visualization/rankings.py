"""A picture of rankings: each query with its nearest gallery images, right and wrong ones framed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mscmreid.fileio import written_atomically
from mscmreid.intake import Intake, UnreadableImageError, decode

TO_LOOK_AT = Intake(min_side=1, depth_range="percentiles:0,100")

RIGHT, WRONG, NEUTRAL = "#1a9850", "#d73027", "#8a8f98"
INK, FAINT, PAPER = "#20242b", "#6b7280", "#ffffff"

LINE = 14  # pixels from one line of a caption to the next

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".pdf": "PDF"}
"""Suffix -> Pillow's name of the format."""


@dataclass(frozen=True)
class RankedImage:
    """One picture in a row.

    Attributes:
        path: its file.
        caption: under it; may have several lines.
        is_match: whether it shows the query's person; None: unknown.
        picture: what is shown in the place of the file.
    """

    path: Path
    caption: str = ""
    is_match: bool | None = None
    picture: Image.Image | None = None


@dataclass(frozen=True)
class Ranking:
    """A query and its gallery images, nearest first; ``label`` stands at the left, in the place of a number."""

    query: RankedImage
    gallery: Sequence[RankedImage]
    label: str = ""


def open_image(path: Path, intake: Intake = TO_LOOK_AT) -> Image.Image:
    """RGB image of a file to look at: upright, frames of more than 8 bits from their darkest to their brightest value
    unless ``intake`` says otherwise.

    Raises:
        FileNotFoundError, ValueError: no file, or none that decodes; both name the path.
    """
    if not path.is_file():
        raise FileNotFoundError(f"picture of rankings: expected an image at {path}; is the data root right?")
    try:
        return decode(path, intake)
    except UnreadableImageError as error:
        raise ValueError(f"picture of rankings: {path} cannot be decoded ({error})") from error


def draw_rankings(
    rankings: Sequence[Ranking],
    title: str = "",
    subtitle: str = "",
    tile: tuple[int, int] = (96, 192),
    intake: Intake = TO_LOOK_AT,
    strict: bool = True,
) -> Image.Image:
    """One row a query: the query at the left, then its gallery images with green (right), red (wrong) or gray frames.

    Right and wrong also have a tick or a cross in a corner, for eyes that do not tell red from green.

    Args:
        rankings: the rows; they may differ in length.
        title, subtitle: written above: what was ranked, under which protocol.
        tile: (width, height) in pixels every image is fitted into, its own proportions kept.
        intake: how images are read.
        strict: whether a file that is gone or cannot be read is an error; else its place says so.

    Raises:
        ValueError: nothing to draw.
    """
    if not rankings:
        raise ValueError("a picture of rankings needs at least one query, found none")
    width, height = tile
    gap, frame = 10, 4
    label_font, label_lines = ImageFont.load_default(12), [r.label.split("\n") for r in rankings]
    longest_label = max(label_font.getlength(line) for lines in label_lines for line in lines)
    label_width = max(26, gap + round(longest_label) + gap)
    captions = (image.caption for ranking in rankings for image in (ranking.query, *ranking.gallery))
    caption_height = 6 + LINE * max(caption.count("\n") + 1 for caption in captions)
    cell = (width + 2 * frame + gap, height + 2 * frame + caption_height + gap)
    longest = max(len(r.gallery) for r in rankings)
    head = 24 + (26 if title else 0) + (20 if subtitle else 0) + 18
    canvas = Image.new(
        "RGB", (label_width + cell[0] * (longest + 1) + 3 * gap, head + cell[1] * len(rankings) + gap), PAPER
    )
    draw = ImageDraw.Draw(canvas)
    y = 12
    if title:
        draw.text((gap, y), title, fill=INK, font=ImageFont.load_default(18))
        y += 26
    if subtitle:
        draw.text((gap, y), subtitle, fill=FAINT, font=ImageFont.load_default(13))
        y += 20
    small = ImageFont.load_default(11)
    gallery_left = label_width + cell[0] + 2 * gap
    draw.text((label_width + frame, y + 4), "query", fill=FAINT, font=small)
    for rank in range(longest):
        draw.text((gallery_left + rank * cell[0] + frame, y + 4), f"{rank + 1}", fill=FAINT, font=small)
    for row, ranking in enumerate(rankings):
        top = head + row * cell[1]
        if ranking.label:
            middle = top + height // 2 - LINE * len(label_lines[row]) // 2
            draw.multiline_text((gap, middle), ranking.label, fill=INK, font=label_font, spacing=3)
        else:
            draw.text((gap, top + height // 2), f"{row + 1}", fill=FAINT, font=ImageFont.load_default(14))
        _tile(canvas, ranking.query, (label_width, top), tile, frame, NEUTRAL, intake, strict)
        for rank, image in enumerate(ranking.gallery):
            color = NEUTRAL if image.is_match is None else RIGHT if image.is_match else WRONG
            _tile(canvas, image, (gallery_left + rank * cell[0], top), tile, frame, color, intake, strict)
    line = label_width + cell[0] + gap // 2
    draw.line([(line, head), (line, canvas.height - gap)], fill="#d5d8de", width=1)
    return canvas


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a picture, moved into place when complete.

    Raises:
        ValueError: the name does not end in one of :data:`PICTURES`.
    """
    path = Path(path)
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"a picture's name must end in {', '.join(PICTURES)}, found {path}")
    with written_atomically(path) as temporary:
        picture.save(temporary, format=PICTURES[path.suffix.lower()])


def _tile(
    canvas: Image.Image,
    image: RankedImage,
    corner: tuple[int, int],
    tile: tuple[int, int],
    frame: int,
    color: str,
    intake: Intake,
    strict: bool,
) -> None:
    """Paint one framed image with its caption, its upper left corner at ``corner``."""
    left, top = corner
    draw = ImageDraw.Draw(canvas)
    draw.rectangle([left, top, left + tile[0] + 2 * frame - 1, top + tile[1] + 2 * frame - 1], fill=color)
    draw.rectangle([left + frame, top + frame, left + frame + tile[0] - 1, top + frame + tile[1] - 1], fill="#eceef1")
    try:
        picture = open_image(image.path, intake) if image.picture is None else image.picture
    except (FileNotFoundError, ValueError):
        if strict:
            raise
        picture = Image.new("RGB", tile, "#eceef1")
        note, font = "no picture", ImageFont.load_default(11)
        ImageDraw.Draw(picture).text((tile[0] / 2, tile[1] / 2), note, fill=FAINT, font=font, anchor="mm")
    scale = min(tile[0] / picture.width, tile[1] / picture.height)
    picture = picture.resize(
        (max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), Image.Resampling.LANCZOS
    )
    offset = (left + frame + (tile[0] - picture.width) // 2, top + frame + (tile[1] - picture.height) // 2)
    canvas.paste(picture, offset)
    if image.is_match is not None:
        _mark(draw, (left + tile[0] + 2 * frame - 18, top), image.is_match, color)
    font = ImageFont.load_default(11)
    for line, text in enumerate(image.caption.split("\n")):
        shown = elide(text, lambda part: font.getlength(part) <= tile[0] + 2 * frame)
        draw.text((left + frame, top + tile[1] + 2 * frame + 3 + LINE * line), shown, fill=INK, font=font)


def _mark(draw: ImageDraw.ImageDraw, corner: tuple[int, int], is_match: bool, color: str) -> None:
    """A tick or a cross on a square of 18 pixels, its upper left corner at ``corner``."""
    x, y = corner
    draw.rectangle([x, y, x + 17, y + 17], fill=color)
    if is_match:
        draw.line([(x + 4, y + 9), (x + 8, y + 13), (x + 14, y + 5)], fill=PAPER, width=2, joint="curve")
    else:
        draw.line([(x + 5, y + 5), (x + 13, y + 13)], fill=PAPER, width=2)
        draw.line([(x + 5, y + 13), (x + 13, y + 5)], fill=PAPER, width=2)


def elide(text: str, fits: Callable[[str], bool]) -> str:
    """``text``, or its end behind an ellipsis if it does not fit: the end of a file's name tells it apart."""
    if fits(text):
        return text
    return next((short for i in range(1, len(text)) if fits(short := "…" + text[i:])), "…")
