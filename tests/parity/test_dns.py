"""DNS from its released checkpoint's layout, against every number of its released implementation."""

from __future__ import annotations

import numpy as np
import pytest
import recipes
import torch
from mmengine.config import Config
from torch.nn import functional as F

from mscmreid.engine.optimizers.optim_wrapper_constructor import parameter_groups
from mscmreid.models.losses.distances import squared_self_distances
from mscmreid.models.losses.mmd import mmd
from mscmreid.models.losses.teacher import teacher_distillation
from mscmreid.models.official import convert, official_name
from mscmreid.registry import MODELS
from mscmreid.structures import Rows

SIZE = (288, 144)
LOSSES = ("loss_ce", "loss_circle", "loss_da", "loss_dd")
CLASSIFIERS = ("visible.weight", "infrared.weight", "teacher_visible", "teacher_infrared")


def build(repo_root, name: str):
    """The network of a config, without what it does to images; CSS without dropout, as the golden numbers were made."""
    cfg = Config.fromfile(repo_root / "configs" / name)
    cfg.model.pop("data_preprocessor")
    cfg.model.backbone.update(image_size=SIZE, init_cfg=None)
    cfg.model.backbone.plugins.css.dropout = 0.0
    return MODELS.build(cfg.model), cfg


def released_state(keys: dict) -> dict:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in recipes.fill(keys).items()}


@pytest.fixture(scope="module")
def reference(golden) -> dict:
    return golden("dns_forward.npz")


@pytest.fixture(scope="module")
def model_and_config(golden, repo_root):
    model, cfg = build(repo_root, "dns_sysu.py")
    layout = golden("dns_checkpoint_layout.json")
    result = convert(released_state(layout["keys"]), model.state_dict())
    assert set(result.left_out.values()) == {"the shared network's own stages 1 and 2 are never run"}
    model.load_state_dict(result.state_dict)
    return model, cfg


@pytest.fixture(scope="module")
def evaluation(model_and_config) -> dict:
    model = model_and_config[0].eval()
    found = {}
    for modality, seed in (("visible", 11), ("infrared", 12)):
        x = torch.from_numpy(recipes.images(seed, 2, *SIZE))
        features, mirrored = model.extract_features(x, modality), model.extract_features(x.flip(3), modality)
        found |= {f"{modality}_pool": features["feat_pool"], f"{modality}_bn": features["feat_bn"]}
        found[f"{modality}_bn_tta"] = features["feat_bn"] + mirrored["feat_bn"]  # inference.flip of the config: 'add'
    return found


def loss_terms(outputs: dict, dd, label, modality) -> list[float]:
    """The four MMDs, then KL and both cross entropies of f and of the shifted feature."""
    spaces = torch.cat([F.normalize(outputs[name], dim=1) for name in ("feat_pool", "feat_shifted")])
    distances = squared_self_distances(spaces)
    plain = torch.arange(len(spaces)) < len(label)
    groups = {(s, m): (plain == s) & (modality.repeat(2) == m) for s in (True, False) for m in (0, 1)}
    pairs = [((True, 0), (True, 1)), ((False, 0), (False, 1)), ((True, 0), (False, 0)), ((True, 1), (False, 1))]
    terms = [mmd(distances, groups[a], groups[b]) for a, b in pairs]
    for name in ("feat_bn", "feat_shifted"):
        own, other = dd.logits(outputs[name], modality)
        terms.append(teacher_distillation(own, other, label, modality, ce_weight=0.0))
        terms += [F.cross_entropy(own[modality == m], label[modality == m]) for m in (0, 1)]
    return [term.item() for term in terms]


@pytest.fixture(scope="module")
def training(model_and_config, evaluation) -> dict:
    """Three steps of the released optimizer; of the first one everything that was recorded."""
    model, cfg = model_and_config
    model.train()
    inputs = {
        "visible": torch.from_numpy(recipes.images(200, 4, *SIZE)),
        "infrared": torch.from_numpy(recipes.images(202, 4, *SIZE)),
    }
    label = torch.tensor([3, 3, 7, 7])
    rows = Rows.cat([Rows.make(label, name, i, torch.arange(4) + 4 * i) for i, name in enumerate(inputs)])
    dd, backbone = model.head.losses["dd"], model.backbone
    groups = parameter_groups(model, 1e-3, 5e-4, cfg.optim_wrapper.paramwise_cfg)
    optimizer = torch.optim.SGD(groups, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)
    r = torch.from_numpy(np.random.RandomState(77).normal(0, 1, 2048))

    def projections() -> np.ndarray:
        state = dd.state_dict()
        return np.stack([(state[name].double() @ r).numpy() for name in CLASSIFIERS])

    maps: dict[str, np.ndarray] = {}

    def keep(name: str, incoming: bool = False):
        def hook(_, given, made):
            made = made[0] if isinstance(made, tuple) else made
            maps[f"{name}_row0_ch0_7"] = (given[0] if incoming else made)[0, :8].detach().numpy().copy()

        return hook

    points = [(backbone.streams[m]["stage2"][-1], f"{m}_stage2", False) for m in inputs]
    for stage in (3, 4):
        plugin = backbone.plugins["hss"][f"stage{stage}"]
        points += [(plugin, f"hss{stage}_in", True), (plugin, f"hss{stage}_out", False)]
    hooks = [module.register_forward_hook(keep(name, incoming)) for module, name, incoming in points]

    out: dict = dict(losses=[], terms=[], projections=[projections()])
    for step in range(3):
        outputs, new_rows = model(inputs, rows, mode="tensor")
        losses = model.head.loss(outputs, new_rows)
        assert {name for name in losses if name.startswith("loss")} == set(LOSSES)
        total = sum(losses[name] for name in LOSSES)
        values = [losses[name].item() for name in LOSSES]
        values[2] /= 0.2  # recorded without its weight
        out["losses"].append([*values, total.item()])
        out["terms"].append(loss_terms(outputs, dd, new_rows.label, new_rows.modality))
        optimizer.zero_grad()
        total.backward()
        if step == 0:
            logits = {name: dd.logits(outputs[name], new_rows.modality) for name in ("feat_bn", "feat_shifted")}
            first = dict(
                pool=outputs["feat_pool"],
                gap=outputs["map"].mean((2, 3)),
                shifted=outputs["feat_shifted"],
                bn=outputs["feat_bn"],
                logits=model.head(outputs)["logits"],
                own_logits=logits["feat_bn"][0],
                own_logits_shifted=logits["feat_shifted"][0],
                other_logits=logits["feat_bn"][1],
                other_logits_shifted=logits["feat_shifted"][1],
            )
            out["first"] = {name: value.detach().numpy() for name, value in first.items()} | maps
            out["grads"] = {n: p.grad.double().norm().item() for n, p in model.named_parameters() if p.grad is not None}
            out["without_grad"] = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
            for hook in hooks:
                hook.remove()
        optimizer.step()
        out["projections"].append(projections())
    out["state"] = {n: v.double().norm().item() for n, v in model.state_dict().items() if v.is_floating_point()}
    return out


