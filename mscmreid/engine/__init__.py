"""Training and testing on MMEngine: runner, hooks, loops, optimizer, checkpoints."""

from mscmreid.engine.hooks.checkpoint_hook import SafeCheckpointHook
from mscmreid.engine.hooks.deferred_scalars_hook import DeferredScalarsHook
from mscmreid.engine.hooks.epoch_start_hook import EpochStartHook
from mscmreid.engine.hooks.preemption_hook import PreemptionHook
from mscmreid.engine.hooks.profiler_hook import ReIDProfilerHook
from mscmreid.engine.hooks.reproducible_hook import ReproducibleHook, seed_everything, seed_worker
from mscmreid.engine.optimizers.cosine_to_floor import CosineToFloorLR
from mscmreid.engine.optimizers.optim_wrapper import AutocastOptimWrapper
from mscmreid.engine.optimizers.optim_wrapper_constructor import ReIDOptimWrapperConstructor
from mscmreid.engine.optimizers.piecewise_linear import PiecewiseLinearLR
from mscmreid.engine.runner.data_parallel import ReIDDistributedDataParallel
from mscmreid.engine.runner.log_processor import ReIDLogProcessor
from mscmreid.engine.runner.loops import ReIDTestLoop, ReIDValLoop
from mscmreid.engine.runner.runner import ReIDRunner
from mscmreid.engine.runner.train_loops import ReIDIterTrainLoop, ReIDTrainLoop

__all__ = [
    "AutocastOptimWrapper",
    "CosineToFloorLR",
    "DeferredScalarsHook",
    "EpochStartHook",
    "PiecewiseLinearLR",
    "PreemptionHook",
    "ReIDDistributedDataParallel",
    "ReIDIterTrainLoop",
    "ReIDLogProcessor",
    "ReIDOptimWrapperConstructor",
    "ReIDProfilerHook",
    "ReIDRunner",
    "ReIDTestLoop",
    "ReIDTrainLoop",
    "ReIDValLoop",
    "ReproducibleHook",
    "SafeCheckpointHook",
    "seed_everything",
    "seed_worker",
]
