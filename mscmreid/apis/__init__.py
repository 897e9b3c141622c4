"""What other programs call: configs, models, training, testing, search.

Where torch or MMEngine is not installed, only :class:`ReIDInferencer` is here, and runs exported models.
"""

from mscmreid.apis.inferencer import ReIDInferencer

try:
    import mmengine as _mmengine  # noqa: F401
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name not in ("torch", "mmengine"):
        raise
    __all__ = ["ReIDInferencer"]
else:
    from mscmreid.apis.conditions import test_conditions
    from mscmreid.apis.config import load_config
    from mscmreid.apis.inference import init_model
    from mscmreid.apis.test import test
    from mscmreid.apis.train import train

    __all__ = ["ReIDInferencer", "init_model", "load_config", "test", "test_conditions", "train"]
