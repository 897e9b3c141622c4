"""Weights of other people: every flip is found where there is a checksum; where there is none, that is said."""

import warnings

import numpy as np
import pytest
import torch

from mscmreid.gate import DamagedFileError
from mscmreid.models.backbones.pretrained import load_imagenet_state
from mscmreid.models.official import read_official

STATE = {"classifier.weight": torch.arange(600.0).reshape(2, 300) / 300, "conv1.weight": torch.ones(4, 3, 2, 2)}
READERS = dict(
    released=(read_official, dict(net=STATE, mAP=0.5)),
    imagenet=(lambda path: load_imagenet_state(str(path)), STATE),
)


def flips(content: bytes, num: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    found = []
    for position in rng.integers(0, len(content), num):
        changed = bytearray(content)
        changed[position] ^= 1 << rng.integers(8)
        found.append(bytes(changed))
    return found


def same(one, two) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", READERS)
def test_every_flip_is_harmless_or_named(kind, tmp_path):
    read, content = READERS[kind]
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    whole = path.read_bytes()
    assert same(read(path), STATE)
    num_named = 0
    for changed in flips(whole, 150):
        path.write_bytes(changed)
        try:
            assert same(read(path), STATE)
        except DamagedFileError as error:
            assert "weights.pth" in str(error)
            num_named += 1
    assert num_named > 100


@pytest.mark.parametrize("kind", READERS)
def test_torchs_old_format_is_warned_of_and_its_weights_are_finite(kind, tmp_path):
    read, content = READERS[kind]
    path = tmp_path / "old.pth"
    torch.save(content, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    with pytest.warns(UserWarning, match="no checksums"):
        assert same(read(path), STATE)
    for changed in flips(whole, 60):
        path.write_bytes(changed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                state = read(path)
            except ValueError as error:
                assert "old.pth" in str(error)
                continue
        assert any("no checksums" in str(warning.message) for warning in told)
        assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("value", ["int8", "bool", "nan"])
def test_weights_that_are_none_are_refused(kind, value, tmp_path):
    weight = torch.ones(2, 300)
    weight = weight * torch.nan if value == "nan" else weight.to(getattr(torch, value))
    read, content = READERS[kind]
    path = tmp_path / "weights.pth"
    state = dict(STATE, **{"classifier.weight": weight})
    torch.save(dict(content, net=state) if "net" in content else state, path)
    with pytest.raises(DamagedFileError, match=r"weights\.pth: its weights cannot be used: classifier\.weight"):
        read(path)


def test_a_name_with_and_without_module_is_refused(tmp_path):
    torch.save(dict(net={**STATE, "module.classifier.weight": torch.ones(2, 300)}), tmp_path / "x.t")
    with pytest.raises(DamagedFileError, match=r"x\.t: module\.classifier\.weight and the same without 'module\.'"):
        read_official(tmp_path / "x.t")
