"""PMT against the numbers of its released implementation: losses, views, schedule, network."""

from __future__ import annotations

import numpy as np
import pmt_recipes
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mscmreid.apis import load_config
from mscmreid.engine import CosineToFloorLR
from mscmreid.engine.optimizers.optim_wrapper_constructor import parameter_groups
from mscmreid.models import BNNeck, CrossModalReID, VisionTransformer
from mscmreid.models.losses import BatchHardTripletLoss, DiscriminativeCenter, ModalitySharedEnhancement
from mscmreid.models.official import convert, official_name, read_official
from mscmreid.models.views.distort import contrast, gaussian_blur
from mscmreid.models.views.intensity import brightness, grayscale
from mscmreid.registry import MODELS
from mscmreid.structures import Rows

LOSSES = dict(
    triplet_intra=BatchHardTripletLoss(0.1, within_modality=True),
    triplet_joint=BatchHardTripletLoss(0.1),
    msel=ModalitySharedEnhancement(),
    dcl=DiscriminativeCenter(),
)


@pytest.mark.parametrize("case", ["c0", "c1", "c2", "c3"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_equal_the_released_ones(golden, deviation, case, name):
    expected = golden("pmt_losses.json")["cases"][case]
    options = [expected[key] for key in ("P", "K", "dim", "scale", "spread", "shift", "seed")]
    x, label = (torch.from_numpy(value) for value in pmt_recipes.loss_features(*options))
    x.requires_grad_()
    modality = torch.arange(2).repeat_interleave(len(x) // 2)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))  # the order of the rows says nothing
    values = dict(feat_pool=x, label=label, modality=modality)
    loss = LOSSES[name](*[values[key][order] for key in LOSSES[name].reads])
    loss.backward()
    assert deviation(f"pmt, {name}", loss.item(), expected["losses"][name]) < 1e-4
    norms = golden("pmt_losses_grads.npz")[f"{case}_{name}"]
    assert deviation(f"pmt, {name}: gradients", x.grad.norm(dim=1).numpy(), norms) < 1e-4


def test_pixels_equal_the_released_ones(golden):
    views = golden("pmt_views.npz")
    x = torch.from_numpy(pmt_recipes.pixels(7, 48, 40)).permute(2, 0, 1)[None]
    steps = dict(brightness=brightness, contrast=contrast)
    for name, expected in views.items():
        if name.startswith("rect"):
            continue
        found, limit = x, 0
        if name == "gray":
            found = grayscale(x.clone())
        elif name.startswith("blur"):
            found, limit = gaussian_blur(x, torch.tensor([float(name.split("_")[1])]), 10), 1
        else:
            for part in name.split("_then_"):
                op, factor = part.split("_")
                found = steps[op](found.clone(), torch.tensor([float(factor)]))
        gap = np.abs(found[0].permute(1, 2, 0).numpy().astype(int) - expected.astype(int))
        assert gap.max() <= limit and (gap > 0).mean() < 1e-3, name


@pytest.mark.parametrize(("name", "epochs"), [("sysu", 24), ("regdb", 36)])
def test_learning_rates_equal_the_released_ones(golden, name, epochs):
    expected = golden("pmt_lr_schedules.json")[f"{name}_epoch_lr_[blocks_and_patch_embed,rest]"]
    groups = [dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in (1.5e-4, 3e-4)]
    optimizer = torch.optim.AdamW(groups)
    scheduler = CosineToFloorLR(optimizer, end=epochs)
    found = []
    for _ in range(epochs):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def tensors(state: dict) -> dict:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}


def pmt(num_classes: int = 395) -> CrossModalReID:
    return CrossModalReID(
        backbone=dict(type="VisionTransformer", dropout=0.0, drop_path=0.0),
        neck=dict(type="BNNeck", pool=dict(type="ClassToken"), weight_std=0.0),
        head=dict(type="ReIDHead", num_classes=num_classes),
    ).eval()


@pytest.mark.parametrize("small", [False, True])
def test_evaluation_features_equal_the_released_ones(golden, deviation, small):
    model, reference = pmt(), golden("pmt_forward.npz")
    state = pmt_recipes.weights(golden("pmt_checkpoint_layout.json")["keys"])
    state = pmt_recipes.small_tokens(state) if small else state
    result = convert(tensors(state), model.state_dict())
    assert not result.left_out
    model.load_state_dict(result.state_dict)
    for modality, images in zip(("visible", "infrared"), pmt_recipes.eval_images(), strict=True):
        if small and modality == "infrared":
            continue
        with torch.no_grad():
            rows = Rows.make(torch.arange(2), modality, 0, torch.arange(2))
            tokens = model.backbone({modality: torch.from_numpy(images)}, rows)[0]
            outputs = model.neck(tokens, None)
        kind = f"{modality}_small_cls" if small else f"{modality}_cls"
        assert deviation("pmt, evaluation: class token", outputs["feat_pool"], reference[f"eval_{kind}"]) < 1e-4
        if not small:
            unit = nn.functional.normalize(outputs["feat_bn"])
            assert deviation("pmt, evaluation: feature", unit, reference[f"eval_{modality}_bn"]) < 1e-4


def test_imagenet_positions_are_resized_as_released(golden, deviation):
    backbone = VisionTransformer()
    state = tensors(pmt_recipes.weights(pmt_recipes.imagenet_keys()))
    backbone.load_imagenet(state, "recipe")
    found = backbone.position[0, :, :64].detach()
    assert deviation("pmt, positions", found, golden("pmt_forward.npz")["pretrained_pos_embed_64"]) < 1e-4
    assert torch.equal(backbone.layers[3].attention.in_proj_weight, state["blocks.3.attn.qkv.weight"])
    with pytest.raises(ValueError, match="unknown"):
        backbone.load_imagenet(state | {"more": torch.ones(1)}, "recipe")
    del state["norm.bias"]
    with pytest.raises(ValueError, match="missing"):
        backbone.load_imagenet(state, "recipe")


def test_parameters_are_as_many_as_released():
    model = pmt()
    assert isinstance(model.neck, BNNeck)
    assert sum(p.numel() for p in model.backbone.parameters()) == 85_809_408
    assert sum(p.numel() for p in model.parameters()) == 86_114_304


def stage_steps(golden, repo_root, stage: int) -> dict:
    """Three steps of a stage as the config has it, at the golden learning rates."""
    cfg = Config.fromfile(repo_root / "configs" / "pmt_sysu.py")
    cfg.model.pop("data_preprocessor")
    cfg.model.backbone.update(init_cfg=None, dropout=0.0, drop_path=0.0)
    model = MODELS.build(cfg.model).train()
    state = tensors(pmt_recipes.weights(golden("pmt_checkpoint_layout.json")["keys"]))
    model.load_state_dict(convert(state, model.state_dict()).state_dict)
    epoch = 0 if stage == 1 else 6
    model.set_iteration(0, epoch)
    groups = parameter_groups(model, 3e-5, 1e-4, cfg.optim_wrapper.paramwise_cfg)
    optimizer = torch.optim.AdamW(groups, lr=3e-5, weight_decay=1e-4)
    scheduler = CosineToFloorLR(optimizer, end=24, floor=3e-7)  # it scales with the base rate there
    for _ in range(epoch):
        scheduler.step()
    images = dict(zip(("visible", "infrared"), map(torch.from_numpy, pmt_recipes.train_images()), strict=True))
    label = torch.tensor(pmt_recipes.LABELS)
    rows = Rows.cat([Rows.make(label, name, i, torch.arange(6) + 6 * i) for i, name in enumerate(images)])
    out: dict = dict(losses=[])
    for step in range(3):
        outputs, new_rows = model(images, rows, mode="tensor")
        losses = model.head.loss(outputs, new_rows)
        total = sum(value for name, value in losses.items() if name.startswith("loss"))
        found = [losses["loss_ce"].item()]
        if stage == 1:
            found.append(losses["loss_intra"].item())
        else:
            found += [2 * losses[f"loss_{name}"].item() for name in ("dcl", "msel")] + [losses["loss_triplet"].item()]
        out["losses"].append([*found, total.item()])
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            out["feats"] = outputs["feat_pool"].detach()
            out["logits"] = model.head(outputs)["logits"].detach()
            grads = {n: p.grad.double().norm().item() for n, p in model.named_parameters() if p.grad is not None}
        optimizer.step()
    names = model.state_dict()
    out["grads"] = {official_name(n, names): value for n, value in grads.items()}
    out["after"] = {
        official_name(n, names): v.double().norm().item() for n, v in names.items() if v.is_floating_point()
    }
    return out


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_three_steps_of_a_stage_equal_the_released_ones(golden, repo_root, deviation, stage):
    found, reference, norms = (
        stage_steps(golden, repo_root, stage),
        golden("pmt_forward.npz"),
        golden("pmt_train_norms.json"),
    )
    assert deviation("pmt, first step: features", found["feats"], reference["train_feats"]) < 1e-4
    assert deviation("pmt, first step: logits", found["logits"], reference["train_logits"]) < 1e-4
    for step, expected in enumerate(reference[f"stage{stage}_losses"]):
        sums = [
            expected[0] + expected[1],
            *([expected[2] + expected[3]] if stage == 1 else expected[2:5]),
            expected[-1],
        ]
        when, limit = ("step 1", 1e-4) if step == 0 else ("steps 2 and 3", 1e-2)
        for value, of_release in zip(found["losses"][step], sums, strict=True):
            assert deviation(f"pmt, losses: {when}", value, of_release) < limit
    grads = norms[f"stage{stage}_grad"]
    assert set(grads) == set(found["grads"])
    for name in (n for n, value in grads.items() if value > 1e-3 * max(grads.values())):
        assert deviation("pmt, gradient norms", found["grads"][name], grads[name]) < 1e-2, name
    for name, value in norms[f"stage{stage}_after"].items():
        assert deviation("pmt, state norms", found["after"][name], value) < 1e-3, name


def test_a_checkpoint_in_the_released_layout_of_206_people_gives_unit_features(golden, repo_root, tmp_path):
    keys = golden("pmt_checkpoint_layout.json")["keys"]
    keys = {name: [206, *shape[1:]] if name == "classifier.weight" else shape for name, shape in keys.items()}
    torch.save(tensors(pmt_recipes.weights(keys)), tmp_path / "pmt.pth")
    cfg = load_config(repo_root / "configs" / "pmt_regdb.py", {"model.backbone.init_cfg": None})
    model = MODELS.build(cfg.model).eval()
    model.load_state_dict(convert(read_official(tmp_path / "pmt.pth"), model.state_dict()).state_dict)
    for modality, images in zip(("visible", "infrared"), pmt_recipes.eval_images(), strict=True):
        for feature in model.extract_features(torch.from_numpy(images), modality).values():
            torch.testing.assert_close(feature.norm(dim=1), torch.ones(2))
