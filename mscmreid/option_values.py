"""What stands behind the = of ``KEY=VALUE`` on a command line, read as OpenMMLab's tools read it, but for two things:
a text keeps its spaces (a path may have some), and what stands in quotes is one text, whatever is in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

BRACKETS = {"(": ")", "[": "]", "{": "}"}
WORDS = {"true": True, "false": False}


def read_value(text: str) -> Any:
    """A number, true or false, None, a list (``1,2`` or ``[1,2]``), a tuple (``(1,2)``), or else the text.

    Raises:
        ValueError: brackets or quotes without an end; a dict, which cannot be written here.
    """
    text = text.strip()
    inside = _inside_quotes(text)
    if inside is not None:
        bracketed = inside[:1] in ("(", "[") and inside[-1:] == BRACKETS[inside[0]]
        return read_value(inside) if bracketed else _scalar(inside)
    if "," not in text and text[:1] not in BRACKETS and not text.startswith("dict("):
        return _scalar(text)  # brackets mean nothing in a path
    parts = list(_elements(text))
    if len(parts) > 1:
        return [read_value(part) for part in parts if part.strip()]
    if text[-1:] in ("}", ")") and text.startswith(("{", "dict(")):
        raise ValueError("a dict cannot be written here")
    if text[:1] in ("(", "[") and text[-1:] == BRACKETS[text[0]]:
        values = [read_value(part) for part in _elements(text[1:-1]) if part.strip()]
        return tuple(values) if text[0] == "(" else values
    return _scalar(text)


def _scalar(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text == "None" else WORDS.get(text.lower(), text)


def _inside_quotes(text: str) -> str | None:
    """What stands between the quotes of a text that is one quoted text; else None."""
    if text[:1] not in ("'", '"'):
        return None
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    return value if isinstance(value, str) else None


def _elements(text: str) -> Iterator[str]:
    """The parts of a text between the commas that stand in no brackets and no quotes.

    A quote begins a quoted text only where an element begins: ``it's`` has none.
    """
    closing: list[str] = []
    quote, start, at_start = "", 0, True
    for at, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in ("'", '"') and at_start:
            quote = char
        elif char in BRACKETS:
            closing.append(BRACKETS[char])
        elif char in BRACKETS.values():
            if not closing or closing.pop() != char:
                raise ValueError(f"the brackets of {text!r} do not match")
        elif char == "," and not closing:
            yield text[start:at]
            start = at + 1
        at_start = char in ",([{=" or (at_start and char == " ")
    if quote:
        raise ValueError(f"{text!r} has a quote without an end")
    if closing:
        raise ValueError(f"the brackets of {text!r} do not match")
    yield text[start:]
