"""Damaged and odd weights: checkpoints, torch's old format, released checkpoints, ImageNet files."""

import copy
import sys
import warnings
from pathlib import Path

import pytest
import torch
from fuzzing import ODD, cases, changed_bytes, changed_tree, outcome
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from test_resume_states import trained

from mscmreid.engine.runner import checkpoint as ckpt
from mscmreid.engine.runner.resume_state import check_optimizer_fits, check_resume_state
from mscmreid.models.backbones.pretrained import load_imagenet_state
from mscmreid.models.official import read_official
from mscmreid.torch_files import tree_digest


def content_of(save, *args) -> bytes:
    """The bytes of a file that ``save(*args, path)`` writes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "f.pth")
        save(*args, path)
        return path.read_bytes()


def save_old(content, path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


OPTIMIZER, STATE = trained()
WHOLE = tree_digest(STATE)
WRITTEN = content_of(ckpt.write_checkpoint, STATE)
WEIGHTS = dict(STATE["state_dict"], **{"classifier.weight": torch.ones(2, 3), "conv1.weight": torch.ones(2, 3, 1, 1)})
RELEASED = content_of(torch.save, dict(net=WEIGHTS, mAP=0.5))
IMAGENET = content_of(torch.save, WEIGHTS)
OLD = content_of(save_old, dict(state_dict=WEIGHTS))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@cases("checkpoint_bytes")
@given(content=changed_bytes(WRITTEN))
def test_a_damaged_checkpoint_is_whole_or_named_and_passed_over(folder, content):
    path = folder / "epoch_2.pth"
    (folder / "epoch_1.pth").write_bytes(WRITTEN)
    path.write_bytes(content)
    found = outcome(lambda: ckpt.read_checkpoint(path), "epoch_2.pth")
    assert found is None or tree_digest(found) == WHOLE
    chosen, problems = ckpt.find_intact_checkpoint(folder)
    assert chosen.name == ("epoch_1.pth" if found is None else "epoch_2.pth") and bool(problems) == (found is None)


TENSORS = (torch.ones(3), torch.ones(3, 4) * torch.nan, torch.ones(3, 4).long(), torch.zeros(0), torch.tensor(1.0))


@cases("checkpoint_tree")
@given(content=changed_tree(STATE, ODD + TENSORS), digest=st.booleans())
def test_a_changed_state_is_refused_or_can_be_gone_on_from(folder, content, digest):
    """Written by another program: without our digest, or with the one that it had."""
    path = folder / "epoch_3.pth"
    if digest and isinstance(content, dict):
        content = {**content, ckpt.DIGEST: WHOLE}
    same = isinstance(content, dict) and tree_digest({k: v for k, v in content.items() if k != ckpt.DIGEST}) == WHOLE
    torch.save(content, path)
    found = outcome(lambda: ckpt.read_checkpoint(path), "epoch_3.pth")
    if found is None:
        assert not same
        return
    assert not digest or same

    def go_on():
        check_resume_state(found, path)
        ckpt.check_resumable(found, path, 0)
        check_optimizer_fits(found["optimizer"], OPTIMIZER.param_groups, path)
        state = ckpt.state_dict_of(found, path)
        model = nn.Linear(4, 3)
        ckpt.load_weights(model, state, path)
        ckpt.restored_hub(found["message_hub"])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer.load_state_dict(copy.deepcopy(found["optimizer"]))
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
        return model

    model = outcome(go_on, "epoch_3.pth")
    assert model is None or all(torch.isfinite(p).all() for p in model.parameters())


@cases("old_checkpoint")
@given(content=changed_bytes(OLD))
def test_torchs_old_format_gives_finite_weights_with_a_warning_or_is_named(folder, content):
    path = folder / "old.pth"
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        state = outcome(lambda: ckpt.state_dict_of(ckpt.read_checkpoint(path), path), "old.pth")
    if state is not None:
        assert any("no checksums" in str(warning.message) for warning in told)
        assert all(torch.isfinite(value).all() and value.is_floating_point() for value in state.values())


@cases("released")
@given(content=changed_bytes(RELEASED))
def test_a_damaged_released_checkpoint_is_whole_or_named(folder, content):
    (folder / "x.t").write_bytes(content)
    state = outcome(lambda: read_official(folder / "x.t"), "x.t")
    assert state is None or tree_digest(state) == tree_digest(WEIGHTS)


@cases("imagenet")
@given(content=changed_bytes(IMAGENET))
def test_damaged_imagenet_weights_are_whole_or_named(folder, content):
    (folder / "resnet.pth").write_bytes(content)
    state = outcome(lambda: load_imagenet_state(str(folder / "resnet.pth")), "resnet.pth")
    assert state is None or tree_digest(state) == tree_digest(WEIGHTS)
