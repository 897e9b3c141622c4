"""The frame of a report: the HTML document, its tables, and what stands about every result."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mscmreid.evaluation import Result
from mscmreid.evaluation.results import MEASURES
from mscmreid.visualization.style import CSS
from mscmreid.visualization.svg import element

MEASURE_NAMES = {"R1": "Rank-1", "R5": "Rank-5", "R10": "Rank-10", "R20": "Rank-20", "mAP": "mAP", "mINP": "mINP"}
HEADLINE = ("R1", "R10", "mAP", "mINP")
LEAD = (
    "Person re-identification between visible and infrared images. Every measure is in percent and belongs to the "
    "protocol that stands beside it; ± is one standard deviation over the gallery draws."
)


def document(results: Sequence[Result], chapters: Sequence[str]) -> str:
    """The whole HTML file: a table of all results, then a chapter for each."""
    if not results:
        raise ValueError("a report needs at least one result, found none")
    datasets = ", ".join(dict.fromkeys(f"{result.dataset} ({result.split})" for result in results))
    title = f"Results on {datasets}"
    names = [f"{result.setting or result.protocol}, {result.feature_label}" for result in results]
    links = "".join(element("a", escape(name), href=f"#result-{i}") for i, name in enumerate(names, start=1))
    header = element(
        "header",
        element("p", "mscmreid report", class_="kicker")
        + element("h1", escape(title))
        + element("p", LEAD, class_="lead")
        + (element("nav", links, aria_label="results") if len(results) > 1 else ""),
    )
    overview = element("section", element("h2", "All results") + _overview(results), id="results")
    dates = ", ".join(dict.fromkeys(result.date for result in results if result.date))
    footer = element("footer", f"Measured {escape(dates or 'at an unknown time')}. Made by mscmreid.")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style>"
    )
    body = header + overview + "".join(chapters) + footer
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def section(name: str, number: int, title: str, told: str, content: str) -> str:
    """A titled part of chapter ``number``; its id is ``name-number``."""
    told_line = element("p", escape(told), class_="note") if told else ""
    return element("section", element("h3", escape(title)) + told_line + content, id=f"{name}-{number}")


def heading(result: Result) -> str:
    """Name and headline numbers of a chapter."""
    std = result.std
    numbers = "".join(
        element(
            "div",
            element("b", f"{result.mean[name]:.1f}" + (f" <small>± {std[name]:.1f}</small>" if std else ""))
            + element("span", MEASURE_NAMES[name]),
            class_="number",
        )
        for name in HEADLINE
    )
    return (
        element("p", escape(f"{result.dataset} {result.split}"), class_="kicker")
        + element("h2", escape(f"{result.setting or result.protocol}, {result.feature_label}"))
        + element("div", numbers, class_="numbers")
    )


def facts(result: Result, number: int) -> str:
    """Everything that says what the numbers are, and the numbers of every gallery draw."""
    known: dict[str, object] = {
        "data set": result.dataset,
        "split": result.split,
        "protocol": result.protocol,
        "mode": result.mode,
        "shots": result.shots,
        "lineage of gallery draws": result.lineage,
        "direction": result.direction,
        "convention": result.convention,
        "ignored gallery images": result.exclusion,
        "CMC": result.cmc_kind,
        "feature": result.feature,
        "mirrored images added": "yes" if result.flip else "no",
        "re-ranking": "k-reciprocal" if result.rerank else "none",
        "gallery draws": f"{result.num_trials} (no. {', '.join(map(str, result.trials))})",
        "queries used": _span(result.num_queries),
        "queries left out (no match)": _span(result.num_left_out),
        "gallery images": _span(result.num_gallery),
        "checkpoint": result.checkpoint,
        "checkpoint SHA-256": result.checkpoint_sha256,
        "config hash": result.config_hash,
        "versions": ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        "measured": result.date,
    }
    items = "".join(
        element("div", element("dt", escape(name)) + element("dd", "–" if fact in (None, "") else escape(str(fact))))
        for name, fact in known.items()
    )
    content = element("dl", items)
    if result.num_trials > 1:
        rows = [
            ([f"draw {trial}"], [f"{result.values[name][i]:.2f}" for name in MEASURES])
            for i, trial in enumerate(result.trials)
        ]
        every = _table(["gallery", *(MEASURE_NAMES[name] for name in MEASURES)], rows)
        content += element("details", element("summary", "Every gallery draw") + every)
    return section("facts", number, "What was measured", "", content)


def _overview(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        counts = (result.num_queries, result.num_left_out, result.num_gallery)
        numbers = [*(_value(result, name) for name in MEASURES), str(result.num_trials), *map(_span, counts)]
        rows.append(([result.dataset, result.setting, result.feature_label], numbers))
    measures = [MEASURE_NAMES[name] for name in MEASURES]
    return _table(["data set", "setting", "feature", *measures, "draws", "queries", "left out", "gallery"], rows)


def _table(names: Sequence[str], rows: Sequence[tuple[Sequence[str], Sequence[str]]]) -> str:
    """Rows of (texts, numbers as markup) under their names."""
    num_texts = len(rows[0][0])
    head = "".join(
        element("th", escape(name), class_="text" if i < num_texts else "figure", scope="col")
        for i, name in enumerate(names)
    )
    body = "".join(
        element(
            "tr",
            "".join(element("td", escape(text), class_="text") for text in texts)
            + "".join(element("td", number) for number in numbers),
        )
        for texts, numbers in rows
    )
    table = element("table", element("thead", element("tr", head)) + element("tbody", body))
    return element("div", table, class_="scroll")


def _value(result: Result, name: str) -> str:
    std = result.std
    return f"{result.mean[name]:.2f}" + (f"<br><small>± {std[name]:.2f}</small>" if std else "")


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
