"""Evaluation protocols: small registered objects over the metadata of a data set's rows."""

from .base import DIRECTIONS, Columns, Protocol, trial_numbers
from .general import GeneralProtocol
from .llcm import LLCMProtocol
from .regdb import RegDBProtocol
from .sysu import SYSUProtocol

__all__ = [
    "DIRECTIONS",
    "Columns",
    "GeneralProtocol",
    "LLCMProtocol",
    "Protocol",
    "RegDBProtocol",
    "SYSUProtocol",
    "trial_numbers",
]
