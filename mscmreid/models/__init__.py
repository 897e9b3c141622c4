"""Networks, views and losses, registered in :data:`mscmreid.registry.MODELS` and ``TRANSFORMS``."""

from . import losses, plugins, views
from .backbone import MultiStreamResNet
from .data_preprocessor import ReIDDataPreprocessor
from .head import ReIDHead
from .necks import AveragePool, BNNeck, GeM
from .reid import CrossModalReID

__all__ = [
    "AveragePool",
    "BNNeck",
    "CrossModalReID",
    "GeM",
    "MultiStreamResNet",
    "ReIDDataPreprocessor",
    "ReIDHead",
    "losses",
    "plugins",
    "views",
]
