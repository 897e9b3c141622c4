"""The parameter counts on docs/models.md are those of the configs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mscmreid.apis.config import load_config
from mscmreid.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
ROWS = re.findall(r"^\| (\w+_\w+) \| ([\d,]+) \|", (ROOT / "docs" / "models.md").read_text(), flags=re.M)


@pytest.mark.parametrize(("name", "count"), ROWS)
def test_parameters_of(name, count):
    cfg = load_config(ROOT / "configs" / f"{name}.py").model
    cfg.backbone.init_cfg = None
    with torch.device("meta"):
        model = MODELS.build(cfg)
    assert f"{sum(p.numel() for p in model.parameters()):,}" == count


def test_all_systems_are_there():
    assert {name.split("_")[0] for name, _ in ROWS} == {"mscm", "agw", "caj", "deen", "dns", "pmt"}
