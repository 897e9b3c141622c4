"""A trained model as a file that runs without Python: ONNX, OpenVINO, or torch's own exported program."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mscmreid import __version__
from mscmreid.apis.config import config_hash, load_config
from mscmreid.apis.inference import init_model
from mscmreid.evaluation.features import feature_parts
from mscmreid.fileio import sha256_of
from mscmreid.intake import Intake
from mscmreid.models.exportable import ExportableModel
from mscmreid.retrieval.encoder import model_identity
from mscmreid.retrieval.exported import KEY, PRECISIONS, Description, ExportedEncoder
from mscmreid.structures import MODALITIES, modality_index

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
OPSET = 18
MOST_IMAGES = 4096
"""Largest batch of an exported program."""
CALIBRATION_BATCH = 8
PARITY = 1e-5


def export(
    config: str | Path | Config,
    checkpoint: str | Path | None,
    out: str | Path,
    *,
    format: str = "onnx",
    feature: str = "feat_bn",
    precision: str = "float32",
    calibration: Mapping[str, Sequence[str | Path]] | None = None,
) -> Description:
    """Write a model as a file with inputs ``images`` (N, H, W, 3) uint8 RGB at the model's size and ``modality`` (N,)
    int64 (0 visible, 1 infrared), and the output ``features`` (N, D) float32, unit rows. N is free.

    In float32 the file is run beside the model before it is moved into place.

    Args:
        config, checkpoint: see :func:`mscmreid.apis.init_model`.
        out: file to write: ``.onnx``, ``.xml`` (with a ``.bin`` beside it) or ``.pt2``, as the format says.
        format: 'onnx', 'openvino' or 'torch'.
        feature: 'feat_bn', 'feat_pool', 'sum' or 'blend=A'; the mirrored image joins as the config says.
        precision: 'float32'; 'float16': weights in half precision, half the file, computed in float32; 'int8':
            convolutions in 8 bits with scales from ``calibration``. 'torch' has float32 only.
        calibration: modality -> images; for 'int8' both modalities, some dozens each.

    Returns:
        What the file says of itself.

    Raises:
        ImportError: a package of the extra ``export`` is not installed.
        FileNotFoundError, ValueError: see :func:`mscmreid.apis.init_model`; an option that does not fit; a model whose
            features are not finite.
        RuntimeError: the file's features are not the model's.
    """
    _check_options(out, format, precision, calibration)
    cfg = load_config(config)
    model = init_model(cfg, checkpoint, "cpu")
    network = ExportableModel(model, feature_parts(feature)).eval()  # type: ignore[arg-type]
    looked_at = _looked_at(network)
    description = _describe(model, network, checkpoint, feature, precision)
    program = trace(network)
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        made = Path(folder, "files", out.name)
        made.parent.mkdir()
        if format == "torch":
            torch.export.save(program, made, extra_files={f"{KEY}.json": description.to_json()})
        else:
            _write_graph(program, description, made, format, calibration or {})
        if format != "torch" and precision == "float32":
            worst = _deviation(ExportedEncoder(made), *looked_at)
            print_log(f"largest difference to the model's features: {worst:.1e}", "current")
            if not worst <= PARITY:
                raise RuntimeError(
                    f"the file's features are up to {worst:.1e} off the model's, {PARITY:g} is allowed: {out} was not "
                    "written"
                )
        for file in sorted(made.parent.iterdir(), key=lambda file: file.name == out.name):  # what it refers to first
            file.replace(out.with_name(file.name))
    return description


def trace(network: ExportableModel) -> torch.export.ExportedProgram:
    """The network as a graph for any number of images."""
    number = torch.export.Dim("number", min=1, max=MOST_IMAGES)
    example = torch.zeros(2, *network.image_size, 3, dtype=torch.uint8), torch.tensor([0, 1])
    with torch.no_grad():
        return torch.export.export(network, example, dynamic_shapes=({0: number}, {0: number}))


def _check_options(out: str | Path, format: str, precision: str, calibration: Mapping[str, Any] | None) -> None:
    """Errors that would come only after minutes."""
    if format not in SUFFIXES:
        raise ValueError(f"format must be one of {', '.join(SUFFIXES)}, found {format!r}")
    if Path(out).suffix != SUFFIXES[format]:
        raise ValueError(f"a file of format {format} ends in {SUFFIXES[format]}, found {out}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, found {precision!r}")
    if format == "torch" and precision != "float32":
        raise ValueError(f"format torch has float32 only, found {precision}")
    if precision == "int8" and not (calibration and all(calibration.get(m) for m in MODALITIES)):
        raise ValueError("int8 needs images of both modalities to find its scales with: give calibration")
    through_onnx = ("onnx", "onnxscript", "onnxruntime")
    needed = {"onnx": through_onnx, "openvino": (*through_onnx, "openvino"), "torch": ()}
    for package in needed[format]:
        try:
            __import__(package)
        except ImportError as error:
            raise ImportError(f"--format {format} needs {package}: pip install 'mscmreid[export]'") from error


def _describe(
    model: Any, network: ExportableModel, checkpoint: str | Path | None, feature: str, precision: str
) -> Description:
    """What the file is to say of itself."""
    loader = model.cfg.get("test_dataloader") or {}
    resize = (loader.get("dataset") or {}).get("resize", "lanczos")
    chain = resize if isinstance(resize, str) else [step if isinstance(step, str) else list(step) for step in resize]
    identity = model_identity(
        model, feature, "float32" if precision == "float32" else f"exported {precision}", Intake()
    )
    del identity["intake"]  # how images are read is up to who runs the file
    normalize = model.data_preprocessor.normalize
    with torch.no_grad():
        dim = network(torch.zeros(1, *network.image_size, 3, dtype=torch.uint8), torch.tensor([0])).shape[1]
    return Description(
        config=Path(model.cfg.filename or "").name,
        config_hash=config_hash(model.cfg),
        checkpoint=None if checkpoint is None else Path(checkpoint).name,
        checkpoint_sha256=None if checkpoint is None else sha256_of(checkpoint),
        feature=feature,
        inference=model.inference.to_dict(),
        image_size=network.image_size,
        resize=chain,
        mean={m: list(map(float, normalize[m].mean)) for m in MODALITIES},
        std={m: list(map(float, normalize[m].std)) for m in MODALITIES},
        dim=dim,
        identity=identity,
        precision=precision,
        versions=dict(mscmreid=__version__, torch=str(torch.__version__)),
    )


def _write_graph(
    program: torch.export.ExportedProgram,
    description: Description,
    out: Path,
    format: str,
    calibration: Mapping[str, Sequence[str | Path]],
) -> None:
    """The ONNX file, or OpenVINO's two files made of it."""
    import onnx

    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        made = torch.onnx.export(
            program,
            dynamo=True,
            optimize=False,  # onnxscript's takes "+ 1e-12" away, which decides what GeM makes of a dead channel
            opset_version=OPSET,
            input_names=["images", "modality"],
            output_names=["features"],
            verbose=False,
        )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert made is not None
    model = made.model_proto
    onnx.helper.set_model_props(model, {KEY: description.to_json()})
    with tempfile.TemporaryDirectory(dir=out.parent.parent) as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        if description.precision == "int8":
            path = _quantize(path, description, calibration)
        if format == "onnx":
            if description.precision == "float16":
                onnx.save(halve_weights(onnx.load(path)), path)
            path.replace(out)
            return
        import openvino

        converted = openvino.convert_model(path)
        converted.set_rt_info(description.to_json(), [KEY])
        weights = Path(folder, "model.bin")
        openvino.save_model(converted, weights.with_suffix(".xml"), compress_to_fp16=description.precision == "float16")
        weights.replace(out.with_suffix(".bin"))
        weights.with_suffix(".xml").replace(out)


