"""Whether a value of a config can be what an argument's annotation says, as far as that can be told."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

_WORDS = {int: "a whole number", float: "a number", bool: "True or False", str: "text", type(None): "None"}


def expected_kind(value: Any, annotation: Any) -> str | None:
    """What the annotation asks for, in words, if ``value`` is not of it; None if it is, or if nobody can tell.

    None is let through everywhere: in configs it takes a thing away.

    Args:
        value: of a config: numbers, texts, containers, or anything.
        annotation: of the argument that it is for; ``inspect.Parameter.empty`` if there is none.
    """
    if value is None or _fits(value, annotation):
        return None
    return _words(annotation)


def _fits(value: Any, annotation: Any) -> bool:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    kind = origin or annotation
    if kind is type(None):
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return (isinstance(value, int) and not isinstance(value, bool)) or _is_whole(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is Tensor:
        return isinstance(value, Tensor)
    if kind in (str, Path):
        return not isinstance(value, int | float | Mapping | list | tuple)
    if not inspect.isclass(kind):
        return True
    if issubclass(kind, Mapping):
        if isinstance(value, Mapping) and len(arguments) == 2:
            return all(part is None or _fits(part, arguments[1]) for part in value.values())
        return not isinstance(value, int | float | str | list | tuple)
    if kind in (list, tuple, set, Sequence, Iterable) or issubclass(kind, Sequence):
        return _fits_sequence(value, kind, arguments)
    return True  # built from a dict, or an object of the user's


def _is_whole(value: Any) -> bool:
    """Configs say 1e4 and inf for counts."""
    return isinstance(value, float) and (value.is_integer() or value == float("inf"))


def _fits_sequence(value: Any, kind: Any, arguments: tuple) -> bool:
    if isinstance(value, int | float | str):
        return False
    if not isinstance(value, list | tuple):
        return True
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return len(value) == len(arguments) and all(_fits(v, a) for v, a in zip(value, arguments, strict=True))
    return not arguments or all(v is None or _fits(v, arguments[0]) for v in value)


def _words(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(option) for option in arguments if option is not type(None)))
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    kind = origin or annotation
    if kind in _WORDS:
        return _WORDS[kind]
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        return f"{len(arguments)} values ({', '.join(_words(a) for a in arguments)})"
    if inspect.isclass(kind) and issubclass(kind, Mapping):
        plain = len(arguments) != 2 or arguments[1] in (Any, object)
        return "keys and values" if plain else f"keys and values ({_words(arguments[1])} each)"
    if inspect.isclass(kind) and issubclass(kind, Sequence | set | Iterable):
        return f"a list ({_words(arguments[0])} each)" if arguments else "a list"
    return getattr(kind, "__name__", str(kind))
