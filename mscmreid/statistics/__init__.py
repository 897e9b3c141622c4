"""How far a number can be trusted: intervals over people, paired tests, spread over seeds. Needs numpy alone."""

from mscmreid.statistics.intervals import Interval, intervals
from mscmreid.statistics.paired import ALPHA, Difference, compare_people, holm
from mscmreid.statistics.people import MEASURES, PeopleValues
from mscmreid.statistics.resampling import RESAMPLES
from mscmreid.statistics.seeds import Spread, compare_seeds, seed_intervals, spread_of

__all__ = [
    "ALPHA",
    "MEASURES",
    "RESAMPLES",
    "Difference",
    "Interval",
    "PeopleValues",
    "Spread",
    "compare_people",
    "compare_seeds",
    "holm",
    "intervals",
    "seed_intervals",
    "spread_of",
]
