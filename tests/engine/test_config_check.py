"""A config's mistakes are told before anything is built, by the full path of the key."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from mscmreid.apis import init_model, load_config
from mscmreid.apis.config import config_hash
from mscmreid.engine.runner.config_check import BUILT_AT_ONCE, arguments_of, check_config, components
from mscmreid.engine.runner.config_form import FREE, check_complete, check_form
from mscmreid.engine.runner.value_kinds import expected_kind
from mscmreid.near_names import near_names
from mscmreid.registry import CORRUPTIONS, HOOKS, MODELS, TRANSFORMS

OPTIONS = [
    ({"split_ids": 3}, "'split_ids'; did you mean 'split_id'?"),
    ({"data_rot": "x"}, "'data_rot'; did you mean 'data_root'?"),
    ({"load_fom": "x"}, "'load_fom'; did you mean 'load_from'?"),
    ({"compil": True}, "'compil'; did you mean 'compile'?"),
    ({"compile.mod": "x"}, "compile.mod; did you mean 'mode'"),
    ({"test_dataloader.dataset.split_ids": 3}, "test_dataloader.dataset.split_ids"),
    ({"env_cfg.cudnn_benchmrk": True}, "env_cfg.cudnn_benchmrk; did you mean 'cudnn_benchmark'?"),
    ({"env_cfg.mp_cfg": dict(start_method="fork")}, "env_cfg.mp_cfg.start_method; did you mean 'mp_start_method'?"),
    ({"env_cfg.dist_cfg.backnd": "nccl"}, "env_cfg.dist_cfg.backnd; did you mean 'backend'"),
    ({"auto_scale_lr.enabl": True}, "auto_scale_lr.enabl; did you mean 'enable'?"),
    ({"randomness.sead": 1}, "randomness.sead; did you mean 'seed'?"),
    ({"train_dataloader.worker_init_fn.seed": 1}, "train_dataloader.worker_init_fn.seed"),
    ({"train_dataloader.num_wrkers": 1}, "train_dataloader.num_wrkers; did you mean 'num_workers'?"),
    ({"default_hooks.chekpoint": dict(interval=3)}, "default_hooks.chekpoint is no default hook; did you mean 'check"),
    ({"default_hooks.ckpt": dict(type="SafeCheckpointHook")}, "must stand under default_hooks.checkpoint"),
    ({"train_cfg.val_begin": math.nan}, "train_cfg.val_begin is nan"),
    ({"train_cfg.val_interval": 0}, "train_cfg.val_interval must be a whole number"),
    ({"train_cfg.max_epochs": 2.5}, "train_cfg.max_epochs must be a whole number"),
    ({"train_cfg": dict(by_epoch=False, val_interval=4)}, "train_cfg needs max_iters=N"),
    ({"train_cfg": dict(type="IterBasedTrainLoop")}, "train_cfg needs max_iters=N, the length of a training"),
    ({"train_cfg.max_epochs": None}, "train_cfg needs max_epochs=N"),
    ({"train_cfg.by_epoch": False}, "train_cfg needs max_iters=N"),
    ({"optim_wrapper.optimizer.lr": math.nan}, "optim_wrapper.optimizer.lr is nan"),
    ({"test_evaluator.protocols": [dict(type="RegDBProtocl")]}, "test_evaluator.protocols.0.type: nothing is reg"),
    ({"test_evaluator.protocols": [dict(type="SYSUProtocol", mod="all")]}, "test_evaluator.protocols.0.mod: "),
    ({"test_evaluator.features": "feat_bn"}, "test_evaluator.features: expected a list"),
    ({"test_cfg.precison": "float16"}, "test_cfg.precison: ReIDTestLoop has no 'precison'; did you mean 'precision'?"),
    ({"model.neck.pool.type": "GemPool"}, "model.neck.pool.type: nothing is registered as 'GemPool'; did you mean"),
    ({"model.data_preprocessor.ops.flip.type": "RandomHorizontalFlip"}, "did you mean 'HorizontalFlip'?"),
    ({"custom_hooks": [dict(type="EMAHok")]}, "custom_hooks.0.type: nothing is registered as 'EMAHok'; did you mean"),
    ({"param_scheduler": [dict(type="MultiStepLR", milestone=[2])]}, "param_scheduler.0.milestone"),
    ({"visualizer.vis_backends": [dict(type="LocalVisBackendd")]}, "visualizer.vis_backends.0.type"),
    ({"log_processor.window_size": "many"}, "log_processor.window_size: expected a number"),
    ({"optim_wrapper.optimizer.lr": -0.1}, "optim_wrapper.optimizer.lr must be 0 or more"),
    ({"randomness.seed": -1}, "randomness.seed must be 0 or more"),
    ({"load_strict": "maybe"}, "load_strict: expected True or False"),
    ({"val_cfg.typ": "ReIDValLoop"}, "val_cfg.typ: ReIDValLoop has no 'typ'"),
    ({"runner_type": "ReIDRuner"}, "runner_type: nothing is registered as 'ReIDRuner'; did you mean 'ReIDRunner'"),
    ({"optim_wrapper.constructor": "None"}, "optim_wrapper.constructor: nothing is registered as 'None'"),
    ({"param_scheduler": [dict(type="MultiStepLR")]}, "param_scheduler.0 lacks milestones, which MultiStepLR needs"),
    ({"model.backbone.plugins.non_local.last": dict(stage2="two")}, "plugins.non_local.last.stage2: expected a whole"),
    ({"model.head.losses.qct.start_iter": [1, 2]}, "model.head.losses.qct.start_iter: expected a whole number"),
    ({"image_size": 128}, "option image_size: expected height and width"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=[next(iter(o)) for o, _ in OPTIONS])
def test_a_misspelt_option_is_refused_with_the_nearest_name(options, message):
    with pytest.raises(ValueError) as error:
        load_config("mscm_regdb", options)
    assert message in str(error.value)


def keys_of(node: Any, path: str = "") -> Iterator[tuple[str, dict, str]]:
    """(path of the dict, the dict, key) of every key of a config."""
    if path in FREE:
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(node, dict):
            yield path, node, key
        if isinstance(value, dict | list | tuple) and not isinstance(value, str):
            yield from keys_of(value, f"{path}.{key}" if path else str(key))


@pytest.mark.parametrize("name", ["mscm_regdb", "dns_sysu", "pmt_synthetic"])
def test_every_key_that_is_renamed_is_named_with_its_path(name):
    """But for those of the model and of paramwise_cfg: their builders refuse them in the same second."""
    content = load_config(name).to_dict()
    checked = 0
    for path, node, key in list(keys_of(content)):
        if path.startswith(BUILT_AT_ONCE) or key in ("type", "_scope_") or path == "custom_imports":
            continue
        node[f"{key}x"] = node.pop(key)
        with pytest.raises(ValueError) as error:
            check_config(content)
        assert (f"{path}.{key}x" if path else f"{key}x") in str(error.value)
        node[key] = node.pop(f"{key}x")
        checked += 1
    check_config(content)
    assert checked > 80


@pytest.mark.parametrize("name", ["mscm_regdb", "deen_llcm"])
def test_every_type_that_is_misspelt_is_named_with_its_path(name):
    content = load_config(name).to_dict()
    for path, node, key in list(keys_of(content)):
        if key != "type" or path.startswith("optim_wrapper.clip_grad"):
            continue
        right, node["type"] = node["type"], node["type"] + "x"
        with pytest.raises(ValueError) as error:
            check_config(content)
        assert f"{path}.type: nothing is registered as" in str(error.value)
        assert repr(right.rpartition(".")[2]) in str(error.value)  # among the near names
        node["type"] = right


def refused(content: dict) -> str:
    """The message with which a run of a config is refused before anything is built, '' if it is not."""
    try:
        check_form(content)
        check_config(content)
        check_complete(content)
    except ValueError as error:
        return str(error)
    return ""


def test_an_object_in_the_place_of_a_part_is_let_through():
    loader = torch.utils.data.DataLoader([1, 2])
    check_complete(dict(train_dataloader=loader))
    check_form(dict(train_dataloader=loader, model=torch.nn.Identity(), custom_hooks=[object()]))
    assert "train_dataloader needs a dataset" in refused(dict(train_dataloader=dict(batch_size=3)))


@pytest.mark.parametrize("name", ["mscm_regdb", "dns_llcm"])
def test_every_part_that_is_no_dict_is_named_with_its_path(name):
    content, checked = load_config(name).to_dict(), 0
    for path, node, key in list(keys_of(content)):
        right, place = node[key], f"{path}.{key}" if path else key
        if not isinstance(right, dict) or place in FREE:
            continue
        for wrong in (7, "text", [1, 2]):
            node[key] = wrong
            assert place in refused(content), (place, wrong)
            checked += 1
        node[key] = right
    assert not refused(content) and checked > 90


def test_every_component_without_its_type_is_named_with_its_path():
    content, checked = load_config("deen_sysu").to_dict(), 0
    for path, node, key in list(keys_of(content)):
        if key != "type" or re.search(
            r"losses|plugins|ops|_cfg$|clip_grad|neck\.pool|^optim_wrapper$|^log_processor", path
        ):
            continue
        right = node.pop("type")
        assert f"{path} needs a type" in refused(content), path
        node["type"] = right
        checked += 1
    assert checked > 20


def test_numbers_that_became_texts_are_named_with_their_paths():
    """Where a component's signature says that it wants a number."""
    content, named = load_config("mscm_sysu").to_dict(), 0
    for path, node, key in list(keys_of(content)):
        right = node[key]
        if isinstance(right, bool) or not isinstance(right, int | float) or not path:
            continue
        node[key] = f"{right}x"
        try:
            check_config(content)
        except ValueError as error:
            assert f"{path}.{key}" in str(error)
            named += 1
        node[key] = right
    assert named > 30


