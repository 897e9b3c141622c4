"""Child registries of MMEngine's, in the scope ``mscmreid``.

Every root registry that a run touches has a child here, because MMEngine warns about each one that is
missing. ``locations`` name the packages whose import registers the components; MMEngine imports them on the
first look-up, so importing this module costs nothing.
"""

from typing import Any

from mmengine import registry as root

from mscmreid.near_names import did_you_mean

_DATA = ["mscmreid.datasets"]
_MODELS = ["mscmreid.models"]
_ENGINE = ["mscmreid.engine"]
_EVALUATION = ["mscmreid.evaluation.metric"]
_VIEWS = ["mscmreid.models", "mscmreid.datasets"]


class NamingRegistry(root.Registry):
    """MMEngine's registry, whose error over a type that is not there names those that are like it."""

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """MMEngine's.

        Raises:
            KeyError: the type is not registered.
        """
        try:
            return super().build(cfg, *args, **kwargs)
        except KeyError as error:
            kind, unknown, _ = str(error.args[0] if error.args else "").partition(" is not in the ")
            if not unknown or "registered as expected" not in str(error):
                raise
            own = sorted(self.module_dict)
            near = did_you_mean(kind.rpartition(".")[2], {*own, *(self.parent.module_dict if self.parent else ())})
            there = f"; there are {', '.join(own)}" if own and not near else ""
            raise KeyError(f"{kind} is not in the registry of mscmreid's {self.name}s{near or there}") from None


def _child(name: str, parent: root.Registry | None, locations: list[str]) -> root.Registry:
    return NamingRegistry(name, parent=parent, scope="mscmreid", locations=locations)


DATASETS = _child("dataset", root.DATASETS, _DATA)
DATA_SAMPLERS = _child("data sampler", root.DATA_SAMPLERS, _DATA)
TRANSFORMS = _child("transform", root.TRANSFORMS, _VIEWS)
FUNCTIONS = _child("function", root.FUNCTIONS, [*_DATA, *_ENGINE])

MODELS = _child("model", root.MODELS, _MODELS)
MODEL_WRAPPERS = _child("model_wrapper", root.MODEL_WRAPPERS, _ENGINE)
WEIGHT_INITIALIZERS = _child("weight initializer", root.WEIGHT_INITIALIZERS, _MODELS)

METRICS = _child("metric", root.METRICS, _EVALUATION)
EVALUATOR = _child("evaluator", root.EVALUATOR, _EVALUATION)
TASK_UTILS = _child("task util", root.TASK_UTILS, _EVALUATION)

RUNNERS = _child("runner", root.RUNNERS, _ENGINE)
RUNNER_CONSTRUCTORS = _child("runner constructor", root.RUNNER_CONSTRUCTORS, _ENGINE)
LOOPS = _child("loop", root.LOOPS, _ENGINE)
HOOKS = _child("hook", root.HOOKS, _ENGINE)
STRATEGIES = _child("strategy", root.STRATEGIES, _ENGINE)
OPTIMIZERS = _child("optimizer", root.OPTIMIZERS, _ENGINE)
OPTIM_WRAPPERS = _child("optim_wrapper", root.OPTIM_WRAPPERS, _ENGINE)
OPTIM_WRAPPER_CONSTRUCTORS = _child("optimizer wrapper constructor", root.OPTIM_WRAPPER_CONSTRUCTORS, _ENGINE)
PARAM_SCHEDULERS = _child("parameter scheduler", root.PARAM_SCHEDULERS, _ENGINE)
VISUALIZERS = _child("visualizer", root.VISUALIZERS, _ENGINE)
VISBACKENDS = _child("vis_backend", root.VISBACKENDS, _ENGINE)
LOG_PROCESSORS = _child("log_processor", root.LOG_PROCESSORS, _ENGINE)
# MMEngine has no registry of corruptions to be a child of.
CORRUPTIONS = _child("corruption", None, ["mscmreid.corruptions"])
INFERENCERS = _child("inferencer", root.INFERENCERS, _ENGINE)
