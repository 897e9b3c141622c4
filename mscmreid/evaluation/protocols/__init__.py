"""Evaluation protocols: small registered objects over the metadata of a data set's rows."""

from mscmreid.evaluation.protocols.base import DIRECTIONS, Columns, Protocol, trial_numbers
from mscmreid.evaluation.protocols.general import GeneralProtocol
from mscmreid.evaluation.protocols.llcm import LLCMProtocol
from mscmreid.evaluation.protocols.mixed import MixedGalleryProtocol
from mscmreid.evaluation.protocols.regdb import RegDBProtocol
from mscmreid.evaluation.protocols.sysu import SYSUProtocol

__all__ = [
    "DIRECTIONS",
    "Columns",
    "GeneralProtocol",
    "LLCMProtocol",
    "MixedGalleryProtocol",
    "Protocol",
    "RegDBProtocol",
    "SYSUProtocol",
    "trial_numbers",
]