def test_a_part_of_the_model_that_cannot_be_built_is_named_with_its_path():
    for option, message in (
        ({"model.head.losses.qct.marginn": 1}, "model.head.losses.qct: "),
        ({"model.backbone.dept": 18}, "model.backbone: "),
        ({"model.data_preprocessor.ops.erase.area": (0.5, 0.1)}, "model.data_preprocessor"),
    ):
        with pytest.raises((ValueError, TypeError)) as error:
            init_model(load_config("mscm_synthetic", option), device="cpu")
        assert f"config: {message}" in str(error.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_variable_that_keys_are_built_from_is_no_typo_and_goes(tmp_path):
    write(tmp_path / "base.py", f"_base_ = [{str(find('mscm_synthetic'))!r}]\nrate = 0.01\nepochs = 4\n")
    text = (
        "_base_ = ['./base.py']\nhalf = 0.5\n_private = 1\n"
        "optim_wrapper = dict(optimizer=dict(lr=_base_.rate * half))\ntrain_cfg = dict(max_epochs=_base_.epochs)\n"
    )
    cfg = load_config(write(tmp_path / "leaf.py", text))
    assert cfg.optim_wrapper.optimizer.lr == 0.005 and cfg.train_cfg.max_epochs == 4
    assert not {"half", "rate", "epochs", "_private"} & set(cfg)
    cfg.dump(tmp_path / "again.py")
    assert config_hash(load_config(tmp_path / "again.py")) == config_hash(cfg)
    with pytest.raises(ValueError, match="rate is a variable of the config"):
        load_config(tmp_path / "leaf.py", {"rate": 0.1})


def find(name: str) -> Path:
    return Path(__file__).resolve().parents[2] / "configs" / f"{name}.py"


def test_a_top_level_key_that_nothing_reads_is_refused_with_the_way_out(tmp_path):
    path = write(tmp_path / "leaf.py", f"_base_ = [{str(find('mscm_synthetic'))!r}]\nbatchsize = 4\n")
    with pytest.raises(ValueError, match=r"nothing reads the key 'batchsize'.*extra=dict"):
        load_config(path)
    with pytest.raises(ValueError, match="'dataroot'; did you mean 'data_root'"):
        load_config(Config({**load_config("mscm_synthetic").to_dict(), "dataroot": "x"}))
    cfg = load_config(write(path, f"_base_ = [{str(find('mscm_synthetic'))!r}]\nextra = dict(batchsize=4)\n"))
    assert cfg.extra.batchsize == 4


def test_a_stage_with_a_misspelt_key_is_named():
    with pytest.raises(ValueError, match=r"stage 'across': config: nothing reads train_cfg\.max_epoch"):
        stages = dict(within=dict(train_cfg=dict(max_epochs=2)), across=dict(train_cfg=dict(max_epoch=2)))
        load_config("mscm_synthetic", {"stages": stages})


def test_an_image_size_in_a_file_is_checked_too(tmp_path):
    path = write(tmp_path / "leaf.py", f"_base_ = [{str(find('mscm_sysu'))!r}]\nimage_size = 128\n")
    with pytest.raises(ValueError, match="image_size must be height and width such as"):
        load_config(path)


@pytest.mark.parametrize(
    ("registry", "kind", "near"),
    [
        (MODELS, "GemPool", "GeM"),
        (TRANSFORMS, "RandomHorizontalFlip", "HorizontalFlip"),
        (HOOKS, "EarlyStopHook", "EarlyStoppingHook"),
        (CORRUPTIONS, "gaussian_noize", "gaussian_noise"),
    ],
)
def test_every_registry_names_what_may_have_been_meant(registry, kind, near):
    with pytest.raises(KeyError, match=f"{kind} is not in .*did you mean '{near}"):
        registry.build(dict(type=kind))


def test_a_registry_without_a_like_name_lists_what_it_has():
    with pytest.raises(KeyError, match=r"there are .*GeM"):
        MODELS.build(dict(type="Zzzz"))


def test_options_that_a_class_hands_to_its_base_are_known():
    arguments, open_ended = arguments_of(components()["RegDB"][0])
    assert {"split_id", "image_size", "cache"} <= set(arguments) and not open_ended


@pytest.mark.parametrize(
    ("value", "annotation", "wanted"),
    [
        (3, float, None),
        (True, int, "a whole number"),
        ("3", int | None, "a whole number"),
        (1e4, int, None),
        (None, int, None),
        ([1, 2], tuple[int, int], None),
        ([1], tuple[int, int], "2 values (a whole number, a whole number)"),
        ("a", list[str], "a list (text each)"),
        (["a", None], list[str], None),
        (dict(), int | dict, None),
        ([], dict, "keys and values"),
        (dict(type="X"), MODELS.__class__, None),
    ],
)
def test_kinds_of_values(value, annotation, wanted):
    assert expected_kind(value, annotation) == wanted


def test_the_nearest_names_come_first_and_few_of_them():
    names = ["HorizontalFlip", "RandomBrightness", "RandomErase", "GeM", "AveragePool"]
    assert near_names("RandomHorizontalFlip", names) == ["HorizontalFlip"]
    assert near_names("GemPool", names) == ["GeM"] and near_names("qqq", names) == []


def test_the_hash_of_a_config_does_not_depend_on_how_the_runner_is_found():
    assert config_hash(load_config("mscm_synthetic")) == config_hash(
        load_config("mscm_synthetic", {"runner_type": "ReIDRunner"})
    )


def test_an_option_of_a_part_that_its_builder_refuses_has_its_path_and_the_nearest_name():
    cfg = load_config("mscm_synthetic", {"model.head.losses.qct.margn": 1})
    with pytest.raises(TypeError, match=r"config: model\.head\.losses\.qct: .*'margn'; did you mean 'margin'\?"):
        init_model(cfg, device="cpu")
