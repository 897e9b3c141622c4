"""Networks and losses, registered in :data:`mscmreid.registry.MODELS`."""

from . import losses, plugins
from .backbone import MultiStreamResNet
from .head import ReIDHead
from .necks import AveragePool, BNNeck, GeM
from .reid import CrossModalReID

__all__ = ["AveragePool", "BNNeck", "CrossModalReID", "GeM", "MultiStreamResNet", "ReIDHead", "losses", "plugins"]