def halve_weights(model: Any) -> Any:
    """An ONNX model with every float32 weight of more than 64 values stored as float16 and cast back when it loads."""
    import onnx
    from onnx import TensorProto, numpy_helper

    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size <= 64 or np.abs(values).max() > 6e4:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{tensor.name}_half"], [tensor.name], to=TensorProto.FLOAT))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _quantize(path: Path, description: Description, calibration: Mapping[str, Sequence[str | Path]]) -> Path:
    """The ONNX file with convolutions in 8 bits, scales per channel from the calibration images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = _calibration_batches(description, calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    prepared, out = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        out,
        Images(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    return out


def _calibration_batches(
    description: Description, calibration: Mapping[str, Sequence[str | Path]]
) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of the graph, a few images at a time, modalities one after another."""
    from mscmreid.retrieval.exported import pixels_of

    for modality, images in calibration.items():
        index = modality_index(modality)
        for start in range(0, len(images), CALIBRATION_BATCH):
            batch = [pixels_of(image, description) for image in images[start : start + CALIBRATION_BATCH]]
            yield {"images": np.stack(batch), "modality": np.full(len(batch), index, dtype=np.int64)}


@torch.no_grad()
def _looked_at(network: ExportableModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three made-up pictures, their modalities in mixed order, and the network's features of them."""
    pixels, modality = made_up_pictures(3, network.image_size), np.array([0, 1, 0])
    features = network(torch.from_numpy(pixels), torch.from_numpy(modality)).numpy()
    if not np.isfinite(features).all():
        raise ValueError("the model itself gives NaN or infinite features of made-up pictures: look at the checkpoint")
    return pixels, modality, features


def _deviation(encoder: ExportedEncoder, pixels: np.ndarray, modality: np.ndarray, features: np.ndarray) -> float:
    """Largest difference of a file's features from the network's."""
    return float(np.abs(encoder.encode_pixels(pixels, modality) - features).max())


def made_up_pictures(num: int, image_size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(num, H, W, 3) uint8: coarse coloured patches with a little grain.

    Plain noise is no picture: attention without softmax, which is cubic in its input, can overflow on it in a network
    whose batch norms know pictures.
    """
    rng = np.random.default_rng(seed)
    height, width = image_size
    patches = rng.uniform(40, 215, (num, -(-height // 16), -(-width // 16), 3)).repeat(16, 1).repeat(16, 2)
    grain = rng.normal(0, 10, (num, height, width, 3))
    return (patches[:, :height, :width] + grain).clip(0, 255).astype(np.uint8)
