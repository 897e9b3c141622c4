"""The wheel in an environment of its own, in a folder that is not the checkout: it trains, tests and draws.

The environment borrows what is installed around the tests (a .pth file), so that nothing is downloaded; mscmreid itself
comes from the wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("train_cfg.max_epochs=1", "train_dataloader.batch_sampler.num_batches=10", "image_size=64,32"),
    *("model.backbone.depth=18", "model.backbone.base_channels=8", "model.head.num_classes=18"),
]
pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path) -> str:
    """Output of a command, without the checkout on its path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTEST_ADDOPTS", "MSCMREID_DATA")}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, which stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    names = [name for name in listed.stdout.decode().split("\0") if name and not name.startswith(("tests/", "docs/"))]
    for name in filter(lambda name: (ROOT / name).is_file(), names):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "source" / name).write_bytes((ROOT / name).read_bytes())
        (folder / "source" / name).chmod((ROOT / name).stat().st_mode)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    call(*pip, "-w", folder, folder / "source", cwd=folder)
    (built,) = folder.glob("mscmreid-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs, with the wheel installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    variables = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=variables))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin" / "python",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
    ]
    call(*pip, wheel, cwd=folder)
    # plain folders only: the .pth file of an editable mscmreid in there is not followed
    (site / "around.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_it_carries_configs_tools_and_index_and_nothing_of_the_tests(wheel):
    with zipfile.ZipFile(wheel) as file:
        names, text = set(file.namelist()), ""
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        text = file.read(metadata).decode()
        modes = {info.filename: info.external_attr >> 16 & 0o111 for info in file.infolist()}
    for part in ("configs", "tools"):
        for path in (ROOT / part).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".sh"):
                assert f"mscmreid/.mim/{path.relative_to(ROOT)}" in names
    assert "mscmreid/.mim/model-index.yml" in names and modes["mscmreid/.mim/tools/dist_train.sh"]
    assert not any(name.startswith("tests") or name.endswith(".pyc") for name in names)
    required = [line.split(": ")[1] for line in text.splitlines() if line.startswith("Requires-Dist")]
    plain = [line for line in required if "extra ==" not in line]
    assert any(line.startswith("mmengine") for line in plain) and not any("mmcv" in line for line in plain)
    assert [line for line in required if "mmcv" in line and 'extra == "mm"' not in line] == []


def test_outside_the_checkout_it_trains_tests_draws_and_runs_child_tools(installed, tmp_path):
    command = installed / "mscmreid"
    where = call(installed / "python", "-c", "import mscmreid; print(mscmreid.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    people = ["data/synthetic", "--ids", "24", "--size", "64x32", "--workers", "0"]
    call(command, "make_synthetic", *people, cwd=tmp_path)
    ablate = ["mscm_synthetic", "--work-dir", "runs", "--cfg-options", *SMALL]
    call(command, "ablate", *ablate, cwd=tmp_path)  # starts train.py and test.py
    checkpoint = tmp_path / "runs" / "mscm_synthetic" / "seed_0" / "epoch_1.pth"
    assert "10/10" in (checkpoint.parent / "ablate.log").read_text()
    test = ["mscm_synthetic", checkpoint, "--work-dir", "test", "--out-features", "F.npz"]
    call(installed / "python", "-m", "mscmreid", "test", *test, "--cfg-options", *SMALL, cwd=tmp_path)
    call(command, "draw_rankings", "F.npz", "rankings.png", "--data-root", "data/synthetic", cwd=tmp_path)
    assert (tmp_path / "rankings.png").stat().st_size > 1000
    model = "from mscmreid.apis import init_model; print(type(init_model('mscm_synthetic')).__name__)"
    assert "CrossModalReID" in call(installed / "python", "-c", model, cwd=tmp_path)
