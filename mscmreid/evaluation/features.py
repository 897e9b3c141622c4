"""Features of a data set's images with the metadata of every row: what is collected, saved, and scored."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.evaluation.similarity import norms
from mscmreid.fileio import written_atomically

COLUMNS = ("path", "pid", "cam_id", "modality")
FLIP = "_flip"


@dataclass
class FeatureTable:
    """One row an image.

    Attributes:
        path: image paths, relative to the data root.
        pid, cam_id: (N,) int64.
        modality: (N,) str, 'visible' or 'infrared'.
        features: name -> (N, D) float32, rows of one length (unit length as our models write them). ``X_flip`` holds
            the features ``X`` of the mirrored images.
        meta: JSON values: dataset_name, split, data_root, checkpoint, checkpoint_sha256, config_hash, versions, ...;
            whatever is known.
        role: (N,) str or None: 'query', 'gallery' or '' of data that has such a column.
    """

    path: list[str]
    pid: np.ndarray
    cam_id: np.ndarray
    modality: np.ndarray
    features: dict[str, np.ndarray]
    meta: dict[str, Any] = field(default_factory=dict)
    role: np.ndarray | None = None

    def __post_init__(self) -> None:
        num_rows = len(self.path)
        self.pid = np.asarray(self.pid, dtype=np.int64)
        self.cam_id = np.asarray(self.cam_id, dtype=np.int64)
        self.modality = np.asarray(self.modality, dtype=str)
        for name in ("pid", "cam_id", "modality", "role"):
            column = getattr(self, name)
            if column is not None and np.shape(column) != (num_rows,):
                raise ValueError(
                    f"column {name} must have one entry for each of {num_rows} paths, found {column.shape}"
                )
        unknown = sorted(set(self.modality.tolist()) - {"visible", "infrared"})
        if unknown:
            row = int(np.flatnonzero(self.modality == unknown[0])[0])
            raise ValueError(
                f"modality must be 'visible' or 'infrared', found {unknown[0]!r} in row {row} ({self.path[row]})"
            )
        for name, array in self.features.items():
            if array.ndim != 2 or len(array) != num_rows:
                raise ValueError(f"feature {name} must have shape ({num_rows}, D), found {array.shape}")

    def __len__(self) -> int:
        return len(self.path)

    @property
    def columns(self) -> dict[str, Any]:
        """The metadata columns, as protocols read them."""
        columns = dict(path=self.path, pid=self.pid, cam_id=self.cam_id, modality=self.modality)
        return columns if self.role is None else {**columns, "role": self.role}

    @property
    def has_flip(self) -> bool:
        """Whether every feature also stands there for the mirrored images."""
        plain = [name for name in self.features if not name.endswith(FLIP)]
        return bool(plain) and all(name + FLIP in self.features for name in plain)

    def matrix(self, feature: str, flip: bool = False) -> np.ndarray:
        """(N, D) array whose inner products are the similarities of a feature option.

        Args:
            feature: a name in ``features``; 'sum': the sum of the similarities of feat_pool and feat_bn; 'blend=A':
                A x the similarity of feat_pool + (1 - A) x that of feat_bn. A sum of similarities is the similarity
                of concatenated features.
            flip: join the feature of the mirrored image as ``meta['inference']['flip']`` says; see :func:`join_flip`.

        Raises:
            ValueError: unknown option, a part that the table lacks, rows of different length.
        """
        parts = []
        for name, weight in feature_parts(feature):
            array = self._checked(name)
            if flip:
                array = join_flip(array, self._checked(name + FLIP), (self.meta.get("inference") or {}).get("flip"))
            parts.append(array if weight == 1 else np.float32(np.sqrt(weight)) * array)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _checked(self, name: str) -> np.ndarray:
        if name not in self.features:
            raise ValueError(f"no feature {name!r} in the table; it has {', '.join(sorted(self.features)) or 'none'}")
        array = self.features[name]
        sample = np.asarray(array[:: max(1, len(array) // 4096)], dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.linalg.norm(sample, axis=1)
        lengths = lengths[np.isfinite(lengths)]  # rows that are not finite are named when they are ranked
        if len(lengths) and lengths.max() > 1.02 * lengths.min():
            raise ValueError(
                f"the rows of {name} must have one length (unit length), found {lengths.min():.4g} to "
                f"{lengths.max():.4g}; normalise them (tools/eval_features.py --normalize)"
            )
        return array

    def normalized(self) -> FeatureTable:
        """The same table with every feature row scaled to unit length.

        Raises:
            ValueError: a row of zeros.
        """
        features = {}
        for name, array in self.features.items():
            lengths = norms(array)
            if (lengths == 0).any():
                row = int(np.flatnonzero(lengths[:, 0] == 0)[0])
                raise ValueError(f"feature {name} is all zero in row {row} ({self.path[row]}): it has no direction")
            features[name] = np.asarray(array, dtype=np.float32) / lengths.astype(np.float32)
        return FeatureTable(self.path, self.pid, self.cam_id, self.modality, features, dict(self.meta), self.role)

    def save(self, path: str | Path) -> None:
        """Write an .npz (no pickled objects), moved into place when complete."""
        if Path(path).suffix != ".npz":
            raise ValueError(f"features are saved as .npz, found {path}")
        columns = {name: np.asarray(column) for name, column in self.columns.items()}
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **columns, **self.features, meta=np.array(json.dumps(self.meta)))  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path, npy: str | Path | None = None) -> FeatureTable:
        """Read what :meth:`save` wrote, or other people's features. Nothing is unpickled.

        Args:
            path: an .npz with arrays ``path, pid, cam_id, modality`` (``role``, ``meta`` as JSON text if there), every
                other two-dimensional float array being a feature; or a .csv with columns of those names, one line a
                row, whose features are in ``npy``.
            npy: (N, D) array for a .csv; memory-mapped. Becomes the feature 'feat_bn'.

        Raises:
            FileNotFoundError: no such file.
            ValueError: missing columns, counts that differ, contents that would need unpickling.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no feature file {path}")
        if path.suffix == ".csv":
            if npy is None:
                raise ValueError(f"{path} is a table of rows: give the .npy file with their features, too")
            return cls._load_csv(path, Path(npy))
        if path.suffix != ".npz":
            raise ValueError(f"a feature file is an .npz, or a .csv with an .npy, found {path}")
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except ValueError as error:
            raise ValueError(f"{path} cannot be read without unpickling objects, which is refused: {error}") from error
        _require_columns(list(arrays), path)
        meta = json.loads(str(arrays.pop("meta"))) if "meta" in arrays else {}
        role = arrays.pop("role", None)
        columns = {name: arrays.pop(name) for name in COLUMNS}
        features = {
            name: np.asarray(array, dtype=np.float32)
            for name, array in arrays.items()
            if array.ndim == 2 and array.dtype.kind == "f"
        }
        strange = sorted(set(arrays) - set(features))
        if strange or not features:
            raise ValueError(
                f"every array of {path} beyond {COLUMNS}, role and meta must be a feature (N, D) of floats; found "
                f"{strange or 'no feature'}"
            )
        return cls([str(p) for p in columns.pop("path")], **columns, features=features, meta=meta, role=role)

    @classmethod
    def _load_csv(cls, path: Path, npy: Path) -> FeatureTable:
        if not npy.is_file():
            raise FileNotFoundError(f"no feature file {npy}")
        features = np.load(npy, allow_pickle=False, mmap_mode="r")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            _require_columns(reader.fieldnames or [], path)
            rows = list(reader)
        numbers = {name: np.zeros(len(rows), dtype=np.int64) for name in ("pid", "cam_id")}
        for i, row in enumerate(rows):
            for name, column in numbers.items():
                try:
                    column[i] = int(row[name])
                except (TypeError, ValueError):
                    raise ValueError(f"{path}, line {i + 2}: {name} must be an integer, found {row[name]!r}") from None
        role = np.array([row["role"] for row in rows]) if "role" in (reader.fieldnames or []) else None
        if len(features) != len(rows):
            raise ValueError(f"{path} has {len(rows)} rows, {npy} has {len(features)} features: they must be as many")
        modality = np.array([row["modality"] for row in rows])
        paths, feature = [row["path"] for row in rows], dict(feat_bn=features)
        return cls(paths, numbers["pid"], numbers["cam_id"], modality, feature, role=role)


