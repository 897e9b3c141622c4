"""Features of a data set's images with the metadata of every row: what is collected, saved, and scored."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.arrays import check_digest, content_digest, map_npy, read_npz
from mscmreid.evaluation.similarity import TILE, check_finite, norms
from mscmreid.fileio import written_atomically
from mscmreid.gate import damage_named, damaged, read_text
from mscmreid.modalities import MODALITIES

COLUMNS = ("path", "pid", "cam_id", "modality")
TEXTS, NUMBERS = ("path", "modality", "role"), ("pid", "cam_id")
DIGEST = "content_sha256"
"""Key of a feature file's ``meta``: see :func:`mscmreid.arrays.content_digest`."""
LENGTH_TOLERANCE = 0.02
"""How far from 1 the length of a row may be (half precision is within 0.001)."""
META_KINDS: dict[tuple[str, ...], type] = {
    ("dataset_name", "split", "data_root", "checkpoint", "checkpoint_sha256", "config_hash", "stage", "resize"): str,
    ("inference", "versions", "condition"): dict,
    ("normalized",): bool,
}
FLIP = "_flip"


@dataclass
class FeatureTable:
    """One row an image.

    Attributes:
        path: image paths, relative to the data root.
        pid, cam_id: (N,) int64.
        modality: (N,) str, 'visible' or 'infrared'.
        features: name -> (N, D) float32, D > 0, rows of unit length where they are scored. ``X_flip`` holds the
            features ``X`` of the mirrored images.
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
        self.pid = _integers("pid", self.pid)
        self.cam_id = _integers("cam_id", self.cam_id)
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
            if array.ndim != 2 or len(array) != num_rows or not array.shape[1]:
                raise ValueError(f"feature {name} must have shape ({num_rows}, D), D > 0, found {array.shape}")
            if array.dtype.kind != "f":
                raise ValueError(f"feature {name} must be floats, found {array.dtype}")
        _check_unique(self.path)

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
            ValueError: unknown option, a part that the table lacks, rows of another length than 1, or all the same.
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
        _check_directions(array, name, self.path)
        return array

    def check_varied(self) -> None:
        """Raise a ValueError if all rows of a feature are the same (all zero, say): a ranking by them says nothing."""
        for name, array in self.features.items():
            starts = range(0, len(array), TILE)
            if len(array) > 1 and all((array[start : start + TILE] == array[0]).all() for start in starts):
                raise ValueError(
                    f"all {len(array)} rows of {name} are the same, so a ranking by them says nothing: look at the "
                    "model that made them, and at its weights"
                )

    def normalized(self) -> FeatureTable:
        """The same table with every feature row scaled to unit length; ``meta['normalized']`` says so.

        Raises:
            ValueError: a row of zeros, NaN or infinite values.
        """
        features = {}
        for name, array in self.features.items():
            check_finite(array, np.arange(len(array)), f"feature {name}", self.path)
            lengths = norms(array)
            if (lengths == 0).any():
                row = int(np.flatnonzero(lengths[:, 0] == 0)[0])
                raise ValueError(f"feature {name} is all zero in row {row} ({self.path[row]}): it has no direction")
            features[name] = (array / lengths).astype(np.float32)
        meta = dict(self.meta, normalized=True)
        return FeatureTable(self.path, self.pid, self.cam_id, self.modality, features, meta, self.role)

    def save(self, path: str | Path) -> None:
        """Write an .npz (no pickled objects) with a digest of its content, moved into place when complete."""
        if Path(path).suffix != ".npz":
            raise ValueError(f"features are saved as .npz, found {path}")
        columns = {name: np.asarray(column) for name, column in self.columns.items()}
        meta = {**self.meta, DIGEST: content_digest({**columns, **self.features}, self.meta)}
        with written_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **columns, **self.features, meta=np.array(json.dumps(meta)))  # type: ignore[arg-type]

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
            DamagedFileError: damaged, contents that would need unpickling; ours whose content differs from its digest.
            ValueError: missing columns, counts that differ, ids or cameras that are no integers, an image twice.
        """
        path = Path(path)
        if path.suffix == ".csv":
            if npy is None:
                raise ValueError(f"{path} is a table of rows: give the .npy file with their features, too")
            return cls._load_csv(path, Path(npy))
        if path.suffix != ".npz":
            raise ValueError(f"a feature file is an .npz, or a .csv with an .npy, found {path}")
        arrays = read_npz(path, "a feature file (.npz)")
        _require_columns(list(arrays), path)
        meta = _read_meta(arrays.pop("meta", None), path)
        if DIGEST in meta:  # ours; files of other code have none
            check_digest(meta.pop(DIGEST), arrays, meta, path, "Extract the features again")
        role = arrays.pop("role", None)
        columns = {name: arrays.pop(name) for name in COLUMNS}
        for name, column in {**columns, "role": role}.items():
            if column is not None and ((column.dtype.kind == "U") != (name in TEXTS) or column.ndim != 1):
                kind = f"texts ({', '.join(MODALITIES)})" if name == "modality" else "texts"
                kind = kind if name in TEXTS else "integers"
                found = f"{column.dtype} of shape {column.shape}"
                raise damaged(path, f"column {name} must be {kind}, one a row, found {found}", "Write the file anew")
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
        with _named(path):
            table = cls(columns.pop("path").tolist(), **columns, features=features, meta=meta, role=role)
            table.check_varied()
        return table

    @classmethod
    def _load_csv(cls, path: Path, npy: Path) -> FeatureTable:
        features = map_npy(npy, "a feature file (.npy)")
        text = read_text(path, "a table of rows (.csv)", encoding="utf-8-sig")
        with damage_named(path, "a table of rows (.csv)"):
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            rows, names = list(reader), list(reader.fieldnames or [])
        _require_columns(names, path)
        if len(set(names)) < len(names):
            raise ValueError(f"{path} must have each column once, found {names}")
        for line, row in enumerate(rows, start=2):
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {line}: expected {len(names)} cells, one a column")
        columns = {name: [_integer(row[name], name, path, i + 2) for i, row in enumerate(rows)] for name in NUMBERS}
        role = np.array([row["role"] for row in rows]) if "role" in names else None
        if len(features) != len(rows):
            raise ValueError(f"{path} has {len(rows)} rows, {npy} has {len(features)} features: they must be as many")
        modality = np.array([row["modality"] for row in rows])
        with _named(path):
            paths, feature = [row["path"] for row in rows], dict(feat_bn=features)
            pid, cam_id = np.array(columns["pid"]), np.array(columns["cam_id"])
            table = cls(paths, pid, cam_id, modality, feature, role=role)
            table.check_varied()
        return table


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A ValueError over the content of ``path`` names it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _integers(name: str, column: Any) -> np.ndarray:
    """A column as int64; nothing is cast that is not an integer."""
    found = np.asarray(column)
    if not found.size:
        return found.astype(np.int64)
    if found.dtype.kind not in "iu" or (found.dtype == np.uint64 and found.max() > np.iinfo(np.int64).max):
        example = found.ravel()[:1].tolist()[0]
        raise ValueError(f"column {name} must be integers, found {found.dtype}, such as {example!r}")
    return found.astype(np.int64)


