"""Augmented versions of images: random operations on batches, and views, which are sequences of them."""

from mscmreid.models.views.channels import AdaptiveGray, ChannelScale, ChannelToAll, InfraredGray
from mscmreid.models.views.distort import GaussianBlur, OneOf, RandomJitter
from mscmreid.models.views.erase import RandomErase
from mscmreid.models.views.geometry import HorizontalFlip, PadCrop
from mscmreid.models.views.hue import HueShift
from mscmreid.models.views.intensity import Normalize, RandomBrightness, RandomGrayscale
from mscmreid.models.views.view import View, ViewOp, view_generator

__all__ = [
    "AdaptiveGray",
    "ChannelScale",
    "ChannelToAll",
    "GaussianBlur",
    "HorizontalFlip",
    "HueShift",
    "InfraredGray",
    "Normalize",
    "OneOf",
    "PadCrop",
    "RandomBrightness",
    "RandomErase",
    "RandomGrayscale",
    "RandomJitter",
    "View",
    "ViewOp",
    "view_generator",
]
