"""Exported models: the model's features, without torch, and files that are not what they say are refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from toy_training import CONFIGS, SIZE, TINY_TRANSFORMER
from without_packages import run_without

from mscmreid.apis import init_model, load_config
from mscmreid.apis.export import PARITY, export, halve_weights
from mscmreid.models.exportable import ExportableModel
from mscmreid.registry import MODELS
from mscmreid.retrieval.encoder import ModelEncoder
from mscmreid.retrieval.exported import KEY, Description, ExportedEncoder
from mscmreid.structures import MODALITIES

onnx = pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")

ROOT = Path(__file__).resolve().parents[2]


@torch.no_grad()
def checkpoint_of(cfg, folder: Path) -> Path:
    """A checkpoint with random statistics in all batch norms; small factors keep attention without softmax finite."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    generator = torch.Generator().manual_seed(1)
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            low = 0.05 if name.endswith("out_bn") else 0.5
            module.weight.copy_(low * (1 + torch.rand(module.weight.shape, generator=generator)))
            module.bias.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
            module.running_mean.copy_(0.2 * torch.randn(module.running_mean.shape, generator=generator))
            if "mfa" in name:
                module.running_var.mul_(1e4)
    path = folder / "weights.pth"
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def toy(system: str, folder: Path):
    init_default_scope("mscmreid")
    tiny = TINY_TRANSFORMER if system == "pmt" else {"model.backbone.depth": 18, "model.backbone.base_channels": 8}
    cfg = load_config(CONFIGS / f"{system}_sysu.py", {"image_size": SIZE, **tiny})
    cfg.model.backbone.init_cfg = None
    return cfg, checkpoint_of(cfg, folder)


@pytest.fixture(scope="module")
def agw(tmp_path_factory):
    """Config, checkpoint and .onnx of a tiny AGW."""
    folder = tmp_path_factory.mktemp("agw")
    cfg, checkpoint = toy("agw", folder)
    export(cfg, checkpoint, folder / "agw.onnx")
    return cfg, checkpoint, folder / "agw.onnx"


def pictures(num: int = 5) -> list[np.ndarray]:
    """Arrays of several sizes."""
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (40 + 9 * i, 30 + 5 * i, 3), dtype=np.uint8) for i in range(num)]


def test_features_and_identity_are_those_of_the_model_for_images_of_any_size(agw):
    cfg, checkpoint, path = agw
    exported, encoder = ExportedEncoder(path, batch_size=2), ModelEncoder(init_model(cfg, checkpoint, "cpu"))
    for modality in MODALITIES:
        found, expected = exported.encode(pictures(), modality), encoder.encode(pictures(), modality)
        np.testing.assert_allclose(found, expected, atol=PARITY)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    visible, infrared = (exported.encode(pictures(), modality) for modality in MODALITIES)
    assert np.abs(visible - infrared).max() > 0.01
    mixed = exported.encode(pictures(2), ["infrared", "visible"])
    np.testing.assert_allclose(mixed, [infrared[0], visible[1]], atol=PARITY)
    assert exported.identity == encoder.identity and exported.dim == encoder.dim
    assert exported.encode([], "visible").shape == (0, exported.dim)