@pytest.mark.parametrize("modality", ["visible", "infrared"])
@pytest.mark.parametrize("feature", ["pool", "bn", "bn_tta"])
def test_evaluation_features_equal_the_released_ones(evaluation, reference, deviation, modality, feature):
    found, expected = evaluation[f"{modality}_{feature}"].numpy(), reference[f"eval_{modality}_{feature}"]
    assert deviation(f"dns, evaluation: {feature}", found, expected) < 1e-4


def test_the_first_step_computes_the_released_maps_features_and_logits(training, reference, deviation):
    others = ("losses", "terms")
    names = [n.removeprefix("train_") for n in reference if n.startswith("train_") and not n.endswith(others)]
    assert set(names) == set(training["first"])
    for name in names:
        kind = "maps" if "row0" in name else "features and logits"
        assert deviation(f"dns, first step: {kind}", training["first"][name], reference[f"train_{name}"]) < 1e-4, name


def test_losses_of_three_steps_equal_the_released_ones(training, reference, deviation):
    for step, (found, expected) in enumerate(zip(training["losses"], reference["train_losses"], strict=True)):
        for i, name in enumerate((*LOSSES, "total")):
            when, limit = ("step 1", 1e-4) if step == 0 else ("steps 2 and 3", 1e-2)
            assert deviation(f"dns, {name}: {when}", found[i], expected[i]) < limit


def test_terms_of_the_losses_equal_the_released_ones(training, reference, deviation):
    for step, (found, expected) in enumerate(zip(training["terms"], reference["train_terms"], strict=True)):
        when, limit = ("step 1", 1e-4) if step == 0 else ("steps 2 and 3", 1e-2)
        for value, golden_value in zip(found, expected, strict=True):
            assert deviation(f"dns, loss terms: {when}", value, golden_value) < limit


def test_classifiers_and_teachers_go_the_released_way(training, reference, deviation):
    expected = reference["classifier_projections"]
    assert deviation("dns, classifiers and teachers", np.stack(training["projections"]), expected) < 1e-4
    fresh, after = expected[0][2:], expected[1][2:]
    assert np.abs(fresh - after).max() > 0.1 * np.abs(fresh).max()  # so the teachers do move


def test_gradient_norms_equal_the_released_ones(training, golden, deviation):
    expected = golden("dns_train_norms.json")["grad_norms_step0"]
    found = {official_name(n, training["state"]): value for n, value in training["grads"].items()}
    assert training["without_grad"] == []
    assert {name for name, value in expected.items() if value is not None} == set(found)
    largest = max(value for value in expected.values() if value is not None)
    compared = {n: value for n, value in expected.items() if value is not None and value > 1e-3 * largest}
    assert len(compared) > 50
    for name, value in compared.items():
        assert deviation("dns, gradient norms", found[name], value) < 1e-2, name


def test_state_norms_after_three_steps_equal_the_released_ones(training, golden, deviation):
    expected = golden("dns_train_norms.json")["state_norms_after_3_steps"]
    for name, value in training["state"].items():
        theirs = expected[official_name(name, training["state"])]
        assert deviation("dns, state norms", value, theirs) < 1e-3, name


def test_numbers_of_parameters_are_the_released_ones(model_and_config):
    model = model_and_config[0]

    def count(part) -> int:
        return sum(p.numel() for p in part.parameters() if p.requires_grad)

    backbone = model.backbone
    assert [count(stream) for stream in backbone.streams.values()] == [1_444_928] * 2
    assert [count(stage) for stage in backbone.trunk.values()] == [7_098_368, 14_964_736]
    assert [count(p) for p in backbone.plugins["hss"].values()] == [98_368, 393_344]
    assert count(backbone.plugins["css"]) == 33_568_768
    assert count(model) == 59_017_536 + 6144 * 395


def test_a_checkpoint_in_the_released_layout_of_206_people_gives_unit_features(golden, repo_root):
    keys = golden("dns_checkpoint_layout.json")["keys"]
    keys = {name: [206, *shape[1:]] if "classifier" in name else shape for name, shape in keys.items()}
    model, _ = build(repo_root, "dns_regdb.py")
    model.load_state_dict(convert(released_state(keys), model.state_dict()).state_dict)
    model.eval()
    for modality in ("visible", "infrared"):
        features = model.extract_features(torch.from_numpy(recipes.images(5, 2, *SIZE)), modality)
        for feature in features.values():
            torch.testing.assert_close(feature.norm(dim=1), torch.ones(2))
