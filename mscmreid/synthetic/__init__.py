"""Synthetic people: drawn persons in the folder layouts of SYSU-MM01, RegDB and LLCM."""

from mscmreid.synthetic.contact_sheet import contact_sheet
from mscmreid.synthetic.painter import Painter
from mscmreid.synthetic.person import Person, draw_person
from mscmreid.synthetic.plan import Options, Plan, make_plan, split_people
from mscmreid.synthetic.writer import read_plan, write_dataset

__all__ = [
    "Options",
    "Painter",
    "Person",
    "Plan",
    "contact_sheet",
    "draw_person",
    "make_plan",
    "read_plan",
    "split_people",
    "write_dataset",
]
