"""Every system, from its official checkpoint's layout, against the numbers of its released implementation."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import recipes
import torch
from mmengine.config import Config

import mscmreid.registry
from mscmreid.apis import init_model
from mscmreid.models.official import official_name
from mscmreid.structures import Rows

MSCM_STREAMS = (
    ("visible_1", "visible", 100),
    ("visible_2", "visible", 101),
    ("infrared_1", "infrared", 102),
    ("infrared_2", "infrared", 103),
)
PEER_STREAMS = (("visible", "visible", 200), ("infrared", "infrared", 202))
CAJ_STREAMS = (("visible", "visible", 200), ("visible", "visible", 201), ("infrared", "infrared", 202))


@dataclass(frozen=True)
class Case:
    name: str
    system: str
    config: str
    layout: str
    forward: str
    eval_prefix: str
    train_prefix: str
    streams: tuple
    losses: tuple

    def __str__(self) -> str:
        return self.name


CE, TRIPLET = "loss_ce", "loss_triplet"
DEEN_LOSSES = (CE, TRIPLET, "loss_cpm", "loss_orthogonality")
PEERS = "agw_caj_forward.npz"
CASES = [
    Case("mscm", "mscm", "mscm_sysu.py", "mscm", "mscm_forward.npz", "", "", MSCM_STREAMS, (CE, "loss_qct")),
    Case("agw", "agw", "agw_sysu.py", "agw", PEERS, "", "agw_", PEER_STREAMS, (CE, "loss_wrt")),
    Case("caj", "caj", "caj_sysu.py", "agw", PEERS, "", "caj_", CAJ_STREAMS, (CE, "loss_esd")),
    Case(
        "deen_sysu",
        "deen",
        "deen_sysu.py",
        "deen_sysu",
        "deen_forward.npz",
        "sysu_",
        "sysu_",
        PEER_STREAMS,
        DEEN_LOSSES,
    ),
    Case(
        "deen_regdb",
        "deen",
        "deen_regdb.py",
        "deen_regdb",
        "deen_forward.npz",
        "regdb_",
        "regdb_",
        PEER_STREAMS,
        DEEN_LOSSES,
    ),
]


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request) -> Case:
    return request.param


@pytest.fixture(scope="module")
def reference(case, golden) -> dict:
    return golden(case.forward)


@pytest.fixture(scope="module")
def model(case, golden, repo_root, tmp_path_factory):
    """Our model from the converted checkpoint, by the commands a user types."""
    folder = tmp_path_factory.mktemp(case.name)
    state = recipes.fill(golden(f"{case.layout}_checkpoint_layout.json")["keys"])
    net = {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}
    torch.save(
        dict(net=net, cmc=np.zeros(20, np.float32), mAP=np.float64(0.5), mINP=np.float64(0.4), epoch=7),
        folder / "official.t",
    )
    tool = repo_root / "tools/model_converters/official_to_mscmreid.py"
    command = [sys.executable, tool, folder / "official.t", folder / "ours.pth", "--system", case.system]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stdout
    (folder / "official.t").unlink()
    cfg = Config.fromfile(repo_root / "configs" / case.config)
    if "dee" in cfg.model.backbone.plugins:
        cfg.model.backbone.plugins.dee.dropout = 0.0  # the golden numbers were made without it
    return init_model(cfg, str(folder / "ours.pth"), device="cpu")


@pytest.fixture(scope="module")
def evaluation(case, model) -> dict:
    height, width = model.image_size
    out = {}
    for modality, seed in (("visible", 11), ("infrared", 12)):
        out[modality] = model.eval().extract_features(
            torch.from_numpy(recipes.images(seed, 2, height, width)), modality
        )
    return out


@pytest.fixture(scope="module")
def training(case, model, evaluation) -> dict:
    """Three steps: features and logits of the first, losses of all, gradient norms, norms of the state at the end."""
    height, width = model.image_size
    inputs: dict[str, torch.Tensor] = {}
    for stem, _, seed in case.streams:
        x = torch.from_numpy(recipes.images(seed, 4, height, width))
        inputs[stem] = torch.cat([inputs[stem], x]) if stem in inputs else x
    label = torch.tensor([3, 3, 7, 7])
    rows = Rows.cat(
        [
            Rows.make(label, modality, stream, torch.arange(4) + (4 if modality == "infrared" else 0))
            for stream, (_, modality, _) in enumerate(case.streams)
        ]
    )
    model.train()
    slow = [p for n, p in model.named_parameters() if n.startswith("backbone.")]
    quick = [p for n, p in model.named_parameters() if not n.startswith("backbone.")]
    groups = [dict(params=slow, lr=1e-4), dict(params=quick, lr=1e-3)]
    optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=5e-4)
    out: dict = dict(losses=[])
    for step in range(3):
        outputs, new_rows = model(inputs, rows, mode="tensor")
        losses = model.head.loss(outputs, new_rows)
        out["losses"].append([float(losses[name].detach()) for name in case.losses])
        assert {n for n in losses if n.startswith("loss")} == set(case.losses)
        optimizer.zero_grad()
        sum(losses[name] for name in case.losses).backward()
        if step == 0:
            out["pool"] = outputs["feat_pool"].detach().numpy()
            out["logits"] = model.head(outputs)["logits"].detach().numpy()
            out["grads"] = {n: p.grad.norm().item() for n, p in model.named_parameters() if p.grad is not None}
            out["without_grad"] = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
    out["state"] = {n: v.float().norm().item() for n, v in model.state_dict().items() if v.is_floating_point()}
    return out


@pytest.mark.parametrize("modality", ["visible", "infrared"])
@pytest.mark.parametrize("feature", ["pool", "bn"])
def test_evaluation_features_equal_the_released_ones(case, evaluation, reference, deviation, modality, feature):
    expected = reference[f"{case.eval_prefix}eval_{modality}_{feature}"]  # rows: branch by branch
    num_branches = len(expected) // 2
    found = evaluation[modality][f"feat_{feature}"] * num_branches**0.5
    found = torch.cat(found.chunk(num_branches, dim=1)).numpy()
    assert deviation(f"{case} {modality} feat_{feature}", found, expected) < 1e-4


def test_first_step_features_and_logits_equal_the_released_ones(case, training, reference, deviation):
    assert deviation(f"{case} training feat_pool", training["pool"], reference[f"{case.train_prefix}train_pool"]) < 1e-4
    assert (
        deviation(f"{case} training logits", training["logits"], reference[f"{case.train_prefix}train_logits"]) < 1e-4
    )


def test_losses_of_three_steps_equal_the_released_ones(case, training, reference, deviation):
    expected = reference[f"{case.train_prefix}train_losses"]
    for i, name in enumerate(case.losses):
        found = [losses[i] for losses in training["losses"]]
        assert deviation(f"{case} {name}, step 1", found[0], expected[0][i]) < 1e-4
        for step in (1, 2):
            assert deviation(f"{case} {name}, steps 2 and 3", found[step], expected[step][i]) < 1e-2


def test_gradient_norms_equal_the_released_ones(case, training, golden, deviation):
    if case.name == "mscm":
        expected = golden("mscm_train_norms.json")["grad_norms_step0"]
    else:
        expected = golden("peers_grad_norms.json")[case.name]
    found = {official_name(n, training["state"]): value for n, value in training["grads"].items()}
    largest = max(expected.values())
    compared = {n: value for n, value in expected.items() if value > 1e-3 * largest}
    assert len(compared) > 50
    assert set(compared) <= set(found), f"no gradient for {sorted(set(compared) - set(found))[:5]}"
    for name, value in compared.items():
        assert deviation(f"{case} gradient norms", found[name], value) < 1e-2, name


def test_every_trainable_parameter_gets_a_gradient(training):
    assert training["without_grad"] == []


def test_state_norms_after_three_steps_equal_the_released_ones(case, training, golden, deviation):
    if case.name != "mscm":
        pytest.skip("no state norms were recorded for this system")
    expected = golden("mscm_train_norms.json")
    expected = expected[next(k for k in expected if k != "grad_norms_step0")]
    for name, value in training["state"].items():
        theirs = expected[official_name(name, training["state"])]
        if theirs:
            assert deviation(f"{case} state norms after 3 steps", value, theirs) < 1e-3, name


def test_mscmnet_has_the_published_number_of_used_parameters(repo_root):
    cfg = Config.fromfile(repo_root / "configs/mscm_sysu.py").model
    with torch.device("meta"):
        model = mscmreid.registry.MODELS.build(cfg)
    assert sum(p.numel() for p in model.parameters()) == 42_855_488
