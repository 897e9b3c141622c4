"""The model zoo page, model-index.yml and the configs say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "model_zoo.md").read_text()
INDEX = yaml.safe_load((ROOT / "model-index.yml").read_text())
MODELS = {model["Name"]: model for model in INDEX["Models"]}
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
MEASURES = ("R1", "mAP", "mINP")


def rows_of(name: str) -> list[dict]:
    """Rows of the page's tables of numbers that belong to a config."""
    rows = []
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 10 and cells[0] == f"[{name}](../configs/{name}.py)":
            published = {m: float(c) for m, c in zip(MEASURES, cells[3:6], strict=True) if c}
            measured = {m: float(c.split("±")[0]) for m, c in zip(MEASURES, cells[7:10], strict=True) if c}
            rows.append(dict(setting=cells[1], test=cells[2], published=published, source=cells[6], measured=measured))
    return rows


def first_comment(name: str) -> str:
    """The comment at the head of a config, as one line."""
    lines = (ROOT / "configs" / f"{name}.py").read_text().splitlines()
    head = [line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    return " ".join(head)


def test_both_list_every_config_and_nothing_else():
    assert sorted(MODELS) == CONFIGS
    assert [name for name in CONFIGS if not rows_of(name)] == []
    assert all(MODELS[name]["Config"] == f"configs/{name}.py" for name in CONFIGS)
    assert {model["In Collection"] for model in MODELS.values()} == {c["Name"] for c in INDEX["Collections"]}


@pytest.mark.parametrize("name", CONFIGS)
def test_published_numbers_agree(name):
    rows = [row for row in rows_of(name) if row["published"]]
    published = MODELS[name]["Published"]
    assert [
        dict(setting=p["Setting"], test=p.get("Test", ""), published=p["Metrics"], source=p["Source"])
        for p in published
    ] == [{key: row[key] for key in ("setting", "test", "published", "source")} for row in rows]
    comment = first_comment(name)
    for entry in published:
        # from the setting's name on, the comment has Rank-1, mAP and perhaps mINP in this order
        text = comment[comment.index(entry["Setting"]) :]
        found = {
            "R1": re.search(r"Rank-1 ([\d.]+\d)", text),
            "mAP": re.search(r"mAP ([\d.]+\d)", text),
            "mINP": re.search(r"mAP [\d.]+\d, mINP ([\d.]+\d)", text.split(";")[0]),
        }
        assert {m: float(match[1]) for m, match in found.items() if match} == entry["Metrics"]
    if not published:
        assert not re.search(r"Rank-1 \d|mAP \d", comment)


@pytest.mark.parametrize("name", CONFIGS)
def test_measured_numbers_agree_and_a_published_one_is_never_repeated_as_measured(name):
    rows = [row for row in rows_of(name) if row["measured"]]
    assert [row["measured"] for row in rows] == [r["Metrics"] for r in MODELS[name]["Results"]]
    assert all(row["measured"] != row["published"] for row in rows)


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_and_named_files_exist(page):
    text = (ROOT / "docs" / page).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (ROOT / "docs" / link).exists()]
    commands = re.findall(r"\b((?:configs|tools|docs)/[\w/]+\.(?:py|sh|md))\b", text)
    missing += [path for path in commands if not (ROOT / path).exists()]
    assert missing == []