def test_a_file_that_differs_from_the_model_is_not_written_and_what_was_there_stays(agw, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[export.__module__], "_deviation", lambda *_: 2 * PARITY)
    (tmp_path / "person.onnx").write_text("of yesterday")
    with pytest.raises(RuntimeError, match="was not written"):
        export(*agw[:2], tmp_path / "person.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["person.onnx"]
    assert (tmp_path / "person.onnx").read_text() == "of yesterday"


def test_a_model_whose_features_are_not_finite_is_told_before_it_is_traced(tmp_path):
    cfg, checkpoint = toy("agw", tmp_path)
    content = torch.load(checkpoint, weights_only=True)
    next(value for value in content["state_dict"].values() if value.ndim == 4).fill_(
        3e38
    )  # finite, as a checkpoint must be
    torch.save(content, checkpoint)
    with pytest.raises(ValueError, match="model itself gives NaN or infinite"):
        export(cfg, checkpoint, tmp_path / "agw.onnx")
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


def test_the_file_says_what_made_it(agw):
    from mscmreid.fileio import sha256_of

    _, checkpoint, path = agw
    said = Description.parse(dict_of(onnx.load(path))[KEY], path)
    assert said.checkpoint_sha256 == sha256_of(checkpoint) and said.checkpoint == "weights.pth"
    assert said.image_size == SIZE and said.feature == "feat_bn" and said.resize == "lanczos"
    assert said.mean["visible"] == pytest.approx([0.485, 0.456, 0.406])
    assert said.inference["branches"] == "concat" and len(said.config_hash) == 12


def test_files_are_images_too_and_unreadable_ones_are_named(agw, tmp_path):
    from mscmreid.intake import UnreadableImageError

    exported = ExportedEncoder(agw[2])
    Image.fromarray(pictures(1)[0]).save(tmp_path / "person.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    np.testing.assert_array_equal(
        exported.encode([tmp_path / "person.png"], "visible"), exported.encode(pictures(1), "visible")
    )
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        exported.encode([tmp_path / "person.png", tmp_path / "broken.png"], "visible")


def test_it_runs_where_neither_torch_nor_mmengine_is(agw, tmp_path):
    np.save(tmp_path / "image.npy", pictures(1)[0])
    code = f"""
import numpy as np
from mscmreid.retrieval.exported import ExportedEncoder
from mscmreid.retrieval.gallery import Gallery
encoder = ExportedEncoder({str(agw[2])!r})
image = np.load({str(tmp_path / "image.npy")!r})
np.save({str(tmp_path / "found.npy")!r}, encoder.encode([image], 'infrared'))
Gallery.create({str(tmp_path / "gallery")!r}, encoder)
from mscmreid.apis import ReIDInferencer
person = ReIDInferencer({str(agw[2])!r}, gallery={str(tmp_path / "gallery")!r})
assert person.similarity(image, image, ['visible', 'infrared']).score < 1.0001
assert 'torch' not in sys.modules
"""
    run_without(code, ("torch", "torchvision", "mmengine", "onnx", "matplotlib"))
    expected = ExportedEncoder(agw[2]).encode(pictures(1), "infrared")
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=PARITY)


def dict_of(model) -> dict[str, str]:
    return {entry.key: entry.value for entry in model.metadata_props}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, "no ONNX file that can be run"),
        (dict(), "its metadata has no description"),
        (dict(dim=3), "its graph has"),
        (dict(image_size=[9, "x"]), "not made by"),
        (dict(format=2), "this version reads 1"),
        (dict(resize="sinc"), "resize must be one of"),
        (dict(precision="int4"), r"wrong values under \['precision'\]"),
        (dict(more=1), "must have"),
    ],
)
def test_files_that_are_not_what_they_say_are_refused(agw, tmp_path, change, told):
    path = tmp_path / "changed.onnx"
    model = onnx.load(agw[2])
    said = json.loads(dict_of(model)[KEY])
    del model.metadata_props[:]
    if change:
        onnx.helper.set_model_props(model, {KEY: json.dumps({**said, **change})})
    onnx.save(model, path)
    if change is None:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=told):
        ExportedEncoder(path)