def join_flip(features: np.ndarray, mirrored: np.ndarray, how: str | None = None) -> np.ndarray:
    """Features u (N, D) of images, joined with those u' of the mirrored ones.

    Args:
        how: 'add' (also None): u + u'; 'add_normalized': (u + u') / ||u + u'||; 'mean': (u + u') / 2.

    Raises:
        ValueError: an unknown way.
    """
    total = features + mirrored
    if how in (None, "add"):
        return total
    if how == "mean":
        return total / 2
    if how == "add_normalized":
        return total / np.linalg.norm(total, axis=1, keepdims=True)
    raise ValueError(f"mirrored images are joined by 'add', 'add_normalized' or 'mean', found {how!r}")


def feature_parts(feature: str) -> list[tuple[str, float]]:
    """A feature option as (feature name, weight of its similarity) pairs.

    >>> feature_parts("blend=0.1")
    [('feat_pool', 0.1), ('feat_bn', 0.9)]
    """
    if feature == "sum":
        return [("feat_pool", 1.0), ("feat_bn", 1.0)]
    if feature.startswith("blend"):
        try:
            share = float(feature.removeprefix("blend="))
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            raise ValueError(f"a blend is 'blend=A' with 0 < A < 1 (the share of feat_pool), found {feature!r}")
        return [("feat_pool", share), ("feat_bn", 1 - share)]
    return [(feature, 1.0)]


def _require_columns(names: Sequence[str], path: Path) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ValueError(f"{path} must have the columns {', '.join(COLUMNS)}; {', '.join(missing)} missing in {names}")
