"""Exported models: images a second beside the model itself, and by hand what each precision costs in Rank-1.

    python tools/benchmarks/exported.py CONFIG CHECKPOINT [--calibrate VISIBLE INFRARED]

exports the checkpoint in every precision, ranks the config's test data with each file, and prints a table.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import CONFIGS, Report, fastest, markdown_table, matmul_rate

from mscmreid.apis import init_model, load_config
from mscmreid.apis.export import export
from mscmreid.evaluation import FeatureTable, build_protocol, evaluate
from mscmreid.experiments.costs import model_info
from mscmreid.intake import PUBLISHED, find_images
from mscmreid.models.exportable import ExportableModel
from mscmreid.registry import DATASETS
from mscmreid.retrieval.exported import ExportedEncoder
from mscmreid.structures import MODALITIES

FILES = (
    ("onnx", "float32", "person.onnx"),
    ("onnx", "float16", "half.onnx"),
    ("onnx", "int8", "int8.onnx"),
    ("openvino", "float32", "person.xml"),
    ("openvino", "int8", "int8.xml"),
)
BATCH = 8


def export_all(cfg: Any, checkpoint: str | None, folder: Path, calibration: dict) -> dict[tuple[str, str], Path]:
    """A file for every runtime and precision."""
    files = {}
    for runtime, precision, name in FILES:
        images = calibration if precision == "int8" else None
        export(cfg, checkpoint, folder / name, format=runtime, precision=precision, calibration=images)
        files[runtime, precision] = folder / name
    return files


def size_of(path: Path) -> float:
    """Megabytes of a file, for OpenVINO of its two."""
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return sum(file.stat().st_size for file in files) / 1e6


def speeds(model: Any, encoders: list[ExportedEncoder], repeats: int) -> list[float]:
    """Images a second of processor time: the model's own way from pixels to unit features, then each file's."""
    height, width = model.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, height, width, 3), dtype=np.uint8)
    modality = np.arange(BATCH) % 2
    network = ExportableModel(model).eval()
    images, index = torch.from_numpy(pixels), torch.from_numpy(modality)

    @torch.inference_mode()
    def eager() -> None:
        network(images, index)

    runs: list[Callable[[], object]] = [eager]
    runs += [lambda encoder=encoder: encoder.encode_pixels(pixels, modality) for encoder in encoders]  # type: ignore[misc]
    fastest(runs, 1)  # warm up
    return [BATCH / seconds for seconds in fastest(runs, repeats)]


def exported(quick: bool, threads: int) -> Report:
    """MSCMNet at 384 x 192 as exported files, a mixed batch of 8 from uint8 pixels to unit features. Plain: the same in
    eager torch with folded batch norms. Images a second of processor time, so that a busy machine disturbs less.
    Bound: eager torch's float32 matrix product."""
    torch.set_num_threads(threads)
    cfg = load_config(CONFIGS / "mscm_sysu.py", {"model.backbone.init_cfg": None})
    noise = np.random.default_rng(1).integers(0, 256, (8, 384, 192, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(cfg, None, Path(folder), {name: list(noise) for name in MODALITIES})
        encoders = [ExportedEncoder(path, num_threads=threads) for path in files.values()]
        found = speeds(init_model(cfg, None, "cpu"), encoders, 2 if quick else 3)
        report = Report(notes=[f"{threads} threads; random weights."])
        bound = matmul_rate() / model_info(cfg).inference_flops
        beside = dict(bound=bound, bound_is="float32 matrix product")
        report.figure("eager", found[0], "images/s", **beside)
        for (runtime, precision), path, rate in zip(files, files.values(), found[1:], strict=True):
            report.figure(f"{runtime}, {precision}, {size_of(path):.0f} MB", rate, "images/s", found[0], **beside)
    return report


def accuracy(encode: Callable[[list[str], str], np.ndarray], cfg: Any) -> dict[str, float]:
    """Rank-1 and mAP of the first protocol of a config's test."""
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    rows = dataset.rows()
    features: np.ndarray | None = None
    for modality in MODALITIES:
        places = np.flatnonzero(rows["modality"] == modality)
        found = encode([str(Path(dataset.metainfo["data_root"], rows["path"][i])) for i in places], modality)
        features = np.empty((len(rows["path"]), found.shape[1]), np.float32) if features is None else features
        features[places] = found
    meta = {name: dataset.metainfo[name] for name in ("dataset_name", "split", "data_root")}
    columns = (rows["path"], rows["pid"], rows["cam_id"], rows["modality"])
    table = FeatureTable(list(columns[0]), *columns[1:], {"feature": features}, meta)
    evaluator = cfg.test_evaluator[0] if isinstance(cfg.test_evaluator, list) else cfg.test_evaluator
    return evaluate(table, [build_protocol(evaluator.protocols[0], None)], ["feature"])[0].result.mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("checkpoint")
    parser.add_argument("--data-root", help="of the test data (default: the config's)")
    parser.add_argument("--calibrate", nargs=2, type=Path, required=True, metavar=("VISIBLE", "INFRARED"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = load_config(args.config, {} if args.data_root is None else {"data_root": args.data_root})
    calibration = {
        name: (images := find_images(folder))[:: max(1, len(images) // 64)][:64]
        for name, folder in zip(MODALITIES, args.calibrate, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(cfg, args.checkpoint, Path(folder), calibration)
        encoders = [ExportedEncoder(path, intake=PUBLISHED, num_threads=1) for path in files.values()]
        rates = speeds(init_model(cfg, args.checkpoint, "cpu"), encoders, 5)
        lines = [["eager", "float32", "", f"{rates[0]:.0f}", "", ""]]
        for (runtime, precision), encoder, rate in zip(files, encoders, rates[1:], strict=True):
            means = accuracy(encoder.encode, cfg)
            lines.append(
                [
                    runtime,
                    precision,
                    f"{size_of(encoder.path):.2f}",
                    f"{rate:.0f}",
                    f"{means['R1']:.2f}",
                    f"{means['mAP']:.2f}",
                ]
            )
            print(lines[-1], flush=True)
    print(markdown_table(("runtime", "precision", "MB", "images/s", "Rank-1", "mAP"), lines))


if __name__ == "__main__":
    main()
