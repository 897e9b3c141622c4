"""Bad conditions: corruptions of images, the same pixels on every machine; it knows pixels only."""

from mscmreid.corruptions import blur, digital, infrared, noise, weather  # each registers its own
from mscmreid.corruptions.corrupt import INFRARED, SEVERITIES, choose_corruptions, corrupt, family_of
from mscmreid.corruptions.draws import Draws

__all__ = [
    "INFRARED",
    "SEVERITIES",
    "Draws",
    "blur",
    "choose_corruptions",
    "corrupt",
    "digital",
    "family_of",
    "infrared",
    "noise",
    "weather",
]
