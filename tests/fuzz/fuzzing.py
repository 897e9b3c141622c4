"""What the fuzz tests share: how many cases, changed bytes, changed values, and what may come of a case.

A case ends with a result or with a named error: a ValueError or OSError that names the file (or the key). Anything else
fails the test, and so does a result that differs where the content must be the same.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Found = TypeVar("Found")

CASES = dict(
    checkpoint_bytes=80,
    checkpoint_tree=60,
    old_checkpoint=40,
    released=40,
    imagenet=25,
    features_bytes=100,
    features_arrays=120,
    features_csv=60,
    results_bytes=60,
    results_tree=100,
    lists=80,
    own_csv=60,
    images=80,
    cache=60,
    config=60,
)
"""Cases of each test where ``--cases N`` does not say: then N are shared out in these proportions."""


def cases(name: str):
    """Decorator: the number of cases, the same ones every time."""
    asked = int(os.environ.get("MSCMREID_FUZZ_CASES", "0"))
    number = -(-asked * CASES[name] // sum(CASES.values())) if asked else CASES[name]
    return settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def outcome(call: Callable[[], Found], *names: str) -> Found | None:
    """What a call gives, or None if it ends with an error that has one of the names in it."""
    try:
        return call()
    except (ValueError, OSError) as error:
        assert any(name in str(error) for name in names), f"{type(error).__name__} names none of {names}: {error}"
        assert "weights_only=False" not in str(error)
        return None


@st.composite
def changed_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` damaged in one to three places: bits, runs of bytes, its length."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        size = max(len(data), 1)
        # structure stands at the ends of a file
        end = st.integers(0, min(size, 700) - 1).map(lambda place: size - 1 - place)  # noqa: B023
        position = draw(st.one_of(st.integers(0, size - 1), st.integers(0, min(size, 300) - 1), end))
        length = draw(st.integers(1, 24))
        match draw(st.sampled_from(["flip", "flip", "flip", "byte", "zero", "noise", "cut", "drop", "add", "swap"])):
            case "flip" if data:
                data[position] ^= 1 << draw(st.integers(0, 7))
            case "byte" if data:
                data[position] = draw(st.sampled_from([0, 1, 0x20, 0x2D, 0x30, 0x39, 0x7F, 0x80, 0xFF]))
            case "zero":
                data[position : position + length] = bytes(min(length, len(data) - position))
            case "noise":
                data[position : position + length] = draw(st.binary(min_size=length, max_size=length))
            case "cut":
                del data[position:]
            case "drop":
                del data[position : position + length]
            case "add":
                data[position:position] = draw(st.binary(min_size=1, max_size=length))
            case "swap":
                other = draw(st.integers(0, size - 1))
                one, two = data[position : position + 8], data[other : other + 8]
                if len(one) == len(two) == 8 and abs(position - other) >= 8:
                    data[position : position + 8], data[other : other + 8] = two, one
    return bytes(data)


ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.5, 10**30, -(10**30), math.nan, math.inf, -math.inf, "", "x", "=1+1", "\x1b[31m",
    "\0", "../x", [], [[]], [None], [1, 2], {}, {"a": 1}, "1", [0], ["x"],
)  # fmt: skip
"""Values that stand in the place of others."""


@st.composite
def changed_tree(draw: st.DrawFn, tree: Any, odd: tuple[Any, ...] = ODD) -> Any:
    """A copy of nested mappings and lists in which one to three nodes are other values, gone, doubled or renamed."""
    holder = [copy.deepcopy(tree)]
    for _ in range(draw(st.integers(1, 3))):
        node: Any = holder
        key: Any = 0
        while isinstance(node[key], dict | list) and node[key] and (node is holder or draw(st.integers(0, 7))):
            if node is holder and draw(st.integers(0, 30)) == 0:
                break  # the whole of it
            node = node[key]
            key = draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        way = draw(st.sampled_from(["replace", "replace", "replace", "remove", "double", "rename"]))
        if way == "remove" and node is not holder:
            del node[key]
        elif way == "double" and isinstance(node, list) and node is not holder:
            node.insert(key, copy.deepcopy(node[key]))
        elif way == "rename" and isinstance(node, dict):
            node[f"{key}x"] = node.pop(key)
        else:
            node[key] = copy.deepcopy(draw(st.sampled_from(odd)))
    return holder[0]
