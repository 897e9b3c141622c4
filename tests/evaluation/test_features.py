"""Feature tables: what is saved is what is loaded, feature options, errors that say what to do."""

import csv

import numpy as np
import pytest
from made_up import make_table

from mscmreid.evaluation import FeatureTable
from mscmreid.evaluation.features import feature_parts, join_flip


@pytest.mark.parametrize("how", [None, "add", "add_normalized", "mean"])
def test_mirrored_features_join_as_the_file_says(how, tmp_path):
    rng = np.random.default_rng(0)
    u, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 5, 4)).astype(np.float32))
    features = dict(feat_bn=u, feat_bn_flip=v)
    meta = {} if how is None else dict(inference=dict(flip=how))
    table = FeatureTable([str(i) for i in range(5)], [0] * 5, [1] * 5, ["visible"] * 5, features, meta)
    table.save(tmp_path / "features.npz")
    found = FeatureTable.load(tmp_path / "features.npz").matrix("feat_bn", flip=True)
    for i in range(5):
        total = u[i] + v[i]
        expected = {None: total, "add": total, "add_normalized": total / np.linalg.norm(total), "mean": total / 2}[how]
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="joined by 'add'"):
        join_flip(u, v, "max")


def test_round_trip_keeps_everything(tmp_path):
    table = make_table(flip=True)
    table.role = np.array(["query", "gallery"] * (len(table) // 2))
    table.save(tmp_path / "f.npz")
    loaded = FeatureTable.load(tmp_path / "f.npz")
    assert loaded.path == table.path and loaded.meta == table.meta and loaded.has_flip
    for name, column in table.columns.items():
        np.testing.assert_array_equal(loaded.columns[name], column)
    for name, array in table.features.items():
        np.testing.assert_array_equal(loaded.features[name], array)
    assert [file.name for file in tmp_path.iterdir()] == ["f.npz"]  # no temporary stays


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    table = make_table()
    table.save(tmp_path / "f.npz")

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        table.save(tmp_path / "f.npz")
    assert len(FeatureTable.load(tmp_path / "f.npz")) == len(table)
    assert [file.name for file in tmp_path.iterdir()] == ["f.npz"]


def write_csv(path, table, **changes):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "pid", "cam_id", "modality"])
        for row in zip(table.path, table.pid, table.cam_id, table.modality, strict=True):
            writer.writerow([changes.get("pid", row[1]) if i == 1 else value for i, value in enumerate(row)])


def test_csv_with_npy_is_memory_mapped(tmp_path):
    table = make_table()
    write_csv(tmp_path / "rows.csv", table)
    np.save(tmp_path / "f.npy", table.features["feat_bn"])
    loaded = FeatureTable.load(tmp_path / "rows.csv", tmp_path / "f.npy")
    assert isinstance(loaded.features["feat_bn"], np.memmap)
    np.testing.assert_array_equal(loaded.matrix("feat_bn"), table.matrix("feat_bn"))
    np.testing.assert_array_equal(loaded.pid, table.pid)
    write_csv(tmp_path / "rows.csv", table, pid="x12")
    with pytest.raises(ValueError, match="line 2: pid must be an integer, found 'x12'"):
        FeatureTable.load(tmp_path / "rows.csv", tmp_path / "f.npy")
    np.save(tmp_path / "f.npy", table.features["feat_bn"][:5])
    write_csv(tmp_path / "rows.csv", table)
    with pytest.raises(ValueError, match=f"has {len(table)} rows, .* has 5 features"):
        FeatureTable.load(tmp_path / "rows.csv", tmp_path / "f.npy")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("option", "shares"), [("feat_bn", (0, 1)), ("sum", (1, 1)), ("blend=0.1", (0.1, 0.9))])
def test_inner_products_are_the_named_similarity(option, shares, flip):
    table = make_table(flip=True)

    def similarity(name):
        x = table.features[name] + (table.features[name + "_flip"] if flip else 0)
        return x.astype(np.float64) @ x.T

    expected = shares[0] * similarity("feat_pool") + shares[1] * similarity("feat_bn")
    found = table.matrix(option, flip)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-5)


def test_unknown_options_and_missing_parts_are_errors():
    table = make_table()
    for option in ("blend=2", "blend=x", "blend", "blend=0"):
        with pytest.raises(ValueError, match=r"a blend is 'blend=A' with 0 < A < 1"):
            feature_parts(option)
    with pytest.raises(ValueError, match="no feature 'feat_typo' in the table; it has feat_bn, feat_pool"):
        table.matrix("feat_typo")
    with pytest.raises(ValueError, match="no feature 'feat_bn_flip'"):
        table.matrix("feat_bn", flip=True)


def test_rows_of_different_length_are_refused_until_normalised():
    table = make_table()
    unit = table.features["feat_bn"]
    table.features["feat_bn"] = unit * np.linspace(1, 9, len(table), dtype=np.float32)[:, None]
    with pytest.raises(ValueError, match="must have unit length"):
        table.matrix("feat_bn")
    np.testing.assert_allclose(table.normalized().matrix("feat_bn"), unit, atol=1e-6)
    table.features["feat_bn"][7] = 0
    with pytest.raises(ValueError, match=r"all zero in row 7 \(cam1/0002/0004.jpg\)"):
        table.normalized()


def test_files_that_do_not_fit_are_named(tmp_path):
    table = make_table()
    columns = dict(table.columns, feat_bn=table.features["feat_bn"])
    with pytest.raises(FileNotFoundError, match="expected a feature file"):
        FeatureTable.load(tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match=r"saved as \.npz"):
        table.save(tmp_path / "f.pkl")
    cases = [
        ({"cam_id": None}, "cam_id missing"),
        ({"feat_bn": None}, "no feature"),
        ({"feat_bn": columns["feat_bn"][:3]}, "feature feat_bn must have shape"),
        ({"extra": np.arange(3)}, r"\['extra'\]"),
        ({"modality": np.array(["thermal"] * len(table))}, "found 'thermal' in row 0"),
        ({"pid": table.pid[:3]}, "column pid must have one entry"),
        ({"path": np.array(table.path, dtype=object)}, "unpickling"),
    ]
    for change, message in cases:
        arrays = {name: array for name, array in {**columns, **change}.items() if array is not None}
        np.savez(tmp_path / "f.npz", **arrays)
        with pytest.raises(ValueError, match=message):
            FeatureTable.load(tmp_path / "f.npz")
    write_csv(tmp_path / "rows.csv", table)
    with pytest.raises(ValueError, match=r"give the \.npy file"):
        FeatureTable.load(tmp_path / "rows.csv")
