"""What can be inserted into the trunk: ``forward(x, maps, rows) -> (x, rows)``."""

from .mimb import MIMB
from .nonlocal_block import NonLocal

__all__ = ["MIMB", "NonLocal"]
