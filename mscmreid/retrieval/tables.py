"""A gallery for other programs: CSV, Parquet, a FiftyOne data set on disk."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mscmreid.fileio import written_atomically
from mscmreid.retrieval.filters import Filter
from mscmreid.retrieval.gallery import Gallery, Hit
from mscmreid.tables import csv_lines

FORMATS = {".csv": "csv", ".parquet": "parquet"}
KNOWN = ("row", "path", "modality", "camera", "time", "id")
BLOCK = 4096


def export_gallery(
    gallery: Gallery, out: str | Path, kind: str, where: Filter | Mapping[str, Any] | None = None, features: bool = True
) -> int:
    """Write what a gallery knows of its images, and their features.

    A CSV has a column ``feature_0``, ``feature_1``, ... a value (nine digits: float32 comes back exactly); a Parquet
    file has one column ``feature`` of fixed-size lists of float32, and the encoder's identity in its metadata; a
    FiftyOne data set has samples with ``modality``, ``camera``, ``time``, ``ground_truth`` (a Classification of the
    id) and ``embedding``.

    Args:
        out: file, or for 'fiftyone' a new folder.
        kind: 'csv', 'parquet' or 'fiftyone'.
        where: only these images.
        features: with features.

    Returns:
        How many images.

    Raises:
        ImportError: pyarrow (extra ``parquet``) or fiftyone (extra ``fiftyone``) is not installed.
        ConnectionError: FiftyOne found no MongoDB to write through.
        ValueError: an unknown kind, or no image meets the filter.
    """
    writers = {"csv": _write_csv, "parquet": _write_parquet, "fiftyone": _write_fiftyone}
    if kind not in writers:
        raise ValueError(f"a gallery is written as {', '.join(writers)}, found {kind!r}")
    hits = gallery.hits(where)
    if not hits:
        raise ValueError(f"no image of {gallery.path} meets the filter")
    writers[kind](gallery, hits, Path(out), features)
    return len(hits)


def _blocks(gallery: Gallery, hits: list[Hit], features: bool) -> Iterator[tuple[list[Hit], np.ndarray]]:
    """Some images and their (n, dim) features, one part behind another; (n, 0) without features."""
    for start in range(0, len(hits), BLOCK):
        part = hits[start : start + BLOCK]
        yield part, gallery.features([hit.row for hit in part]) if features else np.zeros((len(part), 0), np.float32)


def _known(hit: Hit) -> tuple:
    return tuple(getattr(hit, name) for name in KNOWN)


def _write_csv(gallery: Gallery, hits: list[Hit], out: Path, features: bool) -> None:
    names = [f"feature_{i}" for i in range(gallery.dim if features else 0)]
    with (
        written_atomically(out) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="replace") as file,
    ):
        csv.writer(file, lineterminator="\n").writerow([*KNOWN, *names])
        for part, values in _blocks(gallery, hits, features):
            csv_lines(
                ([*_known(hit), *(f"{v:.9g}" for v in row)] for hit, row in zip(part, values.tolist(), strict=True)),
                file,
            )


def _write_parquet(gallery: Gallery, hits: list[Hit], out: Path, features: bool) -> None:
    import json

    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install 'mscmreid[parquet]'") from error
    types = dict(zip(KNOWN, (pyarrow.int64(), *[pyarrow.string()] * 5), strict=True))
    if features:
        types["feature"] = pyarrow.list_(pyarrow.float32(), gallery.dim)
    schema = pyarrow.schema(list(types.items()), metadata={"mscmreid": json.dumps(gallery.identity)})
    with written_atomically(out) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for part, values in _blocks(gallery, hits, features):
            columns = [list(column) for column in zip(*map(_known, part), strict=True)]
            columns[1] = [path.encode("utf-8", "replace").decode() for path in columns[1]]
            arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, list(types.values()), strict=False)]
            if features:
                flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
                arrays.append(pyarrow.FixedSizeListArray.from_arrays(flat, gallery.dim))
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def fiftyone_sample(hit: Hit, feature: list[float] | None) -> dict[str, Any]:
    """Fields of a FiftyOne sample, ``ground_truth`` as the text of its label."""
    sample: dict[str, Any] = dict(filepath=hit.path, tags=[hit.modality], modality=hit.modality, gallery_row=hit.row)
    for name, value in (("camera", hit.camera), ("time", hit.time), ("ground_truth", hit.id), ("embedding", feature)):
        if value is not None:
            sample[name] = value
    return sample


def _write_fiftyone(gallery: Gallery, hits: list[Hit], out: Path, features: bool) -> None:
    try:
        import fiftyone
    except ImportError as error:
        raise ImportError("FiftyOne data sets need fiftyone: pip install 'mscmreid[fiftyone]'") from error
    try:
        dataset = fiftyone.Dataset()
    except (ConnectionError, fiftyone.core.config.FiftyOneConfigError) as error:
        raise ConnectionError(
            f"FiftyOne writes data sets through MongoDB, and found none ({error}). Start a mongod and name it, for "
            "example FIFTYONE_DATABASE_URI=mongodb://127.0.0.1:27017"
        ) from error
    try:
        for part, values in _blocks(gallery, hits, features):
            samples = []
            for hit, row in zip(part, values.tolist(), strict=True):
                fields = fiftyone_sample(hit, row if features else None)
                if "ground_truth" in fields:
                    fields["ground_truth"] = fiftyone.Classification(label=fields["ground_truth"])
                samples.append(fiftyone.Sample(**fields))
            dataset.add_samples(samples)
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
            written = Path(temporary, "dataset")
            dataset.export(str(written), dataset_type=fiftyone.types.FiftyOneDataset, export_media=False)
            os.replace(written, out)
    finally:
        dataset.delete()
