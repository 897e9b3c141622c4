"""The precision 'mixed': what it computes in float32, and what that saves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_models import toy_model, unsettle

from mscmreid.engine.runner.loops import ReIDTestLoop, ReIDValLoop
from mscmreid.evaluation.closeness import bfloat16_warning, spread
from mscmreid.models.folding import inference_copy
from mscmreid.models.mixed import InFloat32
from mscmreid.models.plugins.dee import DilatedBranch
from mscmreid.retrieval.encoder import ModelEncoder

MIMB_PARTS = ("narrow", "attention", "mlp_expand", "mlp_project", "broad")
DEE_PARTS = ("mean", "expand")


def features(model, dtype: torch.dtype, x: Tensor) -> Tensor:
    with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not torch.float32):
        return model.extract_features(x, "visible")["feat_pool"]


@pytest.mark.parametrize(
    ("config", "in_float32"),
    [
        ("mscm_sysu.py", {f"backbone.plugins.mimb.stage3.layers.{i}.{n}" for i in range(4) for n in MIMB_PARTS}),
        ("agw_sysu.py", set()),
        # three stages
        ("deen_regdb.py", {f"backbone.plugins.dee.stage2.branches.{i}.{n}" for i in (0, 1) for n in DEE_PARTS}),
        ("pmt_sysu.py", None),
    ],
)
def test_the_first_and_last_stages_sums_are_in_float32_and_the_rest_is_not(config, in_float32):
    model = inference_copy(toy_model("", config).eval(), dtype=torch.bfloat16, mixed=True)
    turned = {name for name, module in model.named_modules() if isinstance(module, InFloat32)}
    if in_float32 is None:  # a transformer: its sums are in float32 whatever the precision
        assert not turned
        return
    stage = list(model.backbone.trunk)[-1]
    ends = {f"backbone.trunk.{stage}.{i}.conv2" for i in (0, 1)} | {f"backbone.trunk.{stage}.0.downsample"}
    last = {f"backbone.trunk.{stage}.1.conv1"}
    first = {f"backbone.trunk.stage1.{i}.conv2" for i in (0, 1)}
    first |= {f"backbone.streams.{name}.stem.conv1" for name in model.backbone.streams}
    assert turned == first | last | ends | in_float32
    kinds: dict[str, torch.dtype] = {}
    for name in (f"{stage}.0", f"{stage}.0.conv1", f"{stage}.1"):
        module = model.backbone.trunk.get_submodule(name)
        module.register_forward_hook(lambda _, x, y, name=name: kinds.update({name: y.dtype}))
    features(model, torch.bfloat16, torch.randn(2, 3, *model.image_size))
    assert kinds == {f"{stage}.0": torch.float32, f"{stage}.0.conv1": torch.bfloat16, f"{stage}.1": torch.float32}


def test_the_stage_that_is_private_and_the_bottleneck_are_turned_too():
    model = inference_copy(toy_model("", "dns_sysu.py", depth=50).eval(), dtype=torch.bfloat16, mixed=True)
    turned = {name for name, module in model.named_modules() if isinstance(module, InFloat32)}
    assert {f"backbone.streams.{m}.stage1.{i}.conv3" for m in ("visible", "infrared") for i in (0, 1, 2)} < turned
    assert {"backbone.trunk.stage4.2.conv2", "backbone.trunk.stage4.2.conv3"} < turned
    assert not {name for name in turned if "stage2" in name or "stage3" in name}


def test_features_that_lie_close_together_keep_their_differences():
    model = toy_model("mscm").eval()
    unsettle(model)
    with torch.no_grad():
        model.backbone.trunk["stage4"][0].downsample[1].bias += 100  # all images alike, but for little
    x = torch.randn(16, 3, *model.image_size, generator=torch.Generator().manual_seed(5))
    exact = features(inference_copy(model), torch.float32, x)
    error = {}
    for mixed in (False, True):
        moved = features(inference_copy(model, dtype=torch.bfloat16, mixed=mixed), torch.bfloat16, x) - exact
        error[mixed] = spread(moved.numpy()) / spread(exact.numpy())
    assert error[True] < 0.6 * error[False]  # seen: 0.24 and 0.60


def test_a_branch_that_replaces_the_map_is_rounded_before_its_mean_only():
    torch.manual_seed(0)
    branch = DilatedBranch(32).eval()
    x = torch.randn(8, 32, 6, 3).bfloat16()  # rounded already: what is left is the branch's own
    with torch.inference_mode():
        exact = inference_copy(branch)(x.float())
    error = {}
    for mixed in (False, True):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            found = inference_copy(branch, dtype=torch.bfloat16, mixed=mixed)(x)
        assert found.dtype is (torch.float32 if mixed else torch.bfloat16)
        error[mixed] = float((found.float() - exact).norm() / exact.norm())
    assert error[True] < 0.6 * error[False]  # seen: 0.0010 and 0.0030, of three seeds


def test_the_test_loop_takes_it_and_the_validation_loop_does_not():
    loop = object.__new__(ReIDTestLoop)
    loop._runner, loop.fold_batch_norms, loop._copy = SimpleNamespace(model=toy_model("agw").eval()), True, None
    loop.precision = "mixed"
    assert any(isinstance(module, InFloat32) for module in loop.inference_model().modules())
    with pytest.raises(ValueError, match="needs fold_batch_norms=True"):
        ReIDTestLoop(None, {}, {}, precision="mixed", fold_batch_norms=False)
    assert "mixed" in ReIDTestLoop.precisions and "mixed" not in ReIDValLoop.precisions


def test_a_galleries_encoder_takes_it():
    model = toy_model("agw").eval()
    mixed, half = (ModelEncoder(model, precision=name) for name in ("mixed", "bfloat16"))
    assert mixed.identity != half.identity
    image = np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    assert not np.array_equal(mixed.encode([image], "visible"), half.encode([image], "visible"))


def test_a_test_in_bfloat16_warns_of_features_that_lie_close_together():
    generator = np.random.default_rng(0)
    close = np.ones(64) + 0.02 * generator.standard_normal((50, 64))
    far = generator.standard_normal((50, 64))
    rows = {name: x / np.linalg.norm(x, axis=1, keepdims=True) for name, x in dict(close=close, far=far).items()}
    assert spread(rows["close"]) == pytest.approx(0.02, rel=0.1) and spread(rows["far"]) > 0.9
    assert bfloat16_warning("feat_bn", rows["far"]) is None
    said: list[str] = []
    metrics = [SimpleNamespace(last_table=SimpleNamespace(features=rows)), SimpleNamespace(last_table=None), object()]
    loop = object.__new__(ReIDTestLoop)
    loop.evaluator = SimpleNamespace(metrics=metrics)
    loop._runner = SimpleNamespace(logger=SimpleNamespace(warning=said.append))
    loop._warn_of_close_features()
    assert len(said) == 1 and said[0].startswith("close in bfloat16: unit features lie 0.02") and "mixed" in said[0]
