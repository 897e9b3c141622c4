"""What can be inserted into the trunk: ``forward(x, maps, rows) -> (x, rows)``."""

from .dee import DEE
from .mfa import MFA
from .mimb import MIMB
from .nonlocal_block import NonLocal

__all__ = ["DEE", "MFA", "MIMB", "NonLocal"]
