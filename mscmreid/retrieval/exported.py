"""Features by an exported model: onnxruntime or OpenVINO, no torch, no MMEngine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.cores import available_cores
from mscmreid.intake import Intake, decode
from mscmreid.modalities import modality_index
from mscmreid.resizing import Resize, check_size

KEY = "mscmreid"
"""Under which the description stands in a file's metadata."""
PRECISIONS = ("float32", "float16", "int8")
LONGEST_DESCRIPTION = 1 << 16
CPU = ("CPUExecutionProvider",)
RUNTIMES = (".onnx", ".xml")


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself.

    Attributes:
        config: name of the config, for people.
        config_hash: of :func:`mscmreid.apis.config.config_hash`.
        checkpoint: file name of the checkpoint, for people; None: random weights.
        checkpoint_sha256: of the checkpoint file; None: random weights.
        feature: what comes out: 'feat_bn', 'feat_pool', 'sum', 'blend=A'.
        inference: options of the model's ``inference``.
        image_size: (height, width) of the pixels that go in.
        resize: how images come to that size, see :meth:`mscmreid.resizing.Resize.parse`.
        mean, std: by modality; they are inside the file and stand here to be read.
        dim: length of a feature.
        identity: what features must share to be comparable, but for how images are read; see
            :class:`mscmreid.retrieval.encoder.Encoder`. In float32 it is that of the model itself.
        precision: 'float32', 'float16' (weights in half precision, computed in float32) or 'int8' (convolutions).
        versions: of what wrote it.
        format: of this description.
    """

    config: str
    config_hash: str
    checkpoint: str | None
    checkpoint_sha256: str | None
    feature: str
    inference: dict[str, Any]
    image_size: tuple[int, int]
    resize: Any
    mean: dict[str, list[float]]
    std: dict[str, list[float]]
    dim: int
    identity: dict[str, Any]
    precision: str = "float32"
    versions: dict[str, str] = field(default_factory=dict)
    format: int = 1

    def to_json(self) -> str:
        """As it stands in a file."""
        return json.dumps(asdict(self), allow_nan=False)

    @classmethod
    def parse(cls, text: str | None, path: str | Path) -> Description:
        """From a file's metadata.

        Raises:
            ValueError: it is missing, of another format, or a value is not what it must be.
        """
        by = f"{path} was not made by tools/export.py, or is damaged"
        if not text or len(text) > LONGEST_DESCRIPTION:
            raise ValueError(f"{by}: its metadata has no description {KEY!r}")
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{by}: its description is no JSON: {error}") from error
        names = {f.name for f in fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"{by}: its description must have {sorted(names)}")
        if values["format"] != 1:
            raise ValueError(f"{path} has format {values['format']!r}, this version reads 1: export it anew")
        texts = {name: values[name] for name in ("config", "config_hash", "feature")}
        texts |= {name: values[name] or "" for name in ("checkpoint", "checkpoint_sha256")}
        wrong = [name for name, value in texts.items() if not isinstance(value, str)]
        dicts = ("inference", "mean", "std", "identity", "versions")
        wrong += [name for name in dicts if not isinstance(values[name], dict)]
        if not isinstance(values["dim"], int) or values["dim"] < 1:
            wrong.append("dim")
        if values["precision"] not in PRECISIONS:
            wrong.append("precision")
        try:
            values["image_size"] = check_size(values["image_size"])
            Resize.parse(values["resize"])
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(f"{by}: {error}") from error
        if wrong:
            raise ValueError(f"{by}: its description has wrong values under {sorted(wrong)}")
        return cls(**values)


class ExportedEncoder:
    """An :class:`~mscmreid.retrieval.encoder.Encoder` around a file of ``tools/export.py``.

    Args:
        path: ``.onnx`` (needs onnxruntime) or ``.xml`` with its ``.bin`` (needs openvino).
        batch_size: images a forward pass.
        intake: how images are read, see :class:`mscmreid.intake.Intake`.
        num_threads: of the runtime; None: as it likes.
        providers: onnxruntime's, such as ``['CUDAExecutionProvider']``; None: the processor.

    Raises:
        FileNotFoundError: no such file.
        ImportError: the runtime is not installed.
        ValueError: the file cannot be read, or is not one of ``tools/export.py``.
    """

    def __init__(
        self,
        path: str | Path,
        batch_size: int = 32,
        intake: Intake | None = None,
        num_threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"the exported model is missing: {path}")
        if path.suffix not in RUNTIMES:
            hint = "; a .pt2 is for torch.export.load" if path.suffix == ".pt2" else ""
            raise ValueError(f"an exported model is one of {', '.join(RUNTIMES)}, found {path}{hint}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}")
        self.path, self.batch_size = path, batch_size
        if path.suffix == ".onnx":
            self._runtime: _OnnxRuntime | _OpenVINO = _OnnxRuntime(path, num_threads, providers or CPU)
        else:
            self._runtime = _OpenVINO(path, num_threads)
        self.description = Description.parse(self._runtime.text, path)
        self._check_shapes()
        self.dim, self.intake = self.description.dim, intake or Intake()
        self.identity = json.loads(json.dumps({**self.description.identity, "intake": asdict(self.intake)}))

    def encode(self, images: Sequence[Any], modality: str | Sequence[str]) -> np.ndarray:
        """(N, dim) float32, unit rows.

        Args:
            images: files, Pillow images or (H, W, 3) uint8 arrays, of any size.
            modality: 'visible' or 'infrared', of all or one of each.

        Raises:
            UnreadableImageError: an image that cannot be read, named.
            ValueError: an unknown modality, or as many modalities as there are not images.
        """
        names = [modality] * len(images) if isinstance(modality, str) else list(modality)
        if len(names) != len(images):
            raise ValueError(f"{len(images)} images need as many modalities, found {len(names)}")
        index = np.array([modality_index(name) for name in names], dtype=np.int64)
        features = np.empty((len(images), self.dim), dtype=np.float32)
        for start, pixels in self._batches(images):
            rows = slice(start, start + len(pixels))
            features[rows] = self.encode_pixels(pixels, index[rows])
        return features

    def encode_pixels(self, pixels_NHWC: np.ndarray, modality: np.ndarray) -> np.ndarray:
        """(N, dim) float32, unit rows, of pixels (N, H, W, 3) uint8 at the model's size; modality (N,) 0 or 1."""
        features = self._runtime.run(np.ascontiguousarray(pixels_NHWC), modality)
        if not np.isfinite(features).all():
            exact = self.description.precision == "float32"
            advice = "look at the checkpoint it was made of" if exact else "export it with --precision float32"
            raise ValueError(f"{self.path} gives NaN or infinite features: {advice}")
        return features

    def _batches(self, images: Sequence[Any]) -> Iterator[tuple[int, np.ndarray]]:
        """(start, pixels of a batch); the next batch is decoded meanwhile."""
        with ThreadPoolExecutor(min(8, available_cores())) as pool:

            def submit(start: int) -> list[Future]:
                batch = images[start : start + self.batch_size]
                return [pool.submit(pixels_of, image, self.description, self.intake) for image in batch]

            jobs = submit(0)
            for start in range(0, len(images), self.batch_size):
                current, jobs = jobs, submit(start + self.batch_size)
                yield start, np.stack([job.result() for job in current])

    def _check_shapes(self) -> None:
        """ValueError where the graph is not what its description says."""
        height, width = self.description.image_size
        expected = [("images", [height, width, 3]), ("modality", []), ("features", [self.description.dim])]
        found = [(name, list(shape[1:])) for name, shape in self._runtime.shapes]
        if found != expected:
            raise ValueError(f"{self.path} is damaged: its description says {expected}, its graph has {found}")


