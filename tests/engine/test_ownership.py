"""A work folder belongs to one run, and what a finished one left is not mixed with another's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mmengine.logging import MMLogger

from mscmreid.apis import load_config, train
from mscmreid.engine.runner import ownership
from mscmreid.engine.runner.ownership import ABLATION, FolderInUseError, owned, require_empty
from mscmreid.experiments.runs import Plan, do_run
from mscmreid.registry import RUNNERS


@contextmanager
def held_by_another_process(folder: Path, purpose: str = ownership.TRAINING) -> Iterator[int]:
    """A child process owns the folder; yields its number."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with owned(folder, purpose):
            os.write(told, b"x")
            time.sleep(60)
        os._exit(1)
    try:
        os.read(ready, 1)
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


def test_a_folder_in_use_is_refused_with_who_uses_it_until_that_process_is_killed(tmp_path):
    with held_by_another_process(tmp_path) as child:
        text = rf"in use: process {child} on \S+ works in it since 20.*--work-dir"
        with pytest.raises(FolderInUseError, match=text), owned(tmp_path):
            pass
        with owned(tmp_path, ABLATION):  # for another purpose
            pass
    assert (tmp_path / ".training.json").is_file()  # a killed process leaves its note, and no lock
    with owned(tmp_path):
        assert json.loads((tmp_path / ".training.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / ".training.json").exists()


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError, match=r"is to be a folder to work in \(--work-dir\), but a file"), owned(path):
            pass


def test_a_missing_checkpoint_to_resume_from_is_told_first(toy_config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "epoch_1.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"checkpoint to resume from at none\.pth, found no file"):
        train(toy_config(), resume="none.pth")


def test_a_process_may_own_a_folder_twice_and_by_other_paths(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with owned(tmp_path / "folder"), owned(tmp_path / "link"):
        assert (tmp_path / "folder" / ".training.json").is_file()
    with held_by_another_process(tmp_path / "link"), pytest.raises(FolderInUseError), owned(tmp_path / "folder"):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    def no_locks(*_, **__):
        raise NotImplementedError("no flock")

    MMLogger._instance_dict.clear()  # an older logger would write to the stream of an older test
    monkeypatch.setattr(ownership.FileLock, "acquire", no_locks)
    with owned(tmp_path):
        pass
    assert "cannot be locked (no flock)" in capsys.readouterr().out


def test_a_second_training_in_a_folder_is_refused_before_anything_is_written(toy_config, tmp_path):
    folder = tmp_path / "run"
    with held_by_another_process(folder):
        before = sorted(folder.iterdir())
        for resume in (None, "auto"):
            with pytest.raises(FolderInUseError, match="in use"):
                train(toy_config(), resume=resume)
        assert sorted(folder.iterdir()) == before
        runner = RUNNERS.build(toy_config())  # a script of the user's own
        with pytest.raises(FolderInUseError, match="in use"):
            runner.train()


@pytest.mark.parametrize("name", ["epoch_3.pth", "best_reid_R1_epoch_2.pth", "iter_40.pth"])
def test_a_training_that_begins_anew_among_checkpoints_is_refused_with_the_ways_out(toy_config, tmp_path, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_text("a checkpoint")
    with pytest.raises(ValueError, match=rf"{name}.*--resume.*--work-dir.*--overwrite"):
        train(toy_config())
    (tmp_path / "epoch_1.pth").write_text("of another folder")
    with pytest.raises(ValueError, match="holds a training already"):
        train(toy_config(), resume=str(tmp_path / "epoch_1.pth"))
    with pytest.raises(ValueError, match="choose one of them"):
        train(toy_config(), resume="auto", overwrite=True)
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == [name]


def test_overwrite_deletes_checkpoints_and_notes_and_nothing_else(tmp_path):
    names = ["epoch_1.pth", "best_x_epoch_1.pth", "last_checkpoint", "finished_stages.json", "notes.txt", "mine.pth"]
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / "across").mkdir()
    (tmp_path / "across" / "epoch_2.pth").write_text("x")
    with pytest.raises(ValueError, match="holds a training"):
        require_empty(tmp_path, ["within", "across"])
    require_empty(tmp_path, ["within", "across"], overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["mine.pth", "notes.txt"]


def test_a_later_stage_with_old_checkpoints_is_told_at_once(toy_config, tmp_path):
    cfg = toy_config()
    cfg.stages = dict(within=dict(), across=dict(train_cfg=dict(max_epochs=2)))
    old = tmp_path / "run" / "across" / "epoch_2.pth"
    old.parent.mkdir(parents=True)
    old.write_text("x")
    with pytest.raises(ValueError, match="across holds a training already"):
        train(cfg, resume="auto")


def test_the_run_of_an_ablation_is_done_by_one_process(tmp_path):
    (run,) = Plan(["mscm_synthetic"], tmp_path).runs()
    with held_by_another_process(run.folder, ABLATION), pytest.raises(FolderInUseError, match="in use: process"):
        do_run(run, tmp_path, lambda command, log: 1)
    assert not (run.folder / "ablate.json").exists()
    assert "the training ended with status 1" in (do_run(run, tmp_path, failing) or "")


def failing(command, log: Path) -> int:
    log.write_text("no")
    return 1


def test_the_config_of_a_run_may_lie_in_its_folder(tmp_path):
    load_config("mscm_synthetic").dump(tmp_path / "mscm_synthetic.py")
    require_empty(tmp_path)
