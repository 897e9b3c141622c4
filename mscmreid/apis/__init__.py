"""What other programs call: configs, models, training, testing."""

from .config import load_config
from .inference import init_model
from .test import test
from .train import train

__all__ = ["init_model", "load_config", "test", "train"]
