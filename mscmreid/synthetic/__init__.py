"""Synthetic people: drawn persons in the folder layouts of SYSU-MM01, RegDB and LLCM."""

from .baselines import BaselineReport, pixel_baselines
from .contact_sheet import contact_sheet
from .painter import Painter
from .person import Person, draw_person
from .plan import Options, Plan, make_plan, split_people
from .writer import read_plan, write_dataset

__all__ = [
    "BaselineReport",
    "Options",
    "Painter",
    "Person",
    "Plan",
    "contact_sheet",
    "draw_person",
    "make_plan",
    "pixel_baselines",
    "read_plan",
    "split_people",
    "write_dataset",
]
