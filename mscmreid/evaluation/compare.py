"""Systems against each other on the same queries: every pair's difference, its interval, its p."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from mscmreid.evaluation.per_query import PerQuery
from mscmreid.evaluation.results import Result
from mscmreid.evaluation.table import check_comparable
from mscmreid.statistics import ALPHA, Difference, PeopleValues, Spread, compare_people, compare_seeds, holm, spread_of
from mscmreid.statistics.people import over_draws
from mscmreid.tables import aligned_lines, plain

SHOWN = ("R1", "mAP", "mINP")
NOT_DISTINGUISHABLE = "not distinguishable"


@dataclass(frozen=True)
class Tested:
    """One training's result under one protocol, with its queries.

    Attributes:
        result: the numbers.
        queries: their per-query values; of a result over splits one for each split.
    """

    result: Result
    queries: Sequence[PerQuery]

    @cached_property
    def people(self) -> PeopleValues:
        """The queries by person."""
        parts = [values.people for values in self.queries]
        return parts[0] if len(parts) == 1 else over_draws(parts)


@dataclass(frozen=True)
class System:
    """What is compared.

    Attributes:
        name: in tables.
        runs: for each training the rows of its results, one a protocol setting.
    """

    name: str
    runs: Sequence[Sequence[Tested]]

    def of_setting(self, setting: str) -> list[Tested]:
        """Each training's row of a setting."""
        return [tested for run in self.runs for tested in run if tested.result.setting == setting]

    @property
    def settings(self) -> list[str]:
        """Protocol settings, in the order in which they appear."""
        return list(dict.fromkeys(tested.result.setting for run in self.runs for tested in run))


@dataclass(frozen=True)
class Comparison:
    """One measure of one pair of systems under one protocol.

    Attributes:
        setting: the protocol's variant.
        first, second: names of the systems; the difference is first - second.
        num_first, num_second: their trainings.
        difference: with interval and p.
        p_holm: p with Holm's correction for the pairs of this setting and measure.
    """

    setting: str
    first: str
    second: str
    num_first: int
    num_second: int
    difference: Difference
    p_holm: float

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_holm < ALPHA

    @property
    def verdict(self) -> str:
        """In a word: the first is 'better' or 'worse', or 'not distinguishable'."""
        if not self.is_distinguishable:
            return NOT_DISTINGUISHABLE
        return "better" if self.difference.difference > 0 else "worse"

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        own: dict[str, Any] = dict(setting=self.setting, first=self.first, second=self.second)
        own.update(trainings_first=self.num_first, trainings_second=self.num_second)
        values = asdict(self.difference)
        values["first_value"], values["second_value"] = values.pop("first"), values.pop("second")
        return {**own, **values, "p_holm": self.p_holm, "verdict": self.verdict}


def compare_systems(
    systems: Sequence[System],
    pairs: Sequence[tuple[str, str]] | None = None,
    measures: Sequence[str] = SHOWN,
    seed: int = 0,
) -> list[Comparison]:
    """Compare systems under every protocol setting that all of them have.

    One training each: over people. Several each: over seeds and people.

    Args:
        systems: two or more, with different names.
        pairs: (first, second) names; None: every pair, in the order of the systems.
        measures: which.
        seed: of resampling.

    Returns:
        By setting, then pair, then measure.

    Raises:
        ValueError: no setting in common, other protocols, queries or galleries (what differs is named), one training
            here and several there.
    """
    named = {system.name: system for system in systems}
    if len(systems) < 2 or len(named) < len(systems):
        raise ValueError(f"a comparison needs two systems or more with a name each, found {[s.name for s in systems]}")
    settings = common_settings(systems)
    if not settings:
        found = "; ".join(f"{system.name}: {', '.join(system.settings)}" for system in systems)
        raise ValueError(f"the systems have no protocol in common: {found}")
    pairs = list(itertools.combinations(named, 2)) if pairs is None else pairs
    comparisons = []
    for setting in settings:
        rows = []
        for first, second in pairs:
            one, other = named[first].of_setting(setting), named[second].of_setting(setting)
            check_same_queries([*zip(itertools.repeat(first), one), *zip(itertools.repeat(second), other)])
            rows.append((first, second, len(one), len(other), _differences(first, one, second, other, seed)))
        for measure in measures:
            adjusted = holm([differences[measure].p for *_, differences in rows])
            for (first, second, num_first, num_second, differences), p in zip(rows, adjusted, strict=True):
                comparisons.append(Comparison(setting, first, second, num_first, num_second, differences[measure], p))
    order = {pair: number for number, pair in enumerate(pairs)}
    return sorted(comparisons, key=lambda c: (settings.index(c.setting), order[c.first, c.second]))


