"""What can be inserted into the trunk: ``forward(x, maps, rows) -> (x, rows)`` or ``(x, rows, outputs)``."""

from mscmreid.models.plugins.css import CSS
from mscmreid.models.plugins.dee import DEE
from mscmreid.models.plugins.hss import HSS
from mscmreid.models.plugins.mfa import MFA
from mscmreid.models.plugins.mimb import MIMB
from mscmreid.models.plugins.nonlocal_block import NonLocal

__all__ = ["CSS", "DEE", "HSS", "MFA", "MIMB", "NonLocal"]