def _integer(text: str, name: str, path: Path, line: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text.strip()):
        raise ValueError(f"{path}, line {line}: {name} must be an integer, found {text!r}")
    return int(text)


def _check_unique(paths: Sequence[str]) -> None:
    """Every image is one row: an image that stands twice would find itself."""
    plain = [
        posixpath.normpath(path) if path.startswith("./") or "//" in path or "/." in path else path for path in paths
    ]
    if len(set(plain)) < len(plain):
        first: dict[str, int] = {}
        for row, path in enumerate(plain):
            if first.setdefault(path, row) != row:
                raise ValueError(f"rows must be different images, found {path!r} in rows {first[path]} and {row}")


def _check_directions(features: np.ndarray, name: str, paths: Sequence[str]) -> None:
    """Rows must be of unit length, which similarities and their sums assume.

    Rows that are not finite are passed over: they are named when they are ranked.
    """
    for start in range(0, len(features), TILE):
        rows = np.asarray(features[start : start + TILE], dtype=np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
            wrong = np.flatnonzero(~(np.abs(lengths - 1) <= LENGTH_TOLERANCE))
            wrong = wrong[np.isfinite(rows[wrong]).all(axis=1)]
            if len(wrong):
                row, length = start + int(wrong[0]), np.linalg.norm(rows[wrong[0]].astype(np.float64))
                raise ValueError(
                    f"the rows of {name} must have unit length, found {length:.4g} in row {row} "
                    f"({paths[row]}); normalise them (tools/eval_features.py --normalize)"
                )


def _read_meta(array: np.ndarray | None, path: Path) -> dict[str, Any]:
    """The JSON object in a feature file's ``meta``, with values of the kinds that are read here."""
    if array is None:
        return {}
    with damage_named(path, "a feature file's meta"):
        if array.dtype.kind != "U" or array.size != 1:
            raise ValueError(f"expected one JSON text, found {array.dtype} of shape {array.shape}")
        meta = json.loads(str(array.reshape(-1)[0]))
        if not isinstance(meta, dict):
            raise ValueError(f"expected a JSON object, found {type(meta).__name__}")
        for names, kind in META_KINDS.items():
            for key in names:
                if not isinstance(meta.get(key), kind | None):
                    raise ValueError(f"{key} must be of type {kind.__name__}, found {meta[key]!r}")
    return meta


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
