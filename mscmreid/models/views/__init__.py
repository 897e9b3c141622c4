"""Augmented versions of images: random operations on batches, and views, which are sequences of them."""

from .channels import AdaptiveGray, ChannelScale, ChannelToAll, InfraredGray
from .erase import RandomErase
from .geometry import HorizontalFlip, PadCrop
from .intensity import Normalize, RandomBrightness, RandomGrayscale
from .view import View, ViewOp, view_generator

__all__ = [
    "AdaptiveGray",
    "ChannelScale",
    "ChannelToAll",
    "HorizontalFlip",
    "InfraredGray",
    "Normalize",
    "PadCrop",
    "RandomBrightness",
    "RandomErase",
    "RandomGrayscale",
    "View",
    "ViewOp",
    "view_generator",
]
