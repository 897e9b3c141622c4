"""Networks, views and losses, registered in :data:`mscmreid.registry.MODELS` and ``TRANSFORMS``."""

from mscmreid.models import losses, plugins, views
from mscmreid.models.backbones.multi_stream_resnet import MultiStreamResNet
from mscmreid.models.backbones.vit import VisionTransformer
from mscmreid.models.data_preprocessor import ReIDDataPreprocessor
from mscmreid.models.heads.reid_head import ReIDHead
from mscmreid.models.necks.bn_neck import BNNeck
from mscmreid.models.necks.pooling import AveragePool, ClassToken, GeM
from mscmreid.models.reid import CrossModalReID

__all__ = [
    "AveragePool",
    "BNNeck",
    "ClassToken",
    "CrossModalReID",
    "GeM",
    "MultiStreamResNet",
    "ReIDDataPreprocessor",
    "ReIDHead",
    "VisionTransformer",
    "losses",
    "plugins",
    "views",
]
