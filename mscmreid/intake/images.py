"""One image, whatever a user has, as RGB pixels of 8 bits; what cannot become that is an error that says why."""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # their plugins are imported: Pillow's own look-up knows no threads
EXIF_ORIENTATION = 0x0112
TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what brings the image upright."""
BEHIND = 128
"""Gray that lies behind transparent pixels: about the mean that images are normalised with."""

ADVICE = ". Replace it, or take it out of the set"

Source: TypeAlias = str | Path | Image.Image | np.ndarray | bytes


class UnreadableImageError(ValueError):
    """An image that cannot be read or decoded; the message has its path.

    Attributes:
        unreadable: path -> reason, where it tells of several at once.
    """

    def __init__(self, message: str, unreadable: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.unreadable: dict[str, str] = dict(unreadable or {})


@dataclass(frozen=True)
class Intake:
    """How images are read. ``asdict`` of it is JSON, and is kept with the features.

    Attributes:
        upright: turn the image as its EXIF orientation says.
        depth_range: gray frames of more than 8 bits, or of floats: the values that become 0 and 255, as (low, high), or
            'percentiles:LOW,HIGH' of each frame by itself. None refuses such frames.
        min_side: least width and height in pixels.
        max_pixels: most pixels of an image, looked at before it is decoded.

    Raises:
        ValueError: a value that is not like that.
    """

    upright: bool = True
    depth_range: tuple[float, float] | str | None = None
    min_side: int = 16
    max_pixels: int = 64_000_000

    def __post_init__(self) -> None:
        if self.min_side < 1 or self.max_pixels < 1:
            raise ValueError(f"min_side and max_pixels must be 1 or more, found {self.min_side}, {self.max_pixels}")
        if isinstance(self.depth_range, list | tuple) and str(next(iter(self.depth_range), None)).startswith(
            "percentiles:"
        ):
            # 'percentiles:1,99' as the command line of a config reads it: split at the comma
            object.__setattr__(self, "depth_range", ",".join(map(str, self.depth_range)))
        if isinstance(self.depth_range, str):
            _percentiles(self.depth_range)
        elif self.depth_range is not None:
            object.__setattr__(self, "depth_range", _low_and_high(self.depth_range, f"{self.depth_range!r}"))

    @classmethod
    def of(cls, value: Intake | Mapping[str, Any] | None, default: Intake | None = None) -> Intake:
        """From an object of this class, a dict of its attributes (those left out are ``default``'s), or None.

        Raises:
            ValueError: an unknown attribute.
        """
        base = cls() if default is None else default
        if value is None or isinstance(value, Intake):
            return value or base
        unknown = sorted(set(value) - set(asdict(base)))
        if unknown:
            raise ValueError(f"intake has the options {', '.join(asdict(base))}, found {', '.join(unknown)}")
        return cls(**{**asdict(base), **value})

    @classmethod
    def with_depth(cls, words: list[str] | tuple[str, ...] | None) -> Intake:
        """From the words behind ``--depth-range``: 'LOW HIGH', or 'percentiles:LOW,HIGH'; None: no range.

        Raises:
            ValueError: other words.
        """
        if not words:
            return cls()
        return cls(depth_range=words[0] if len(words) == 1 else _low_and_high(words, " ".join(words)))

    def __str__(self) -> str:
        depth = self.depth_range
        if isinstance(depth, tuple):
            depth = f"{depth[0]:.9g} to {depth[1]:.9g}"
        return (
            f"{'upright' if self.upright else 'as stored'}, depth range {depth}, sides from {self.min_side}, "
            f"at most {self.max_pixels} pixels"
        )


PUBLISHED = Intake(upright=False, min_side=1)
"""As the published pipelines read their data sets: pixels as they are stored."""


def open_image(source: Source, intake: Intake | None = None) -> np.ndarray:
    """Any image as (H, W, 3) uint8, RGB.

    Gray and black-and-white images get three equal channels, palettes and CMYK are converted by Pillow (without colour
    profiles), transparent pixels are laid over mid gray. Gray frames of more than 8 bits need ``intake.depth_range``.

    Args:
        source: a file's path, its bytes, a Pillow image, or an array: (H, W) or (H, W, 1) gray, (H, W, 3) RGB,
            (H, W, 4) RGBA, uint8; or a gray one of other numbers, for the depth range.
        intake: how it is read; None: upright, no depth range, sides of 16 pixels at least.

    Raises:
        UnreadableImageError: no regular file, damaged, of another format, too small, too large, several pages,
            nothing but transparent pixels, more than 8 bits a channel; the message says what to do.
    """
    return np.asarray(decode(source, Intake() if intake is None else intake))


def decode(source: Source, intake: Intake) -> Image.Image:
    """As :func:`open_image`, as a Pillow image of mode RGB."""
    name = f"image {os.fspath(source)!r}" if isinstance(source, str | Path) else "the image"
    try:
        if isinstance(source, np.ndarray):
            return _rgb(_from_array(source, intake), intake)
        if isinstance(source, Image.Image):
            return _rgb(source, intake)
        if isinstance(source, bytes):
            file: Any = io.BytesIO(source)
        else:
            if not stat.S_ISREG(os.stat(source).st_mode):  # a pipe would wait for ever
                raise ValueError("it is no regular file")
            file = source
        with Image.open(file, formats=FORMATS) as image:
            return _rgb(image, intake)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises OSError, ValueError, SyntaxError, struct.error and others for damage
        raise UnreadableImageError(f"{name} cannot be decoded: {_reason(error)}{ADVICE}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        path = error.filename
        return "it is a link to nothing" if path is not None and os.path.islink(path) else "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"UnidentifiedImageError: damaged, or none of {', '.join(FORMATS)}"
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _rgb(image: Image.Image, intake: Intake) -> Image.Image:
    width, height = image.size
    if width * height > intake.max_pixels:
        raise ValueError(f"it has {width} x {height} pixels, over {intake.max_pixels:,}; scale it down first")
    if min(width, height) < intake.min_side:
        raise ValueError(
            f"it has {width} x {height} pixels; the least side is {intake.min_side}, below which nobody is seen"
        )
    # MPO: a phone's JPEG photo, with its depth or its other lens behind it
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1:
        raise ValueError(f"it holds {pages} pages or frames; save each as an image of its own")
    deep_colour = _bits(image) > 8 and image.mode not in ("I", "F") and not image.mode.startswith("I;")
    if deep_colour:
        raise ValueError(
            f"it has mode {image.mode} of {_bits(image)} bits, more than 8 bits a channel; convert it to 8 bits first"
        )
    image.load()  # EXIF may lie behind the pixels
    turn = TURNED.get(image.getexif().get(EXIF_ORIENTATION, 1)) if intake.upright else None
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image = _eight_bits(np.asarray(image), image.mode, intake)
    if image.has_transparency_data:
        image = _over_gray(image)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _bits(image: Image.Image) -> int:
    """Bits a channel as they are stored: Pillow names them in its decoder's mode, such as 'RGB;16B'."""
    tiles = [tile[3] for tile in getattr(image, "tile", ())]
    modes = [args if isinstance(args, str) else next(iter(args or ()), "") for args in tiles]
    return max((int(bits) for mode in modes for bits in re.findall(r"^[A-Za-z]+;(\d+)", str(mode))), default=8)


def _eight_bits(values: np.ndarray, kind: str, intake: Intake) -> Image.Image:
    """Gray (H, W) of any numbers as 8 bits, by the depth range; halves are rounded to even."""
    if intake.depth_range is None:
        raise ValueError(
            f"it has mode {kind}, more than 8 bits a channel; convert it to 8 bits first, or say which values become "
            "black and white (depth_range, --depth-range LOW HIGH or percentiles:1,99, of a gallery when it is created)"
        )
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) < values.size:
        raise ValueError(f"{values.size - len(finite)} of its {values.size} values are NaN or infinite")
    if isinstance(intake.depth_range, str):
        low, high = np.percentile(finite, _percentiles(intake.depth_range))
        if low == high:
            raise ValueError(f"the {intake.depth_range} of its values are both {low:g}: it shows nothing")
    else:
        low, high = intake.depth_range
        if finite.max() < low or finite.min() > high:
            raise ValueError(
                f"its values are {finite.min():g} to {finite.max():g}, outside of the depth range {low:g} to {high:g}"
            )
    return Image.fromarray(np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8))


