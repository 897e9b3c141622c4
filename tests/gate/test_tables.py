"""What leaves as text: no control character, no formula, no LaTeX command."""

import csv

import pytest

from mscmreid import tables


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-a", "@SUM(A1)", " =x", "'quoted", "＝1", "=\x1b[31m"])
def test_a_text_is_no_formula_and_comes_back(text, tmp_path):
    tables.write_csv([["query", 0.5], [text, "-0.25"]], tmp_path / "t.csv")
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1] == ["'" + tables.plain(text), "-0.25"]
    assert tables.csv_cell("\t=x") == "\\t=x"  # what it began with is written out


@pytest.mark.parametrize("number", ["-0.25", "+1", "-.5", "-1e-5", "-inf", "0.3", ""])
def test_numbers_stay(number):
    assert tables.csv_cell(number) == number
    assert tables.csv_cell(-3) == -3


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\x07", "\r", "\n", "\x00", "\x9b1m", "\u202e", "\u2028", "\ud800"])
def test_control_characters_are_written_out(hidden):
    shown = tables.plain(f"a{hidden}b")
    assert shown.isprintable() and shown.startswith("a\\") and shown.endswith("b")
    for line in [*tables.aligned_lines([[hidden, 1]]), *tables.markdown_table(["h"], [[hidden]]).split("\n")]:
        assert line.isprintable()


def test_other_writing_stays_as_it_is():
    for text in ("Köln", "相机 3", "a b", "±", "👩‍🦰", "emoji 😀", "a\xa0b"):
        assert tables.plain(text) == text


def test_latex_shows_what_the_text_says():
    assert tables.latex(r"a_b & 50% \input{x}") == r"a\_b \& 50\% \textbackslash{}input\{x\}"
