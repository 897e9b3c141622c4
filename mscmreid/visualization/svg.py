"""Small pieces of inline SVG and HTML. Colours are CSS classes, so a page's light, dark and print styles reach them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np


def element(name: str, content: str = "", **attributes: object) -> str:
    """``<name attribute="...">content</name>``: attributes are escaped, the content is markup already.

    An underscore at the end of an attribute's name is dropped (``class_``), the others become hyphens.
    """
    text = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(v))}"' for key, v in attributes.items())
    return f"<{name}{text}>{content}</{name}>"


def label(text: str, x: float, y: float, anchor: str = "start", class_: str = "tick") -> str:
    """SVG text with its baseline at (x, y)."""
    return element("text", escape(text), x=x, y=y, text_anchor=anchor, class_=class_)


def points(xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray) -> str:
    """Coordinates of a polyline or polygon."""
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))


def picture(content: str, width: float, height: float, title: str) -> str:
    """An SVG that scales with the page; ``title`` is read out to those who cannot see it."""
    box, size = f"0 0 {width:g} {height:g}", f"max-width: {1.2 * width:g}px"
    content = element("title", escape(title)) + content
    return element("svg", content, viewBox=box, role="img", class_="chart", style=size)


@dataclass(frozen=True)
class Plot:
    """A plotting area: data ranges and where they lie in the picture, in SVG units."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 520
    height: float = 300
    left: float = 44
    right: float = 14
    top: float = 14
    bottom: float = 40

    def x(self, value: float | np.ndarray) -> np.ndarray:
        """Horizontal position of a value."""
        low, high = self.x_range
        return self.left + (np.asarray(value) - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float | np.ndarray) -> np.ndarray:
        """Vertical position of a value."""
        low, high = self.y_range
        return (
            self.height
            - self.bottom
            - (np.asarray(value) - low) / (high - low) * (self.height - self.top - self.bottom)
        )

    def axes(
        self, x_ticks: Sequence[float], x_title: str, y_ticks: Sequence[float] = (), y_title: str = "", y_unit: str = ""
    ) -> str:
        """Grid lines, tick labels, and titles of the axes."""
        floor = self.height - self.bottom
        parts = []
        for tick in y_ticks:
            y = float(self.y(tick))
            parts.append(element("line", x1=self.left, x2=self.width - self.right, y1=y, y2=y, class_="grid"))
            parts.append(label(f"{tick:g}{y_unit}", self.left - 7, y + 4, "end"))
        parts.append(element("line", x1=self.left, x2=self.width - self.right, y1=floor, y2=floor, class_="axis"))
        for tick in x_ticks:
            x = float(self.x(tick))
            parts.append(element("line", x1=x, x2=x, y1=floor, y2=floor + 4, class_="axis"))
            parts.append(label(f"{tick:g}", x, floor + 17, "middle"))
        middle = (self.left + self.width - self.right) / 2
        parts.append(label(x_title, middle, self.height - 6, "middle", "axis-title"))
        if y_title:
            parts.append(label(y_title, self.left, 13, "start", "axis-title"))
        return "".join(parts)


def round_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers, about so many, inside a range."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= raw)
    first = np.ceil(low / step - 1e-9) * step
    return [float(round(tick, 10)) for tick in np.arange(first, high + step * 1e-6, step)]


def _plain(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float | np.floating) else str(value)
