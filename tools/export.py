"""Write a trained model as ONNX, OpenVINO or torch.export file: python tools/export.py CONFIG CHECKPOINT --out F.onnx

Inputs: images (N, H, W, 3) uint8 RGB at the model's size, and modality (N,) int64, 0 visible, 1 infrared. Output:
features (N, D) float32, unit rows. What made it stands in the file's metadata. mscmreid.retrieval.ExportedEncoder runs
.onnx and .xml files, galleries and ReIDInferencer take them in the place of a checkpoint (docs/export.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mscmreid.command_line import run_tool, tool_parser
from mscmreid.modalities import MODALITIES

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = tool_parser(__doc__, "--cfg-options", "--flip")
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint of training, or a converted official one")
    parser.add_argument("--format", choices=list(SUFFIXES), default="onnx", help="default: onnx")
    parser.add_argument("--out", type=Path, help="file to write (default: the checkpoint's name with the format's end)")
    parser.add_argument("--feature", default="feat_bn", help="feat_bn, feat_pool, sum, blend=A (default: feat_bn)")
    parser.add_argument(
        "--precision",
        choices=["float32", "float16", "int8"],
        default="float32",
        help="float16: weights in half precision; int8: convolutions in 8 bits (default: float32)",
    )
    parser.add_argument(
        "--calibrate",
        nargs=2,
        type=Path,
        metavar=("VISIBLE", "INFRARED"),
        help="for int8: folders of images of each modality to find the scales with",
    )
    parser.add_argument("--calibrate-images", type=int, default=64, help="images of each folder (default: 64)")
    args = parser.parse_args(argv)
    if (args.precision == "int8") != (args.calibrate is not None):
        parser.error("--calibrate VISIBLE INFRARED goes with --precision int8, and int8 with it")
    if args.calibrate_images < 1:
        parser.error(f"--calibrate-images must be at least 1, found {args.calibrate_images}")
    if args.out is None:
        args.out = Path(args.checkpoint).with_suffix(SUFFIXES[args.format])
    return args


def evenly(images: list[Path], number: int) -> list[Path]:
    """``number`` of the images, from all of the list."""
    return images[:: max(1, len(images) // number)][:number]


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mscmreid.apis import load_config
    from mscmreid.apis.export import export
    from mscmreid.apis.test import add_flip
    from mscmreid.intake import find_images

    cfg = load_config(args.config, args.cfg_options)
    if args.flip:
        add_flip(cfg)
    calibration = None
    if args.calibrate:
        calibration = {
            modality: evenly(find_images(folder), args.calibrate_images)
            for modality, folder in zip(MODALITIES, args.calibrate, strict=True)
        }
    said = export(
        cfg,
        args.checkpoint,
        args.out,
        format=args.format,
        feature=args.feature,
        precision=args.precision,
        calibration=calibration,
    )
    files = [args.out, *([args.out.with_suffix(".bin")] if args.format == "openvino" else [])]
    size = sum(file.stat().st_size for file in files) / 1e6
    height, width = said.image_size
    print(
        f"{', '.join(map(str, files))} ({size:.1f} MB): images (N, {height}, {width}, 3) uint8, modality (N,) int64 -> "
        f"features (N, {said.dim}) float32; {said.feature}, {said.precision}, checkpoint "
        f"{(said.checkpoint_sha256 or 'none')[:12]}"
    )


if __name__ == "__main__":
    run_tool(main)
