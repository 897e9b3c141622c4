"""What every config says; that it trains and evaluates is tested in tests/apis/test_every_config.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mscmreid.apis.config import config_hash, drop_missing_backends, load_config
from mscmreid.resources import find_config

ROOT = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = sorted(str(p.relative_to(ROOT)) for p in ROOT.rglob("*.py") if "_base_" not in p.parts)


@pytest.mark.parametrize("name", CONFIGS)
def test_config_begins_with_what_to_expect_and_survives_its_own_text(name):
    assert (ROOT / name).read_text().startswith("# ")
    cfg = load_config(ROOT / name)
    assert Config.fromstring(cfg.pretty_text, ".py").to_dict() == cfg.to_dict()


@pytest.mark.parametrize("name", CONFIGS)
def test_batch_and_image_size_are_said_once(name):
    written = Config.fromfile(ROOT / name)
    assert "image_size" in written and "image_size" not in str({k: v for k, v in written.items() if k != "image_size"})
    cfg = load_config(ROOT / name)
    assert cfg.train_dataloader.batch_sampler.type == "CrossModalityBatchSampler"
    assert not {"batch_size", "sampler"} & set(cfg.train_dataloader)
    assert not [key for key in cfg if key.startswith("_")]
    sizes = {tuple(cfg[f"{part}_dataloader"].dataset.image_size) for part in ("train", "val", "test")}
    assert sizes == {tuple(cfg.model.backbone.image_size)}
    published = "mAP" if Path(name).name.startswith("pmt_") and "synthetic" not in name else "R1"  # what PMT chooses by
    assert cfg.default_hooks.checkpoint.save_best == f"reid/{published}"


def test_an_ablation_differs_from_its_base_in_one_part_only():
    base = load_config(ROOT / "mscm_sysu.py").to_dict()
    for name in CONFIGS:
        if name.startswith("ablations/mscm_sysu_"):
            cfg = load_config(ROOT / name).to_dict()
            assert {k for k in base if cfg[k] != base[k]} == {"model"}, name


def test_one_option_reaches_all_data_loaders():
    cfg = load_config(ROOT / "mscm_sysu.py", dict(data_root="/somewhere"))
    assert {cfg[f"{part}_dataloader"].dataset.data_root for part in ("train", "val", "test")} == {"/somewhere"}
    assert {
        load_config(ROOT / "mscm_regdb.py", dict(split_id=3))[f"{part}_dataloader"].dataset.split_id
        for part in ("train", "val", "test")
    } == {3}
    small = load_config(ROOT / "mscm_sysu.py", dict(image_size=(64, 32)))
    assert small.model.backbone.image_size == small.test_dataloader.dataset.image_size == (64, 32)
    kept = load_config(ROOT / "mscm_sysu.py", {"data_root": "/a", "val_dataloader.dataset.data_root": "/b"})
    assert kept.val_dataloader.dataset.data_root == "/b"


def test_an_image_size_beside_the_top_level_is_refused():
    with pytest.raises(ValueError, match=r"model.backbone.image_size is \(64, 32\), image_size at the top level \(384"):
        load_config(ROOT / "mscm_sysu.py", {"model.backbone.image_size": (64, 32)})
    again = load_config(
        load_config(ROOT / "mscm_sysu.py"), dict(image_size=(64, 32))
    )  # a config that a run has written
    assert again.model.backbone.image_size == again.val_dataloader.dataset.image_size == (64, 32)


def test_the_hash_is_of_what_is_computed_not_of_where():
    first = config_hash(load_config(ROOT / "mscm_sysu.py"))
    assert config_hash(load_config(ROOT / "mscm_sysu.py", dict(data_root="/a", work_dir="/b"))) == first
    assert config_hash(load_config(ROOT / "mscm_sysu.py", {"model.neck.pool.p": 2})) != first


def test_tensorboard_is_left_out_with_a_message_where_it_is_missing(monkeypatch):
    cfg = load_config(ROOT / "mscm_sysu.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install tensorboard" in drop_missing_backends(cfg)
    assert [b.type for b in cfg.visualizer.vis_backends] == ["LocalVisBackend"]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert drop_missing_backends(load_config(ROOT / "mscm_sysu.py")) is None


def test_a_missing_config_is_named():
    with pytest.raises(FileNotFoundError, match=r"none\.py"):
        load_config("none.py")


def test_a_config_is_found_by_its_name_with_and_without_its_folder():
    for folder, name in (("", "mscm_sysu"), ("ablations", "mscm_sysu_triplet"), ("cross", "sysu_regdb_to_llcm")):
        file = ROOT / folder / f"{name}.py"
        written = (name, f"{name}.py", Path(folder, name), Path("configs", folder, name))
        assert {find_config(text).resolve() for text in written} == {file}
