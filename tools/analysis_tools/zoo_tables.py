"""Writes the tables of numbers on docs/model_zoo.md from model-index.yml, where the numbers stand.

python tools/analysis_tools/zoo_tables.py

Each table stands below a comment `<!-- numbers: DATA -->`, DATA being "Training Data" in model-index.yml.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from mscmreid.fileio import write_text
from mscmreid.tables import markdown_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "model_zoo.md"
MEASURES = ("R1", "mAP", "mINP")
HEAD = ("config", "setting", "test", "published R1", "mAP", "mINP", "source", "measured here R1", "mAP", "mINP")


def table(models: list[dict]) -> str:
    """A line for each published or measured setting of each model, one without numbers where there is neither."""
    rows = []
    for model in models:
        link = f"[{model['Name']}](../{model['Config']})"
        for entry in model["Published"] or model["Results"] or [{}]:
            published = entry["Metrics"] if model["Published"] else {}
            measured = next((r for r in model["Results"] if r["Setting"] == entry["Setting"]), {})
            deviation = measured.get("Deviation", {})
            found = {n: v + (f" ± {deviation[n]}" if deviation else "") for n, v in measured.get("Metrics", {}).items()}
            numbers = [[values.get(name, "") for name in MEASURES] for values in (published, found)]
            texts = [link, entry.get("Setting", ""), entry.get("Test", "")]
            rows.append([*texts, *numbers[0], entry.get("Source", ""), *numbers[1]])
    return markdown_table(HEAD, rows)


def filled(page: str, models: list[dict]) -> str:
    """The page with its tables made anew.

    Raises:
        ValueError: a model's data has no place on the page, or a place no model.
    """
    by_data: dict[str, list[dict]] = {}
    for model in models:
        by_data.setdefault(model["Metadata"]["Training Data"], []).append(model)
    places = re.findall(r"<!-- numbers: (.+) -->", page)
    if sorted(places) != sorted(by_data):
        raise ValueError(f"{PAGE} must have a place for each of {sorted(by_data)}, found {sorted(places)}")
    return re.sub(
        r"<!-- numbers: (.+) -->\n(\|.*\n)*",
        lambda place: f"{place[0].splitlines()[0]}\n{table(by_data[place[1]])}\n",
        page,
    )


def main() -> None:
    # as text, so that 74.20 keeps its last digit
    models = yaml.load((ROOT / "model-index.yml").read_text(encoding="utf-8"), Loader=yaml.BaseLoader)["Models"]
    write_text(filled(PAGE.read_text(encoding="utf-8"), models), PAGE)


if __name__ == "__main__":
    main()