def pixels_of(image: Any, description: Description, intake: Intake | None = None) -> np.ndarray:
    """(H, W, 3) uint8 at the model's size, of a file, a Pillow image or an array of any size.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    decoded = decode(image, intake or Intake())
    return np.asarray(Resize.parse(description.resize)(decoded, description.image_size))


class _OnnxRuntime:
    """A session of onnxruntime."""

    def __init__(self, path: Path, num_threads: int | None, providers: Sequence[str]) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{path} needs onnxruntime: pip install 'mscmreid[export]' or onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if num_threads:
            options.intra_op_num_threads = num_threads
        unknown = sorted({*providers} - {*onnxruntime.get_available_providers()})
        if unknown:
            raise ValueError(f"this onnxruntime has {onnxruntime.get_available_providers()}, not {unknown}")
        try:  # as bytes: a graph then cannot name other files as its weights
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=list(providers))
        except OSError:
            raise
        except Exception as error:  # classes of onnxruntime's C++ part, all below Exception
            raise ValueError(f"{path} is no ONNX file that can be run: {str(error).splitlines()[0]}") from error
        self.text = self.session.get_modelmeta().custom_metadata_map.get(KEY)
        self.shapes = [(value.name, value.shape) for value in (*self.session.get_inputs(), *self.session.get_outputs())]

    def run(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        return self.session.run(["features"], {"images": images, "modality": modality})[0]


class _OpenVINO:
    """A compiled model of OpenVINO, in float32 whatever the processor would like better."""

    def __init__(self, path: Path, num_threads: int | None) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ImportError(f"{path} needs OpenVINO: pip install 'mscmreid[export]' or openvino") from error
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if num_threads:
            config["INFERENCE_NUM_THREADS"] = num_threads
        try:
            model = openvino.Core().read_model(path)
            self.text = model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None
            ports = (*model.inputs, *model.outputs)
            self.shapes = [
                (port.any_name, [-1 if side.is_dynamic else side.get_length() for side in port.partial_shape])
                for port in ports
            ]
            self.compiled = openvino.compile_model(model, "CPU", config)
        except Exception as error:
            raise ValueError(f"{path} is no OpenVINO file that can be run: {str(error).splitlines()[0]}") from error

    def run(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        return np.array(self.compiled({"images": images, "modality": modality})["features"])
