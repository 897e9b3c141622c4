"""Training and testing on MMEngine: runner, hooks, loops, optimizer, checkpoints."""

from .checkpoint_hook import SafeCheckpointHook
from .loops import ReIDTestLoop, ReIDValLoop
from .optim_wrapper import AutocastOptimWrapper
from .parallel import ReIDDistributedDataParallel
from .param_groups import ReIDOptimWrapperConstructor
from .reproducible import ReproducibleHook, seed_everything, seed_worker
from .runner import ReIDRunner
from .scalars import DeferredScalarsHook, ReIDLogProcessor

__all__ = [
    "AutocastOptimWrapper",
    "DeferredScalarsHook",
    "ReIDDistributedDataParallel",
    "ReIDLogProcessor",
    "ReIDOptimWrapperConstructor",
    "ReIDRunner",
    "ReIDTestLoop",
    "ReIDValLoop",
    "ReproducibleHook",
    "SafeCheckpointHook",
    "seed_everything",
    "seed_worker",
]
