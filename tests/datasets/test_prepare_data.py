"""The tool that builds caches ahead."""

import os
import subprocess
import sys

import layouts

CONFIG = """
sysu = dict(type='SYSUMM01', image_size=(16, 8), check_counts=False)
train_dataloader = dict(dataset=dict(split='trainval', **sysu))
val_dataloader = dict(dataset=dict(split='test', **sysu))
test_dataloader = val_dataloader
"""


def test_caches_of_all_splits_are_built_once(tmp_path, repo_root):
    root = layouts.make_sysu(tmp_path / "SYSU-MM01")
    (tmp_path / "config.py").write_text(CONFIG)
    command = [sys.executable, str(repo_root / "tools/prepare_data.py"), str(tmp_path / "config.py")]
    command += ["--cfg-options", f"data_root={root}"]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    caches = sorted(name for name in os.listdir(root / ".mscmreid_cache") if name.endswith(".npy"))
    assert [name.split("_")[0] for name in caches] == ["SYSU-MM01-test", "SYSU-MM01-trainval"]
    lines = [line.split(": ") for line in done.stdout.splitlines() if "_dataloader: " in line]
    assert [(name, os.path.basename(path)) for name, path in lines] == [
        ("train_dataloader", caches[1]),
        ("val_dataloader", caches[0]),
    ]
