"""Toy runs: a SYSU-MM01 of tiny pictures and MSCMNet at 32 x 16, from the project's own configs."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy_runs import make_toy_sysu, toy_run


@pytest.fixture(scope="session")
def sysu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training and three test people, two frames a camera."""
    return make_toy_sysu(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def no_environment_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """MMEngine asks compilers for their versions at every start, which takes longer than these runs."""
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)


@pytest.fixture
def toy_config(sysu_folder: Path, tmp_path: Path):
    """``toy_config(work_dir=..., **options)``: see :func:`toy_runs.toy_run`."""
    return functools.partial(_toy_run, sysu_folder, tmp_path / "run")


def _toy_run(data_root: Path, usual_work_dir: Path, work_dir: str | Path | None = None, **options):
    return toy_run(data_root, work_dir or usual_work_dir, **options)