def test_weights_in_other_files_are_refused(agw, tmp_path):
    path = tmp_path / "outside.onnx"
    onnx.save(onnx.load(agw[2]), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(ValueError, match="no ONNX file that can be run"):
        ExportedEncoder(path)


def test_half_weights_are_half_the_file_and_nearly_the_features(agw, tmp_path):
    path = tmp_path / "half.onnx"
    onnx.save(halve_weights(onnx.load(agw[2])), path)
    weights = [sum(len(t.raw_data) for t in onnx.load(p).graph.initializer) for p in (agw[2], path)]
    assert weights[1] < 0.55 * weights[0]
    found, expected = (ExportedEncoder(p).encode(pictures(), "visible") for p in (path, agw[2]))
    assert 0 < np.abs(found - expected).max() < 5e-3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(format="tflite"), "format must be one of"),
        (dict(format="torch"), r"ends in \.pt2"),
        (dict(precision="int4"), "precision must be one of"),
        (dict(precision="int8"), "give calibration"),
        (dict(feature="map"), "the model's features are"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(agw, tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        export(agw[0], agw[1], tmp_path / "model.onnx", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", ["mscm", "agw", "deen", "dns", "pmt"])
@pytest.mark.parametrize("feature", ["feat_bn", "blend=0.3"])
def test_the_exported_form_computes_what_the_model_computes(system, feature, tmp_path):
    """Before any file: one graph for both modalities, branches and mirrored images joined inside."""
    from mscmreid.evaluation.features import feature_parts

    cfg, checkpoint = toy(system, tmp_path)
    model = init_model(cfg, checkpoint, "cpu")
    network = ExportableModel(model, feature_parts(feature)).eval()
    encoder = ModelEncoder(model, feature=feature)
    height, width = model.image_size
    images = [np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8) for i in range(3)]
    for index, modality in enumerate(MODALITIES):
        with torch.no_grad():
            found = network(torch.from_numpy(np.stack(images)), torch.full((3,), index)).numpy()
        np.testing.assert_allclose(found, encoder.encode(images, modality), atol=PARITY)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["mscm", "deen", "dns", "pmt"])
def test_every_system_by_both_runtimes(system, tmp_path):
    openvino = pytest.importorskip("openvino", reason="needs the extra export")
    cfg, checkpoint = toy(system, tmp_path)
    encoder = ModelEncoder(init_model(cfg, checkpoint, "cpu"))
    export(cfg, checkpoint, tmp_path / "model.onnx")
    converted = openvino.convert_model(tmp_path / "model.onnx")
    converted.set_rt_info(dict_of(onnx.load(tmp_path / "model.onnx"))[KEY], [KEY])
    openvino.save_model(converted, tmp_path / "model.xml", compress_to_fp16=False)
    for name in ("model.onnx", "model.xml"):
        exported = ExportedEncoder(tmp_path / name)
        for modality in MODALITIES:
            found, expected = exported.encode(pictures(), modality), encoder.encode(pictures(), modality)
            np.testing.assert_allclose(found, expected, atol=PARITY, err_msg=name)


@pytest.mark.slow
def test_openvino_s_two_files_are_the_onnx_file(agw, tmp_path):
    pytest.importorskip("openvino", reason="needs the extra export")
    cfg, checkpoint, path = agw
    said = export(cfg, checkpoint, tmp_path / "agw.xml", format="openvino")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["agw.bin", "agw.xml"]
    one, other = ExportedEncoder(path), ExportedEncoder(tmp_path / "agw.xml")
    assert other.description == said and other.identity == one.identity
    found, expected = other.encode(pictures(), "infrared"), one.encode(pictures(), "infrared")
    np.testing.assert_allclose(found, expected, atol=PARITY)


@pytest.mark.slow
def test_a_torch_program_takes_any_number_of_images(agw, tmp_path):
    cfg, checkpoint, _ = agw
    path = tmp_path / "agw.pt2"
    export(cfg, checkpoint, path, format="torch")
    said: dict[str, str] = {f"{KEY}.json": ""}
    program = torch.export.load(path, extra_files=said)
    assert Description.parse(said[f"{KEY}.json"], path).feature == "feat_bn"
    network = ExportableModel(init_model(cfg, checkpoint, "cpu")).eval()
    for num in (1, 5):
        images = torch.randint(0, 256, (num, *SIZE, 3), dtype=torch.uint8)
        modality = torch.arange(num) % 2
        with torch.no_grad():
            torch.testing.assert_close(
                program.module()(images, modality), network(images, modality), atol=PARITY, rtol=0
            )
    with pytest.raises(ValueError, match=r"torch\.export\.load"):
        ExportedEncoder(path)
