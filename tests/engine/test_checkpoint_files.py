"""Checkpoints are whole or absent, and load strictly."""

import errno
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mscmreid.engine.runner import checkpoint as ckpt
from mscmreid.gate import DamagedFileError


def write(path: Path, value: float = 1.0) -> Path:
    ckpt.write_checkpoint(dict(meta=dict(epoch=1), state_dict=dict(w=torch.full((100,), value))), path)
    return path


def test_what_was_written_is_read_back(tmp_path):
    path = write(tmp_path / "epoch_1.pth", 3.0)
    content = ckpt.read_checkpoint(path)
    assert content["meta"] == dict(epoch=1)
    assert torch.equal(content["state_dict"]["w"], torch.full((100,), 3.0))
    assert [p.name for p in tmp_path.iterdir()] == ["epoch_1.pth"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_named(tmp_path, share):
    path = write(tmp_path / "epoch_1.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    for check in (ckpt.verify_checkpoint, ckpt.read_checkpoint):
        with pytest.raises(DamagedFileError, match=r"epoch_1\.pth"):
            check(path)


def test_a_flipped_bit_in_a_weight_is_found(tmp_path):
    path = write(tmp_path / "epoch_1.pth")
    content = bytearray(path.read_bytes())
    position = content.find(np.float32(1.0).tobytes() * 10)
    content[position + 8] ^= 1
    path.write_bytes(content)
    torch.load(path, weights_only=True)  # torch itself does not notice
    with pytest.raises(DamagedFileError, match="checksum"):
        ckpt.verify_checkpoint(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        ckpt.read_checkpoint(tmp_path / "none.pth")


def test_a_file_with_code_is_refused(tmp_path):
    class Harm:
        def __reduce__(self):
            return Path.touch, (tmp_path / "harmed",)

    (tmp_path / "x.pth").write_bytes(pickle.dumps(dict(a=Harm())))
    torch.save(dict(a=Harm()), tmp_path / "y.pth")
    for name in ("x.pth", "y.pth"):
        with pytest.raises(ValueError, match=name):
            ckpt.read_checkpoint(tmp_path / name)
    assert not (tmp_path / "harmed").exists()


class FullDisk:
    """A file that takes some bytes and then none."""

    def __init__(self, file, space):
        self.file, self.space = file, space

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.file.close()

    def write(self, data):
        self.space -= len(data)
        if self.space < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def flush(self):
        self.file.flush()

    def fileno(self):
        return self.file.fileno()


def test_a_full_disk_is_said_and_the_old_file_stays(tmp_path, monkeypatch):
    path = write(tmp_path / "epoch_1.pth", 1.0)
    before = path.read_bytes()

    def open_on_full_disk(name, mode):
        return FullDisk(Path(name).open(mode), 600)

    monkeypatch.setattr(ckpt, "open", open_on_full_disk, raising=False)
    with pytest.raises(OSError, match=r"no space left.*epoch_1.pth") as error:
        write(path, 2.0)
    assert error.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["epoch_1.pth"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    write(tmp_path / "epoch_1.pth")
    (tmp_path / ".epoch_2.pth.123.tmp").write_bytes(b"half")
    assert ckpt.remove_leftovers(tmp_path) == [".epoch_2.pth.123.tmp"]
    assert [p.name for p in tmp_path.iterdir()] == ["epoch_1.pth"]


def test_resume_takes_the_last_written_then_its_predecessors(tmp_path):
    for epoch in (9, 10, 11, 99):  # 99 was left by an earlier run
        write(tmp_path / f"epoch_{epoch}.pth")
    write(tmp_path / "best_reid_R1_epoch_11.pth")
    (tmp_path / ckpt.LAST).write_text("/another/place/epoch_11.pth")
    assert [p.name for p in ckpt.find_checkpoints(tmp_path)] == ["epoch_11.pth", "epoch_10.pth", "epoch_9.pth"]
    (tmp_path / ckpt.LAST).write_text("")  # a run killed while writing it
    assert next(iter(ckpt.find_checkpoints(tmp_path))).name == "epoch_99.pth"


def test_resume_passes_over_a_damaged_file_and_names_it(tmp_path):
    for epoch in (1, 2):
        write(tmp_path / f"epoch_{epoch}.pth")
    last = tmp_path / "epoch_2.pth"
    last.write_bytes(last.read_bytes()[:-100])
    path, problems = ckpt.find_intact_checkpoint(tmp_path)
    assert path.name == "epoch_1.pth"
    assert len(problems) == 1 and "epoch_2.pth" in problems[0]


def test_resume_from_nothing_but_damage_is_an_error(tmp_path):
    (tmp_path / "epoch_1.pth").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"epoch_1\.pth"):
        ckpt.find_intact_checkpoint(tmp_path)
    assert ckpt.find_intact_checkpoint(tmp_path / "empty") == (None, [])


def small_model(num_classes: int = 3) -> nn.Module:
    model = nn.Module()
    model.body = nn.Linear(4, 2)
    model.head = nn.Module()
    model.head.classifier = nn.Linear(2, num_classes, bias=False)
    return model


def test_a_fitting_state_is_loaded():
    source, model = small_model(), small_model()
    state = {f"module.{k}": v for k, v in source.state_dict().items()}
    ckpt.load_weights(model, ckpt.state_dict_of(dict(state_dict=state), "f"), "f")
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in model.state_dict().items())


def test_another_number_of_classes_is_explained():
    with pytest.raises(ValueError, match="trained on 5 identities, the config says num_classes=3"):
        ckpt.load_weights(small_model(3), small_model(5).state_dict(), "f")


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_missing_and_unexpected_names_stop(change):
    state = dict(small_model().state_dict())
    if change == "missing":
        del state["body.bias"]
    else:
        state["body.extra"] = torch.ones(1)
    with pytest.raises(ValueError, match=rf"{change}: body\.(bias|extra)"):
        ckpt.load_weights(small_model(), state, "f")


def test_loading_what_fits_says_what_did_not():
    source, model = small_model(5), small_model(3)
    before = model.head.classifier.weight.clone()
    line = ckpt.load_weights(model, source.state_dict(), "f", strict=False)
    assert "2 of 3" in line and "head.classifier.weight" in line
    assert torch.equal(model.body.weight, source.body.weight)
    assert torch.equal(model.head.classifier.weight, before)


def test_nothing_fitting_is_an_error_even_when_not_strict():
    with pytest.raises(ValueError, match="0 entries fit"):
        ckpt.load_weights(small_model(), dict(other=torch.ones(1)), "f", strict=False)


def test_an_official_checkpoint_is_sent_to_the_converter():
    with pytest.raises(ValueError, match="official_to_mscmreid"):
        ckpt.state_dict_of(dict(net=dict(w=torch.ones(1)), mAP=0.5), "f")


def test_the_log_of_a_run_survives_as_plain_tensors():
    buffer = HistoryBuffer([0.5, 0.25], [1, 2], max_length=7)
    state = dict(log_scalars={"train/loss": buffer}, runtime_info=dict(epoch=1), resumed_keys={"train/loss": True})
    plain = ckpt.plain_hub(state)
    assert all(isinstance(v, torch.Tensor | int) for v in plain["log_scalars"]["train/loss"].values())
    back = ckpt.restored_hub(plain)["log_scalars"]["train/loss"]
    assert isinstance(back, HistoryBuffer) and back.max_length == 7
    assert all(np.array_equal(a, b) for a, b in zip(back.data, buffer.data, strict=True))


def test_resume_needs_optimizer_and_seed():
    whole = dict(meta=dict(seed=1), optimizer={}, param_schedulers=[], message_hub={})
    ckpt.check_resumable(whole, "f", seed=1)
    with pytest.raises(ValueError, match=r"randomness\.seed=1"):
        ckpt.check_resumable(whole, "f", seed=2)
    with pytest.raises(ValueError, match="weights only"):
        ckpt.check_resumable(dict(state_dict={}), "f", seed=1)
