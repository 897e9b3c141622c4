"""model-index.yml has the numbers; the model zoo page is made from it, the configs' comments agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from tool_modules import load_tool

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "model_zoo.md").read_text()
INDEX = yaml.safe_load((ROOT / "model-index.yml").read_text())
MODELS = {model["Name"]: model for model in INDEX["Models"]}
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))


def first_comment(name: str) -> str:
    """The comment at the head of a config, as one line."""
    lines = (ROOT / "configs" / f"{name}.py").read_text().splitlines()
    head = [line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    return " ".join(head)


def test_the_page_is_what_the_script_makes_of_the_index():
    tool = load_tool("analysis_tools/zoo_tables")
    texts = yaml.load((ROOT / "model-index.yml").read_text(), Loader=yaml.BaseLoader)["Models"]
    assert tool.filled(PAGE, texts) == PAGE, "run python tools/analysis_tools/zoo_tables.py"
    texts[0]["Published"][0]["Metrics"]["R1"] = "12.34"
    assert tool.filled(PAGE, texts).replace("| 12.34 |", "| 78.53 |") == PAGE != tool.filled(PAGE, texts)
    with pytest.raises(ValueError, match="must have a place for each"):
        tool.filled(PAGE, texts[:1])


def test_the_index_lists_every_config_and_nothing_else():
    assert sorted(MODELS) == CONFIGS
    assert all(MODELS[name]["Config"] == f"configs/{name}.py" for name in CONFIGS)
    assert all(f"[{name}](../configs/{name}.py) |" in PAGE for name in CONFIGS)
    assert {model["In Collection"] for model in MODELS.values()} == {c["Name"] for c in INDEX["Collections"]}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_published_numbers_in_a_config_s_comment_agree(name):
    published = MODELS[name]["Published"]
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


def test_a_published_number_is_never_repeated_as_measured():
    for model in INDEX["Models"]:
        assert all(r["Metrics"] != p["Metrics"] for r in model["Results"] for p in model["Published"])


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_links_and_named_files_exist(page):
    text = (ROOT / "docs" / page).read_text()
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (ROOT / "docs" / link).exists()]
    commands = re.findall(r"\b((?:configs|tools|docs)/[\w/]+\.(?:py|sh|md))\b", text)
    missing += [path for path in commands if not (ROOT / path).exists()]
    assert missing == []
