"""Whatever is wrong with a checkpoint's state, a resumed run says so, or goes on from the one before."""

import copy
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mscmreid.engine.runner import checkpoint as ckpt
from mscmreid.engine.runner.resume_state import check_optimizer_fits, check_resume_state
from mscmreid.gate import DamagedFileError


def trained(steps: int = 3) -> tuple[torch.optim.Optimizer, dict]:
    """A small optimizer after some steps, and the checkpoint that a training would write then."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
    log = dict(values=torch.ones(steps).double(), counts=torch.ones(steps).long(), max_length=100)
    info = dict(epoch=1, iter=steps, keep_ckpt_ids=[1], last_ckpt_epoch=1, best_score=0.5, best_ckpt="w/best_R1.pth")
    return optimizer, dict(
        meta=dict(epoch=1, iter=steps, seed=0, dataset_meta=dict(dataset_name="Own"), size=(2, 3)),
        state_dict={k: v.detach() for k, v in model.state_dict().items()},
        message_hub=dict(log_scalars={"train/loss": log}, runtime_info=info, resumed_keys={"train/loss": True}),
        optimizer=optimizer.state_dict(),
        param_schedulers=[dict(last_step=1, _global_step=2)],
    )


ALTERED: dict[str, Callable[[dict], object]] = dict(
    emptied_optimizer=lambda c: c["optimizer"]["state"].clear(),
    no_groups=lambda c: c["optimizer"]["param_groups"].clear(),
    group_is_text=lambda c: c["optimizer"].update(param_groups=["x"]),
    no_params=lambda c: c["optimizer"]["param_groups"][0].pop("params"),
    params_twice=lambda c: c["optimizer"]["param_groups"][0].update(params=[0, 0]),
    params_are_names=lambda c: c["optimizer"]["param_groups"][0].update(params=["a", "b"]),
    rate_is_nan=lambda c: c["optimizer"]["param_groups"][0].update(lr=float("nan")),
    rate_is_negative=lambda c: c["optimizer"]["param_groups"][0].update(lr=-1.0),
    rate_is_text=lambda c: c["optimizer"]["param_groups"][0].update(lr="0.1"),
    no_rate=lambda c: c["optimizer"]["param_groups"][0].pop("lr"),
    rate_is_huge=lambda c: c["optimizer"]["param_groups"][0].update(lr=10**30),
    momentum_is_infinite=lambda c: c["optimizer"]["param_groups"][0].update(momentum=float("inf")),
    state_of_nobody=lambda c: c["optimizer"]["state"].update({99: {}}),
    state_is_a_list=lambda c: c["optimizer"].update(state=[]),
    state_lacks_a_part=lambda c: c["optimizer"]["state"].update({0: {}}),
    momentum_is_nan=lambda c: c["optimizer"]["state"][0]["momentum_buffer"].fill_(float("nan")),
    momentum_is_whole=lambda c: c["optimizer"]["state"][0].update(momentum_buffer=torch.ones(3, 4).long()),
    momentum_is_a_number=lambda c: c["optimizer"]["state"][0].update(momentum_buffer=0),
    momentum_is_gone=lambda c: c["optimizer"]["state"][0].update(momentum_buffer=None),
    momentum_is_text=lambda c: c["optimizer"]["state"][0].update(momentum_buffer="x"),
    optimizer_is_none=lambda c: c.update(optimizer=None),
    epoch_is_text=lambda c: c["meta"].update(epoch="1"),
    epoch_is_negative=lambda c: c["meta"].update(epoch=-1),
    epoch_is_a_float=lambda c: c["meta"].update(epoch=1.5),
    epoch_is_huge=lambda c: c["meta"].update(epoch=10**30, iter=10**31),
    epoch_over_iter=lambda c: c["meta"].update(epoch=9),
    iter_is_true=lambda c: c["meta"].update(iter=True),
    meta_is_a_list=lambda c: c.update(meta=[]),
    data_is_text=lambda c: c["meta"].update(dataset_meta="x"),
    hub_is_none=lambda c: c.update(message_hub=None),
    hub_lacks_the_log=lambda c: c["message_hub"].pop("log_scalars"),
    log_is_text=lambda c: c["message_hub"]["log_scalars"].update({"train/loss": "x"}),
    log_of_two_lengths=lambda c: c["message_hub"]["log_scalars"]["train/loss"].update(counts=torch.ones(9).long()),
    kept_is_a_path=lambda c: c["message_hub"]["runtime_info"].update(keep_ckpt_ids=["../../x"]),
    best_is_another_file=lambda c: c["message_hub"]["runtime_info"].update(best_ckpt="w/epoch_1.pth"),
    schedules_are_none=lambda c: c.update(param_schedulers=None),
    schedule_is_text=lambda c: c.update(param_schedulers=["x"]),
    schedule_stands_nowhere=lambda c: c["param_schedulers"][0].clear(),
)


def test_a_state_as_training_leaves_it_passes():
    optimizer, state = trained()
    check_resume_state(state, "f")
    check_optimizer_fits(state["optimizer"], optimizer.param_groups, "f")
    check_resume_state(trained(0)[1] | dict(meta=dict(epoch=0, iter=0)), "f")  # nothing has been stepped yet
    adam = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    check_resume_state(dict(state, optimizer=adam.state_dict(), meta=dict(epoch=0, iter=0)), "f")
    plain = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)  # keeps nothing
    check_resume_state(dict(state, optimizer=plain.state_dict()), "f")


@pytest.mark.parametrize("name", ALTERED)
def test_every_altered_state_is_named(name):
    state = trained()[1]
    ALTERED[name](state)
    with pytest.raises(DamagedFileError, match=r"f cannot be resumed: .*load_from"):
        check_resume_state(state, "f")


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_file_is_passed_over(name, tmp_path):
    """Written by somebody else, with or without our digest."""
    state = trained()[1]
    ckpt.write_checkpoint(state, tmp_path / "epoch_1.pth")
    ckpt.write_checkpoint(state, tmp_path / "epoch_2.pth")
    content = torch.load(tmp_path / "epoch_2.pth", weights_only=True)
    ALTERED[name](content)
    torch.save(content, tmp_path / "epoch_2.pth")
    with pytest.raises(DamagedFileError, match="was changed after it was written"):
        ckpt.read_checkpoint(tmp_path / "epoch_2.pth")
    assert ckpt.find_intact_checkpoint(tmp_path)[0].name == "epoch_1.pth"
    torch.save({k: v for k, v in content.items() if k != ckpt.DIGEST}, tmp_path / "epoch_2.pth")
    path, problems = ckpt.find_intact_checkpoint(tmp_path)
    assert path.name == "epoch_1.pth" and "epoch_2.pth cannot be resumed" in problems[0]


def test_an_optimizer_of_other_parameters_is_named():
    state = trained()[1]["optimizer"]
    other = torch.optim.SGD(nn.Linear(4, 5).parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"parameter 0 has the shape \(3, 4\), the parameter \(5, 4\)"):
        check_optimizer_fits(state, other.param_groups, "f")
    same = torch.optim.SGD(nn.Linear(4, 3).parameters(), lr=0.1).param_groups
    for change in (dict(momentum_buffer=torch.tensor(1.0)), dict(momentum_buffer=1.0)):
        with pytest.raises(ValueError, match=r"momentum_buffer of parameter 0 has the shape \(\)"):
            check_optimizer_fits(dict(state, state={**state["state"], 0: change}), same, "f")
    for change in (dict(momentum=None), dict(momentum="x")):
        group = {**state["param_groups"][0], **change}
        with pytest.raises(ValueError, match="group 0 of the optimizer has momentum="):
            check_optimizer_fits(dict(state, param_groups=[group]), same, "f")
    with pytest.raises(ValueError, match="1 groups with 2 parameters, the config makes one of 1 groups with 1"):
        check_optimizer_fits(state, torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1).param_groups, "f")


def damages(content: bytes) -> dict[str, bytes | str]:
    """Contents of a damaged file, or what stands in its place."""
    rng = np.random.default_rng(0)
    directory = content.find(b"PK\1\2")
    found: dict[str, bytes | str] = {
        f"flip_{position}": content[:position]
        + bytes([content[position] ^ 1 << position % 8])
        + content[position + 1 :]
        for position in [
            *rng.integers(0, len(content), 30).tolist(),
            *rng.integers(directory, len(content), 60).tolist(),
        ]
    }
    found |= {f"cut_{share}": content[: int(len(content) * share)] for share in (0, 0.01, 0.5, 0.999)}
    found |= dict(
        text=b"no checkpoint", zeros=bytes(len(content)), code=pickle.dumps(os.getcwd), empty_zip=b"PK\5\6" + bytes(18)
    )
    return found | dict(fifo="fifo", folder="folder", dangling="dangling")


def test_resume_goes_on_from_the_one_before_whatever_the_damage(tmp_path):
    state = trained()[1]
    for epoch in (1, 2):
        ckpt.write_checkpoint(state, tmp_path / f"epoch_{epoch}.pth")
    last = tmp_path / "epoch_2.pth"
    content = last.read_bytes()
    num_passed = 0
    for name, damage in damages(content).items():
        last.unlink(missing_ok=True) if not last.is_dir() else last.rmdir()
        if isinstance(damage, bytes):
            last.write_bytes(damage)
        elif damage == "fifo":
            os.mkfifo(last)
        elif damage == "folder":
            last.mkdir()
        else:
            last.symlink_to("nowhere.pth")
        path, problems = ckpt.find_intact_checkpoint(tmp_path)
        if path == last:  # the flip has changed nothing that is read
            found = ckpt.read_checkpoint(path)
            assert name.startswith("flip") and ckpt.tree_digest(found) == ckpt.tree_digest(state), name
        else:
            num_passed += 1
            assert path.name == "epoch_1.pth" and "epoch_2.pth" in problems[0], name
    assert num_passed > 60


def test_an_entry_marked_as_a_folder_is_refused(tmp_path):
    """torch itself loads whatever the memory held before."""
    torch.save(dict(state_dict=dict(w=torch.full((50,), 3.0))), tmp_path / "a.pth")
    content = bytearray((tmp_path / "a.pth").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.pth") as archive:
        names = archive.namelist()
    start = -1
    for _ in range(names.index("a/data/0") + 1):
        start = content.find(b"PK\1\2", start + 1)
    content[start + 38] |= 0x10
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"a\.pth.*'a/data/0' is marked as no plain file"):
        ckpt.read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("change", ["int8", "bool", "complex", "nan", "infinite", "text", "both names"])
def test_weights_that_are_none_are_refused(change, tmp_path):
    state = dict(nn.Linear(3, 2).state_dict())
    if change in ("int8", "bool"):
        state["weight"] = state["weight"].to(getattr(torch, change))
    elif change == "complex":
        state["weight"] = state["weight"] + 1j
    elif change == "text":
        state["weight"] = "x"
    elif change == "both names":
        state["module.weight"] = state["weight"] + 1
    else:
        state["weight"][0, 0] = float(change[:3])
    ckpt.write_checkpoint(dict(state_dict=state), tmp_path / "a.pth")
    with pytest.raises(DamagedFileError, match=r"a\.pth.*weight"):
        ckpt.state_dict_of(ckpt.read_checkpoint(tmp_path / "a.pth"), tmp_path / "a.pth")


def test_batch_counts_are_no_weights():
    state = nn.BatchNorm1d(3).state_dict()
    assert set(ckpt.state_dict_of(dict(state_dict=state), "f")) == set(state)


def test_torchs_old_format_is_read_with_a_warning_and_no_advice_to_load_unsafely(tmp_path):
    torch.save(dict(w=torch.ones(3)), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.warns(UserWarning, match=r"old\.pth is of torch's old format, which has no checksums"):
        assert torch.equal(ckpt.read_checkpoint(tmp_path / "old.pth")["w"], torch.ones(3))
    for name, content in dict(text=b"hello\n", pickle=pickle.dumps(dict(a=Path)), proto=b"\x80\x02x").items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DamagedFileError, match=name) as error:
            ckpt.read_checkpoint(tmp_path / name)
        assert "weights_only" not in str(error.value)


def test_the_digest_sees_kinds_order_and_values():
    state = trained()[1]
    whole = ckpt.tree_digest(state)
    assert ckpt.tree_digest(copy.deepcopy(state)) == whole
    for change in ALTERED.values():
        changed = copy.deepcopy(state)
        change(changed)
        assert ckpt.tree_digest(changed) != whole
    assert ckpt.tree_digest(dict(a=1, b=2)) != ckpt.tree_digest(dict(b=2, a=1))
    assert ckpt.tree_digest(dict(a=1)) != ckpt.tree_digest(dict(a=True))
    values = struct.unpack("<2f", bytes(8))
    assert ckpt.tree_digest(torch.tensor(values)) != ckpt.tree_digest(torch.tensor(values).double())
