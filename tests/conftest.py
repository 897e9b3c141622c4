"""Shared by all tests: golden numbers, the real split lists, a table of the deviations that were seen."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).resolve().parents[1]
DEVIATIONS = pytest.StashKey[dict]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=None, metavar="N", help="cases of tests/fuzz, together")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[DEVIATIONS] = {}
    if config.getoption("--cases"):
        os.environ["MSCMREID_FUZZ_CASES"] = str(config.getoption("--cases"))  # read where the tests are imported


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def golden():
    """``golden(name)``: a golden file of tests/data, a dict of arrays (.npz) or parsed JSON."""

    def load(name: str):
        path = DATA / name
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        return json.loads(path.read_text())

    return load


@pytest.fixture(scope="session")
def splits() -> Path:
    """The folder of the real split lists, which are not part of this project."""
    folder = os.environ.get("MSCMREID_SPLITS")
    if not folder:
        pytest.skip(
            "needs the real split lists: set MSCMREID_SPLITS to the folder that holds SYSU-MM01, RegDB and LLCM"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def deviation(request: pytest.FixtureRequest):
    """``deviation(name, found, golden)``: max |difference| / max |golden|, kept for the table at the end."""
    seen = request.config.stash[DEVIATIONS]

    def measure(name: str, found, golden) -> float:
        found, golden = np.asarray(found, dtype=np.float64), np.asarray(golden, dtype=np.float64)
        assert found.shape == golden.shape, f"{name}: shape {found.shape}, golden {golden.shape}"
        value = float(np.abs(found - golden).max() / np.abs(golden).max())
        seen[name] = max(value, seen.get(name, 0.0))
        return value

    return measure


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # a worker of pytest-xdist: hand over what was seen
        session.config.workeroutput["deviations"] = session.config.stash[DEVIATIONS]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error) -> None:
    seen = node.config.stash[DEVIATIONS]
    for name, value in getattr(node, "workeroutput", {}).get("deviations", {}).items():
        seen[name] = max(value, seen.get(name, 0.0))


def pytest_terminal_summary(terminalreporter, exitstatus: int, config: pytest.Config) -> None:
    seen = config.stash[DEVIATIONS]
    if seen:
        terminalreporter.section("largest deviation from the golden numbers")
        for name, value in seen.items():
            terminalreporter.line(f"{name:58} {value:.2e}")
