"""A gallery as CSV, Parquet and FiftyOne samples: everything that is known, and features to the last bit."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from colour_gallery import make_gallery
from tool_modules import load_tool

from mscmreid.retrieval.tables import KNOWN, export_gallery, fiftyone_sample


@pytest.fixture
def gallery(tmp_path):
    return make_gallery(tmp_path)


def test_a_csv_holds_all_that_is_known_and_the_features(gallery, tmp_path):
    load_tool("search").main(["export", str(gallery.path), "--out", str(tmp_path / "all.csv")])
    with (tmp_path / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    hits = gallery.hits()
    assert [row["path"] for row in rows] == [hit.path for hit in hits]
    assert [row["camera"] for row in rows] == [hit.camera for hit in hits]
    features = np.array([[row[f"feature_{i}"] for i in range(3)] for row in rows], dtype=np.float32)
    np.testing.assert_array_equal(features, gallery.features([hit.row for hit in hits]))
    with pytest.raises(ValueError, match="is there already"):
        load_tool("search").main(["export", str(gallery.path), "--out", str(tmp_path / "all.csv")])


def test_a_parquet_file_holds_the_same_and_whose_features_these_are(gallery, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    path = tmp_path / "night.parquet"
    assert export_gallery(gallery, path, "parquet", dict(modality="infrared")) == 12
    table = parquet.read_table(path)
    hits = gallery.hits(dict(modality="infrared"))
    for name in KNOWN:
        assert table[name].to_pylist() == [getattr(hit, name) for hit in hits]
    np.testing.assert_array_equal(
        np.array(table["feature"].to_pylist(), dtype=np.float32), gallery.features([hit.row for hit in hits])
    )
    assert json.loads(table.schema.metadata[b"mscmreid"]) == gallery.identity
    export_gallery(gallery, path, "parquet", features=False)
    assert parquet.read_table(path).column_names == list(KNOWN)


def test_a_fiftyone_sample_has_what_is_known_only(gallery):
    named, unnamed = gallery.hits()[0], gallery.hits(dict(camera="1"))[-1]
    sample = fiftyone_sample(named, [1.0, 0.0, 0.0])
    assert sample["filepath"] == named.path and sample["ground_truth"] == "red" and sample["embedding"] == [1, 0, 0]
    assert sample["tags"] == ["visible"] and sample["camera"] == "1" and sample["time"].startswith("2026-11-25")
    unlabelled = next(hit for hit in gallery.hits() if hit.id is None)
    assert "ground_truth" not in fiftyone_sample(unlabelled, None) and unnamed.camera == "1"


class FakeFiftyOne(types.ModuleType):
    """As much of FiftyOne as a data set's way to its folder takes; ``broken`` says where it fails."""

    def __init__(self, broken: str = "") -> None:
        super().__init__("fiftyone")
        self.broken, self.samples, self.deleted = broken, [], 0
        self.core = types.SimpleNamespace(config=types.SimpleNamespace(FiftyOneConfigError=LookupError))
        self.types = types.SimpleNamespace(FiftyOneDataset="FiftyOneDataset")
        self.Sample = self.Classification = dict

    def Dataset(self):
        if self.broken == "server":
            raise LookupError("MongoDB could not be installed")
        return self

    def add_samples(self, samples):
        self.samples += samples

    def export(self, folder, dataset_type, export_media):
        assert not export_media
        Path(folder).mkdir()
        Path(folder, "samples.json").write_text(json.dumps(self.samples))
        if self.broken == "disk":
            raise OSError("no space left")

    def delete(self):
        self.deleted += 1


def test_a_fiftyone_data_set_is_in_its_folder_whole_or_not_at_all(gallery, tmp_path, monkeypatch):
    out = tmp_path / "new" / "dataset"
    for broken, error in (("server", "found none .*FIFTYONE_DATABASE_URI"), ("disk", "no space left")):
        fake = FakeFiftyOne(broken)
        monkeypatch.setitem(sys.modules, "fiftyone", fake)
        with pytest.raises(OSError, match=error):
            export_gallery(gallery, out, "fiftyone")
        assert fake.deleted == (broken == "disk") and not list(tmp_path.glob("new/*"))
    monkeypatch.setitem(sys.modules, "fiftyone", FakeFiftyOne())
    assert export_gallery(gallery, out, "fiftyone") == len(gallery.hits())
    samples = json.loads((out / "samples.json").read_text())
    assert [s["filepath"] for s in samples] == [hit.path for hit in gallery.hits()]
    assert samples[0]["ground_truth"] == {"label": "red"} and len(samples[0]["embedding"]) == 3
    assert [path.name for path in out.parent.iterdir()] == ["dataset"]


def test_what_cannot_be_written_is_told(gallery, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="written as csv, parquet, fiftyone"):
        export_gallery(gallery, tmp_path / "x", "xlsx")
    with pytest.raises(ValueError, match="meets the filter"):
        export_gallery(gallery, tmp_path / "x.csv", "csv", dict(camera="9"))
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    with pytest.raises(ImportError, match=r"mscmreid\[fiftyone\]"):
        export_gallery(gallery, tmp_path / "x", "fiftyone")
    assert not (tmp_path / "x").exists()
