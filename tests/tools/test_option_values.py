"""Values on a command line: MMEngine's, and what it reads wrongly or not at all."""

from __future__ import annotations

import pytest
from mmengine.config import DictAction

from mscmreid.command_line import tool_parser
from mscmreid.option_values import read_value

ONE = """1|-2|1e-3|1e-3x|1_000|true|False|None|none|nan|auto|x=y|it's|a/b(1)|a)b|/data/dict(1)/x|'x.pth'|'5'"""
SEVERAL = """1,2,3|a,b|1,|a(1),b|[]|()|(1,)|[a, b, c]|[(1, 2, 3), [a, b], c]|[[1,2],[3,4]]|['a','b']|'[1,2]'"""


@pytest.mark.parametrize("text", f"{ONE}|{SEVERAL}".split("|"))
def test_values_are_read_as_mmengine_reads_them(text):
    assert repr(read_value(text)) == repr(DictAction._parse_iterable(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a dict(b, c) here'", "a dict(b, c) here"),
        ("""["dict(a)",b]""", ["dict(a)", "b"]),
        ("'it is (open'", "it is (open"),
        ("/my data/day", "/my data/day"),
        ("[/my data/day, night]", ["/my data/day", "night"]),
        ("'/data/day,night'", "/data/day,night"),
        ("(1,2),(3,4)", [(1, 2), (3, 4)]),
    ],
)
def test_a_text_keeps_its_spaces_and_what_stands_in_quotes_is_one(text, value):
    assert read_value(text) == value
    assert tool_parser("", "--cfg-options").parse_args(["--cfg-options", f"k={text}"]).cfg_options == {"k": value}


@pytest.mark.parametrize("text", ["dict(a=1)", "[dict(type=X,a=1)]", "[1,(dict(type=X),2)]", "{'a':1}", "[{},1]"])
def test_a_dict_is_refused_wherever_it_stands(text):
    with pytest.raises(ValueError, match="a dict cannot be written here"):
        read_value(text)


@pytest.mark.parametrize("text", ["[1,2", "1,2]", "[(1,2])", "['a,b]"])
def test_what_has_no_end_is_refused(text):
    with pytest.raises(ValueError, match=r"do not match|without an end"):
        read_value(text)