def common_settings(systems: Sequence[System]) -> list[str]:
    """Settings that all systems have, in the order of the first."""
    return [setting for setting in systems[0].settings if all(setting in system.settings for system in systems)]


def check_same_queries(tested: Sequence[tuple[str, Tested]]) -> None:
    """Raise a ValueError that says what differs unless all (name, test) pairs have one protocol and the same queries
    and galleries."""
    (name, first), *others = tested
    for other_name, other in others:
        names = (name, other_name) if name != other_name else (f"one of {name}", f"another of {name}")
        check_comparable(first.result, other.result, names)
        for one, two in zip(first.queries, other.queries, strict=True):
            if difference := one.difference_to(two):
                raise ValueError(
                    f"{names[0]} and {names[1]} cannot be compared query by query under {first.result.setting}: "
                    f"{difference}"
                )


def _differences(
    first: str, one: Sequence[Tested], second: str, other: Sequence[Tested], seed: int
) -> dict[str, Difference]:
    if len(one) == len(other) == 1:
        return compare_people(one[0].people, other[0].people, seed=seed)
    if min(len(one), len(other)) < 2:
        raise ValueError(
            f"{first} has {len(one)} training(s) and {second} has {len(other)}: how far seeds differ is known from two "
            "trainings or more, so give one of each, or several of each"
        )
    return compare_seeds([run.people for run in one], [run.people for run in other], seed=seed)


def spreads(systems: Sequence[System]) -> list[tuple[str, str, int, dict[str, Spread]]]:
    """(setting, system, trainings, measure -> spread) of every system with several trainings."""
    return [
        (setting, system.name, len(runs), spread_of([run.people for run in runs]))
        for setting in common_settings(systems)
        for system in systems
        if len(runs := system.of_setting(setting)) > 1
    ]


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """A block for each setting, a line for each pair and measure."""
    blocks = []
    for setting, members in itertools.groupby(comparisons, key=lambda comparison: comparison.setting):
        found = list(members)
        lines = aligned_lines([comparison_head(found), *(comparison_cells(c, found) for c in found)], num_texts=2)
        people = found[0].difference.num_people
        title = f"{setting}: {people} people; intervals and p over {found[0].difference.over}"
        blocks.append("\n".join([plain(title), lines[0], "-" * max(map(len, lines)), *lines[1:]]))
    return "\n\n".join(blocks)


def comparison_head(comparisons: Sequence[Comparison]) -> list[str]:
    """Names of the columns of :func:`comparison_cells`."""
    p = ["p", "p (Holm)"] if _num_pairs(comparisons) > 1 else ["p"]
    return ["A - B", "measure", "A", "B", "difference", "95 % interval", *p, "A better : worse, people", "verdict"]


def comparison_cells(comparison: Comparison, comparisons: Sequence[Comparison]) -> list[str]:
    """One comparison as cells; ``comparisons`` are those of its table (several pairs have a column for Holm's p)."""
    found = comparison.difference
    p = [p_text(found.p), p_text(comparison.p_holm)] if _num_pairs(comparisons) > 1 else [p_text(found.p)]
    return [
        f"{comparison.first} - {comparison.second}",
        found.measure,
        f"{found.first:.2f}",
        f"{found.second:.2f}",
        f"{found.difference:+.2f}",
        f"[{found.low:+.2f}, {found.high:+.2f}]",
        *p,
        f"{found.num_better} : {found.num_worse}",
        comparison.verdict,
    ]


def spread_table(found: Sequence[tuple[str, str, int, dict[str, Spread]]], measures: Sequence[str] = SHOWN) -> str:
    """What one training's number depends on: standard deviations in points, with shares of the variance."""
    rows = [spread_head()]
    rows += [spread_cells(*entry, measure) for entry in found for measure in measures]
    return "\n".join(["standard deviation of one training's number, in points", *aligned_lines(rows, num_texts=3)])


def spread_head() -> list[str]:
    """Names of the columns of :func:`spread_cells`."""
    parts = ("another seed", "other people", "other draws", "mixed")
    return ["setting", "system", "measure", *parts, "together", "trainings"]


def spread_cells(setting: str, name: str, num_runs: int, spread: dict[str, Spread], measure: str) -> list[str]:
    """One system's spread as cells."""
    of, shares = spread[measure], spread[measure].shares
    parts = [f"{getattr(of, part):.2f} ({shares[part]:.0f} %)" for part in ("seeds", "people", "draws", "mixed")]
    return [setting, name, measure, *parts, f"{of.total:.2f}", str(num_runs)]


def p_text(p: float) -> str:
    """A p in four digits, or that it is smaller."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _num_pairs(comparisons: Sequence[Comparison]) -> int:
    return len({(comparison.first, comparison.second) for comparison in comparisons})