def _from_array(array: np.ndarray, intake: Intake) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2 and array.size and array.dtype.kind in "uif" and array.dtype != np.uint8:
        return _eight_bits(array, str(array.dtype), intake)
    is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not array.size or not is_image:
        raise ValueError(
            f"an array must be uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or gray of other numbers, found "
            f"{array.dtype} {array.shape}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _over_gray(image: Image.Image) -> Image.Image:
    shown = image.convert("RGBA")
    least, most = shown.getchannel("A").getextrema()
    if most == 0:
        raise ValueError("all of its pixels are transparent: it shows nothing")
    if least == 255:
        return shown
    return Image.alpha_composite(Image.new("RGBA", shown.size, (BEHIND, BEHIND, BEHIND, 255)), shown)


def _percentiles(text: str) -> tuple[float, float]:
    kind, _, numbers = text.partition(":")
    low, high = _low_and_high(numbers.split(","), repr(text))
    if kind != "percentiles" or low < 0 or high > 100:
        raise ValueError(f"a depth range is LOW HIGH, or percentiles:LOW,HIGH within 0 to 100; found {text!r}")
    return low, high


def _low_and_high(words: Any, shown: str) -> tuple[float, float]:
    try:
        low, high = (float(word) for word in words)
    except (TypeError, ValueError):
        low = high = 0.0
    if not (low < high and np.isfinite([low, high]).all()):
        raise ValueError(f"a depth range is two numbers LOW < HIGH, or percentiles:LOW,HIGH; found {shown}")
    return low, high
