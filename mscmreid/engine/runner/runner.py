"""MMEngine's Runner with the promises this project makes: strict loading, whole checkpoints, one global batch."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mmengine
import torch
from mmengine.config import Config
from mmengine.dist import is_distributed, master_only
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MMLogger, print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mscmreid.cores import available_cores
from mscmreid.datasets.samplers import ReIDBatchSampler
from mscmreid.engine.bare_model import bare_model
from mscmreid.engine.runner.allocator import keep_freed_memory
from mscmreid.engine.runner.checkpoint import (
    check_fit,
    check_resumable,
    find_intact_checkpoint,
    load_weights,
    made_by,
    plain_hub,
    read_checkpoint,
    restored_hub,
    schedule_changes,
    state_dict_of,
    write_checkpoint,
)
from mscmreid.engine.runner.checks import (
    check_features,
    check_measures,
    check_num_classes,
    check_people,
    check_split,
    check_test,
)
from mscmreid.engine.runner.config_check import check_config
from mscmreid.engine.runner.config_form import check_complete
from mscmreid.engine.runner.frozen import freeze
from mscmreid.engine.runner.own_buffers import restore_own_buffers
from mscmreid.engine.runner.ownership import owned, require_empty
from mscmreid.engine.runner.processes import (
    init_cpu_group,
    limit_threads,
    preload_workers,
    start_method,
)
from mscmreid.engine.runner.resume_state import check_optimizer_fits, check_resume_state
from mscmreid.engine.runner.run_config import plain_config, spread_shared
from mscmreid.engine.runner.sync_batch_norm import convert_sync_batch_norm
from mscmreid.engine.runner.train_loops import ReIDIterTrainLoop, random_state
from mscmreid.registry import MODEL_WRAPPERS, RUNNERS


@RUNNERS.register_module()
class ReIDRunner(Runner):
    """The Runner that the tools use (``runner_type='ReIDRunner'``). What differs from MMEngine's:

    - ``train_dataloader.batch_sampler`` says what a batch of all processes together is made of; every process gets its
      even share. There is no ``batch_size`` beside it.
    - Checkpoints are written to a temporary name, checked and moved into place; they hold no Python objects.
    - ``load_from``, ``resume`` and tests load strictly; ``load_strict=False`` in the config loads what fits and says
      what did not. Automatic resume passes over a damaged file, naming it.
    - Weights that a checkpoint is about to replace are not fetched first.
    - Runs with several processes work without GPUs.
    - ``frozen`` in the config names parts that training leaves as they are.
    - ``compile`` in the config compiles the network's parts, not the optimizer's step with it.
    """

    _resumed_meta: Mapping[str, Any]
    _train_dataloader: Any
    _test_evaluator: Any
    _load_from: str | None
    _resume: bool
    initial_weights: str | None = None
    """What training started from: the ImageNet weights that the model's parts loaded, or 'random'; as it stands in
    checkpoints, and None where a checkpoint does not say."""

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> ReIDRunner:  # type: ignore[override]
        """MMEngine's, for a config as it comes out of its file too: short names are spread, mistakes told.

        Args:
            cfg: without ``work_dir`` the run goes to ``work_dirs/<name of the config>``.

        Raises:
            ValueError: see :func:`mscmreid.engine.runner.config_check.check_config`; the training has stages.
        """
        plain, _ = plain_config(cfg if isinstance(cfg, Config) else Config(dict(cfg)))
        spread_shared(plain)
        check_config(plain)
        check_complete(plain)
        if plain.get("stages"):
            raise ValueError("a training in stages is several runs: start it by mscmreid.apis.train(cfg)")
        plain.setdefault("default_scope", "mscmreid")
        if plain.get("work_dir") is None:
            plain.work_dir = os.path.join("work_dirs", Path(plain.filename or "run").stem)
        return super().from_cfg(plain)

    def setup_env(self, env_cfg: dict) -> None:
        """Memory, threads, workers, process group; then MMEngine's own set-up."""
        self._keeps_freed_memory = not torch.cuda.is_available() and keep_freed_memory()
        env_cfg = dict(env_cfg)
        mp_cfg = dict(env_cfg.get("mp_cfg") or {})
        mp_cfg.setdefault("mp_start_method", start_method())
        env_cfg["mp_cfg"] = mp_cfg
        multiprocessing.set_start_method(mp_cfg["mp_start_method"], force=True)  # MMEngine would warn of the change
        if self._distributed:
            limit_threads(int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", "1"))))
            if not torch.cuda.is_available() and not is_distributed():
                init_cpu_group(self._launcher, (env_cfg.get("dist_cfg") or {}).get("timeout", 1800))
        if mp_cfg["mp_start_method"] == "forkserver":
            loaders = [self.cfg.get(f"{mode}_dataloader") or {} for mode in ("train", "val", "test")]
            preload_workers(at_once=any(isinstance(loader, dict) and loader.get("num_workers") for loader in loaders))
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> MMLogger:
        """MMEngine's; its list of which hook acts when goes to the log file, on the screen only with level DEBUG."""
        logger = super().build_logger(log_level, log_file, **kwargs)
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler) and handler.level > logging.DEBUG:
                handler.addFilter(_is_no_list_of_hooks)
        return logger

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """MMEngine's, with the parts frozen that ``frozen`` in the config names."""
        built = super().build_model(model)
        freeze(built, self.cfg.get("frozen") or ())
        return built

    def _log_env(self, env_cfg: dict) -> None:
        """MMEngine's, and what was set that no config says."""
        super()._log_env(env_cfg)
        if self._keeps_freed_memory:
            self.logger.info("freed memory is kept for the next layer (MALLOC_TRIM_THRESHOLD_=131072 turns that off)")

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """MMEngine's, with a data-parallel wrapper that needs no GPU as the default; so has ``sync_bn='torch'``."""
        if self.distributed and model_wrapper_cfg is None and not is_model_wrapper(model):
            model_wrapper_cfg = dict(
                type="mscmreid.ReIDDistributedDataParallel",
                find_unused_parameters=self.cfg.get("find_unused_parameters", False),
            )
        sync_bn = self.cfg.get("sync_bn")
        if self.distributed and sync_bn and not torch.cuda.is_available() and not is_model_wrapper(model):
            if sync_bn != "torch":
                raise ValueError(f"without a GPU sync_bn must be 'torch' (or left out), found {sync_bn!r}")
            return MODEL_WRAPPERS.build(dict(model_wrapper_cfg or {}, module=convert_sync_batch_norm(model)))
        return super().wrap_model(model_wrapper_cfg, model)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """MMEngine's, with loops that go on within an epoch; the head's classes must be the data's."""
        if isinstance(loop, BaseLoop):
            return loop
        loop = dict(loop)
        by_epoch = loop.pop("by_epoch", True)
        loop.setdefault("type", "mscmreid.ReIDTrainLoop" if by_epoch else "mscmreid.ReIDIterTrainLoop")
        if "max_iters" in loop and loop.pop("max_epochs", None) is not None:  # of a base config
            self.logger.info("train_cfg.max_epochs does not count: this training counts iterations")
        built = super().build_train_loop(loop)
        if getattr(built, "counts_iterations", False):
            for hook in self.hooks:
                if isinstance(hook, LoggerHook):
                    hook.log_metric_by_epoch = False
        check_num_classes(bare_model(self.model), built.dataloader.dataset)
        return built

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """MMEngine's; it must be of the split that is trained on (RegDB), and measure what hooks watch."""
        built = super().build_val_loop(loop)
        if isinstance(self._train_loop, BaseLoop):
            check_measures([*self.hooks, *_schedulers(self.param_schedulers)], built.evaluator)
            check_features(bare_model(self.model), built.evaluator, "val_evaluator")
            trained_on = getattr(self._train_loop.dataloader.dataset, "metainfo", None)
            validated_on = getattr(built.dataloader.dataset, "metainfo", None)
            check_split(trained_on, validated_on, "the model of this config")
            check_people(trained_on, validated_on, "the model of this config")
        return built

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """MMEngine's; the model must give what the test ranks by."""
        built = super().build_test_loop(loop)
        check_features(bare_model(self.model), built.evaluator, "test_evaluator")
        return built

    def check_test(self, columns: dict[str, Any], metainfo: dict) -> None:
        """Before training: what the test after it will need, see :func:`mscmreid.engine.runner.checks.check_test`.

        Args:
            columns, metainfo: of all rows that the validation may use.
        """
        if self._test_evaluator is None or not isinstance(self._train_loop, BaseLoop):
            return
        evaluator = self._test_evaluator
        if not isinstance(evaluator, Evaluator):
            evaluator = self.build_evaluator(copy.deepcopy(evaluator))
            evaluator.dataset_meta = metainfo
        check_features(bare_model(self.model), evaluator, "test_evaluator")
        datasets = [
            loader.get("dataset")
            for loader in (self._test_dataloader, self._val_dataloader)
            if isinstance(loader, dict)
        ]
        if len(datasets) == 2:
            check_test(datasets[0], evaluator, datasets[1], columns)

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """MMEngine's, with batch samplers by themselves, and without what torch warns about or refuses: pinned memory
        without a GPU, more workers than this process may use cores, options of workers where there are none.

        Raises:
            ValueError: beside a ``batch_sampler`` stands what only it says.
        """
        if isinstance(dataloader, dict):
            dataloader = dict(dataloader)
            if not torch.cuda.is_available():
                dataloader.pop("pin_memory", None)
            cores = available_cores()
            if dataloader.get("num_workers", 0) > cores:
                print_log(
                    f"num_workers: {cores} instead of {dataloader['num_workers']}, the cores there are", "current"
                )
                dataloader["num_workers"] = cores
            if not dataloader.get("num_workers"):
                for option in ("persistent_workers", "prefetch_factor"):
                    dataloader.pop(option, None)
            if dataloader.get("batch_sampler") is not None:
                beside = sorted({"batch_size", "sampler", "shuffle", "drop_last"} & set(dataloader))
                if beside:
                    raise ValueError(
                        f"a data loader's batch_sampler says what a batch is made of: take out {beside} beside it "
                        "(the global batch is batch_sampler's num_ids x num_instances x 2 modalities)"
                    )
                # MMEngine builds a batch sampler around a sampler only; here the sampler itself makes the batches
                dataloader |= dict(
                    sampler=dataloader["batch_sampler"], batch_sampler=dict(type=_sampler_itself), batch_size=0
                )
        return Runner.build_dataloader(dataloader, seed, diff_rank_seed)

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict | None = None) -> None:
        """MMEngine's, by the images of a batch over all processes."""
        batch_sampler = getattr(self.train_loop.dataloader, "batch_sampler", None)
        if not isinstance(batch_sampler, ReIDBatchSampler):
            return super().scale_lr(optim_wrapper, auto_scale_lr)
        config = self._train_dataloader
        try:
            self._train_dataloader = dict(batch_size=batch_sampler.global_batch_size // self.world_size)
            super().scale_lr(optim_wrapper, auto_scale_lr)
        finally:
            self._train_dataloader = config

    def train(self) -> nn.Module:
        """Launch training, from the checkpoint that ``resume`` and ``load_from`` say, in a folder of its own.

        Raises:
            FolderInUseError: another process trains in the work folder.
            ValueError: the work folder has checkpoints of a training that this one does not go on with.
        """
        with owned(self.work_dir) if self._rank == 0 else nullcontext():
            if self._rank == 0 and not self._resume:
                require_empty(self.work_dir)
            return self._train()

    def _train(self) -> nn.Module:
        if self._resume and self._load_from is None:
            path, problems = find_intact_checkpoint(self.work_dir)
            for problem in problems:
                self.logger.warning(f"passed over: {problem}")
            if path is None:
                self.logger.warning(f"--resume: no checkpoint in {self.work_dir}, starting from the beginning")
                self._resume = False
            else:
                self._load_from = str(path)
        if self._load_from is not None:
            self.check_fits(read_checkpoint(self._load_from), self._load_from)
        return super().train()

    def check_fits(self, checkpoint: Mapping[str, Any], filename: str) -> None:
        """Refuse a checkpoint of another network at once, not after data sets and caches were made; unless a hook
        changes checkpoints before they are loaded.

        Raises:
            ValueError: see :func:`mscmreid.engine.runner.checkpoint.check_fit`.
        """
        if any(type(hook).after_load_checkpoint is not Hook.after_load_checkpoint for hook in self.hooks):
            return
        strict = self._resume or self.cfg.get("load_strict", True)
        check_fit(bare_model(self.model), state_dict_of(checkpoint, filename), filename, strict, made_by(checkpoint))

    def _init_model_weights(self) -> None:
        """MMEngine's, unless a checkpoint is going to replace every weight anyway."""
        replaced = self._load_from is not None and (self._resume or self.cfg.get("load_strict", True))
        if not replaced:
            super()._init_model_weights()
            named = [getattr(part, "initial_weights", None) for part in bare_model(self.model).modules()]
            self.initial_weights = "; ".join(filter(None, named)) or "random"

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = "cpu",
        strict: bool | None = None,
        revise_keys: list | None = None,
    ) -> dict[str, Any]:
        """Load weights strictly (unless ``load_strict=False`` in the config or ``strict=False`` here).

        When the run resumes, the file must also hold optimizer, schedule and log, made with the same seed.

        Args:
            filename: a checkpoint of this project (or a converted one).
            map_location: unused; files are read on the CPU and their tensors copied to where the model is.
            strict: every name and shape must fit.
            revise_keys: unused; 'module.' before a name is dropped.

        Raises:
            FileNotFoundError, ValueError: see :mod:`mscmreid.engine.runner.checkpoint`.
        """
        checkpoint = read_checkpoint(filename)
        if self._resume:
            check_resume_state(checkpoint, filename)
            check_resumable(checkpoint, filename, self.seed)
            going_on_with = getattr(self.train_dataloader.dataset, "metainfo", None)
            check_split(checkpoint["meta"].get("dataset_meta"), going_on_with, filename)
            self._resumed_meta = checkpoint["meta"]
            groups = getattr(getattr(self.optim_wrapper, "optimizer", None), "param_groups", [])
            check_optimizer_fits(checkpoint["optimizer"], groups, filename)
        if "message_hub" in checkpoint:
            checkpoint["message_hub"] = restored_hub(checkpoint["message_hub"])
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        strict = (self._resume or self.cfg.get("load_strict", True)) if strict is None else strict
        line = load_weights(
            bare_model(self.model), state_dict_of(checkpoint, filename), filename, strict, made_by(checkpoint)
        )
        self._has_loaded = True
        self.initial_weights = (checkpoint.get("meta") or {}).get("initial_weights")
        self.logger.info(line)
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = "cpu",
    ) -> None:
        """MMEngine's; says so where the checkpoint's schedule, which goes on, is not the config's."""
        configured = [s.state_dict() for s in self.param_schedulers or []]
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location="cpu")
        loop = self.train_loop
        if loop.epoch >= loop.max_epochs or loop.iter >= loop.max_iters:
            length = "max_iters" if isinstance(loop, ReIDIterTrainLoop) else "max_epochs"
            self.logger.warning(
                f"{filename} is the end of this training ({loop.epoch} epochs, {loop.iter} iterations): nothing is "
                "left to train. tools/test.py tests it; to train on: --resume --cfg-options train_cfg."
                f"{length}=N (the schedule goes on as it ended); to begin anew: --overwrite"
            )
        loop.done = self._resumed_meta.get("batches", 0)
        loop.random_states = self._resumed_meta.get("random_states")
        restore_own_buffers(bare_model(self.model), self._resumed_meta.get("buffers") or ())
        resumed = [s.state_dict() for s in self.param_schedulers or []]
        if changes := schedule_changes(configured, resumed):
            self.logger.warning(
                f"the checkpoint's learning-rate schedule goes on, not the config's: {'; '.join(changes)}"
            )

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: Mapping[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: None = None,
    ) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            out_dir, filename: where, on a local (or mounted) file system.
            file_client_args, backend_args: remote storage, not supported.
            save_optimizer: with the optimizer's state (and the loss scale).
            save_param_scheduler: with the schedulers' state.
            meta: added to the file's ``meta``; 'epoch' and 'iter' are where a resumed run goes on.
            by_epoch: without ``meta``, whether the present epoch counts as finished.

        Raises:
            OSError: it could not be written.
        """
        if file_client_args is not None or backend_args is not None:
            raise ValueError(
                "checkpoints are written to local folders only: file_client_args and backend_args are not supported"
            )
        position: dict[str, Any] = (
            dict(epoch=self.epoch + 1, iter=self.iter) if by_epoch else dict(epoch=self.epoch, iter=self.iter + 1)
        )
        batch = 0 if by_epoch else getattr(self.train_loop, "batch", 0)
        if batch and "batches" not in (meta or {}):  # MMEngine's hook: of this process
            position |= dict(batches=batch, random_states=[random_state()])
        checkpoint: dict[str, Any] = dict(
            meta=position
            | dict(meta or {})
            | dict(
                cfg=self.cfg.pretty_text,
                seed=self.seed,
                experiment_name=self.experiment_name,
                time=time.strftime("%Y%m%d_%H%M%S"),
                mmengine_version=mmengine.__version__,
                torch_version=str(torch.__version__),
                dataset_meta=getattr(self.train_dataloader.dataset, "metainfo", None),
                stage=self.cfg.get("stage"),
                initial_weights=self.initial_weights,
            ),
            state_dict=_to_cpu(bare_model(self.model).state_dict()),
            message_hub=plain_hub(self.message_hub.state_dict()),
        )
        if save_optimizer:
            checkpoint["optimizer"] = _to_cpu(self.optim_wrapper.state_dict())
        if save_param_scheduler:
            checkpoint["param_schedulers"] = [s.state_dict() for s in self.param_schedulers or []]
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        write_checkpoint(checkpoint, Path(out_dir, filename))

    def _maybe_compile(self, target: str) -> None:
        """Compile the model, losses and all, in place (names in checkpoints stay the same).

        With several processes only backbone and neck: the head exchanges rows between the processes.
        """
        options = self.cfg.get("compile")
        if not options:
            return
        model = bare_model(self.model)
        parts = [getattr(model, name) for name in ("backbone", "neck") if hasattr(model, name)]
        for part in parts if self.distributed and parts else [model]:
            part.compile(**({} if options is True else dict(options)))
        self.logger.info("torch.compile: the first iterations take longer")


def _is_no_list_of_hooks(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Hooks will be executed in the following order")


def _schedulers(schedulers: Any) -> list[Any]:
    """Schedulers as a list, however they stand in the runner."""
    found = list(schedulers.values()) if isinstance(schedulers, Mapping) else list(schedulers or [])
    return [s for part in found for s in (part if isinstance(part, list) else [part])]


def _sampler_itself(sampler: Any, batch_size: int) -> Any:
    """In the place of a batch sampler that MMEngine would build around ``sampler``."""
    return sampler


def _to_cpu(value: Any) -> Any:
    """The same structure with its tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {k: _to_cpu(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_cpu(v) for v in value)
    return value
