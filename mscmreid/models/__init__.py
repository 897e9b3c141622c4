"""Networks and losses, registered in :data:`mscmreid.registry.MODELS`."""

from . import plugins
from .backbone import MultiStreamResNet
from .head import ReIDHead
from .necks import AveragePool, BNNeck, GeM
from .reid import CrossModalReID

__all__ = ["AveragePool", "BNNeck", "CrossModalReID", "GeM", "MultiStreamResNet", "ReIDHead", "plugins"]
