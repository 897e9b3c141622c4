"""What other programs call: configs, models, training, testing."""

from mscmreid.apis.conditions import test_conditions
from mscmreid.apis.config import load_config
from mscmreid.apis.inference import init_model
from mscmreid.apis.test import test
from mscmreid.apis.train import train

__all__ = ["init_model", "load_config", "test", "test_conditions", "train"]
