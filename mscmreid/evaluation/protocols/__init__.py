"""Evaluation protocols: small objects over the metadata of a data set's rows; the metric registers them."""

from collections.abc import Mapping
from typing import Any

from mscmreid.evaluation.protocols.base import DIRECTIONS, Columns, Protocol, trial_numbers
from mscmreid.evaluation.protocols.general import GeneralProtocol
from mscmreid.evaluation.protocols.llcm import LLCMProtocol
from mscmreid.evaluation.protocols.mixed import MixedGalleryProtocol
from mscmreid.evaluation.protocols.regdb import RegDBProtocol
from mscmreid.evaluation.protocols.sysu import SYSUProtocol

PROTOCOLS: dict[str, type[Protocol]] = {
    kind.__name__: kind for kind in (GeneralProtocol, LLCMProtocol, MixedGalleryProtocol, RegDBProtocol, SYSUProtocol)
}
"""Those of the package, by name."""


def protocol_of(config: Mapping[str, Any]) -> Protocol:
    """One of the package's protocols from what ``to_config`` gave, such as a feature file's.

    Raises:
        ValueError: another type, or options that it has not.
    """
    options = dict(config)
    kind = PROTOCOLS.get(str(options.pop("type", None)).split(".")[-1])
    if kind is None:
        raise ValueError(f"a protocol's type is one of {', '.join(PROTOCOLS)}, found {config.get('type')!r}")
    try:
        return kind(**options)
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        raise ValueError(f"protocol {dict(config)} cannot be made: {error}") from error


__all__ = [
    "DIRECTIONS",
    "PROTOCOLS",
    "Columns",
    "GeneralProtocol",
    "LLCMProtocol",
    "MixedGalleryProtocol",
    "Protocol",
    "RegDBProtocol",
    "SYSUProtocol",
    "protocol_of",
    "trial_numbers",
]
