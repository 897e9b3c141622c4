"""Numbers are made only of features and columns that can mean something."""

import json
import os
import zipfile

import numpy as np
import pytest
from made_up import make_table

from mscmreid.arrays import content_digest
from mscmreid.evaluation import FeatureTable, GeneralProtocol, evaluate
from mscmreid.evaluation.features import DIGEST
from mscmreid.gate import DamagedFileError

PROTOCOL = GeneralProtocol(dict(modality="infrared"), dict(modality="visible"))


@pytest.fixture
def arrays():
    """A feature file of other code."""
    table = make_table()
    return dict(table.columns, path=np.array(table.path), feat_bn=table.features["feat_bn"])


def score(arrays, path, normalize=False):
    np.savez(path, **arrays)
    table = FeatureTable.load(path)
    table = table.normalized() if normalize else table
    return evaluate(table, [PROTOCOL], ["feat_bn"])[0].result


def change(arrays, what):
    n, features = len(arrays["pid"]), arrays["feat_bn"]
    match what:
        case "ids are -1":
            arrays["pid"] = np.full(n, -1)
        case "ids are truth values":
            arrays["pid"] = arrays["pid"] > 3
        case "ids are floats":
            arrays["pid"] = arrays["pid"].astype(np.float64)
        case "ids are NaN":
            arrays["pid"] = np.full(n, np.nan)
        case "ids are text":
            arrays["pid"] = arrays["pid"].astype(str)
        case "ids are too large":
            arrays["pid"] = arrays["pid"].astype(np.uint64) + np.uint64(2**63)
        case "cameras are floats":
            arrays["cam_id"] = arrays["cam_id"] + 0.5
        case "an image twice":
            arrays["path"][5] = arrays["path"][9]
        case "an image twice, spelt otherwise":
            arrays["path"] = arrays["path"].astype("U40")
            arrays["path"][5] = "./" + str(arrays["path"][9])
        case "all zero":
            features[:] = 0
        case "a row of zeros":
            features[7] = 0
        case "no width":
            arrays["feat_bn"] = features[:, :0]
        case "all the same":
            features[:] = features[0]
        case "huge":
            features *= np.float32(1e30)
        case "one huge row":
            features[7] *= np.float32(1e38)
        case "NaN":
            features[7, 3] = np.nan
        case "infinite":
            features[7, 3] = np.inf
        case "integers":
            arrays["feat_bn"] = (features * 100).astype(np.int32)
        case "meta is a list":
            arrays["meta"] = np.array("[1]")
        case "meta is no JSON":
            arrays["meta"] = np.array("{")
        case "meta of other kinds":
            arrays["meta"] = np.array(json.dumps(dict(dataset_name=3)))
        case "paths are bytes":
            arrays["path"] = arrays["path"].astype("S")
        case "paths are a square":
            arrays["path"] = np.stack([arrays["path"]] * 2, axis=1)


REFUSED = [
    ("ids are -1", "ids must be integers of 0 or more"),
    ("ids are truth values", "column pid must be integers, found bool, such as "),
    ("ids are floats", "column pid must be integers, found float64"),
    ("ids are NaN", "column pid must be integers, found float64, such as nan"),
    ("ids are text", "column pid must be integers"),
    ("ids are too large", "column pid must be integers"),
    ("cameras are floats", "column cam_id must be integers"),
    ("an image twice", "rows must be different images"),
    ("an image twice, spelt otherwise", "rows must be different images"),
    ("all zero", "are the same, so a ranking by them says nothing"),
    ("a row of zeros", r"unit length, found 0 in row 7 \(cam"),
    ("no width", "D > 0"),
    ("all the same", "are the same, so a ranking by them says nothing"),
    ("huge", "unit length, found 1e.30 in row 0"),
    ("one huge row", r"unit length|finite"),
    ("NaN", r"must be finite.*row 7 \(cam"),
    ("infinite", r"must be finite.*row 7 \(cam"),
    ("integers", "must be a feature"),
    ("meta is a list", "expected a JSON object"),
    ("meta is no JSON", "cannot be read as a feature file's meta"),
    ("meta of other kinds", "dataset_name must be of type str"),
    ("paths are bytes", "column path must be texts"),
    ("paths are a square", "column path must be texts, one a row"),
]


@pytest.mark.parametrize(("what", "message"), REFUSED, ids=[what for what, _ in REFUSED])
def test_what_means_nothing_is_refused(what, message, arrays, tmp_path):
    change(arrays, what)
    with pytest.raises(ValueError, match=message):
        score(arrays, tmp_path / "f.npz")


@pytest.mark.parametrize("what", ["all zero", "a row of zeros", "NaN", "infinite", "all the same"])
def test_what_has_no_direction_cannot_be_normalised_either(what, arrays, tmp_path):
    change(arrays, what)
    with pytest.raises(ValueError):
        score(arrays, tmp_path / "f.npz", normalize=True)


def test_released_features_of_any_length_are_normalised_and_the_result_says_so(arrays, tmp_path):
    plain = score(arrays, tmp_path / "f.npz")
    assert not plain.normalized
    arrays["feat_bn"] = arrays["feat_bn"] * np.linspace(1, 1e6, len(arrays["pid"]), dtype=np.float32)[:, None]
    with pytest.raises(ValueError, match=r"unit length.*--normalize"):
        score(arrays, tmp_path / "f.npz")
    normalized = score(arrays, tmp_path / "f.npz", normalize=True)
    assert normalized.normalized and normalized.to_json()["normalized"]
    assert normalized.values["mAP"] == pytest.approx(plain.values["mAP"], abs=1e-3)


def test_rows_without_an_id_may_be_there_where_they_are_not_scored(arrays, tmp_path):
    expected = score(dict(arrays), tmp_path / "f.npz").values
    extra = {name: np.concatenate([column, column[:1]]) for name, column in arrays.items()}
    extra["path"], extra["pid"] = extra["path"].astype("U40"), extra["pid"].copy()
    extra["path"][-1], extra["pid"][-1] = "another.jpg", -1
    extra["role"] = np.array(["query"] * len(arrays["pid"]) + [""])
    np.savez(tmp_path / "g.npz", **extra)
    protocol = GeneralProtocol(dict(modality="infrared", role="query"), dict(modality="visible", role="query"))
    assert evaluate(FeatureTable.load(tmp_path / "g.npz"), [protocol], ["feat_bn"])[0].result.values == expected


def altered(path, target, name, change):
    """The file with one array changed and everything written anew, checksums of the zip too."""
    with np.load(path) as content:
        arrays = {key: content[key] for key in content.files}
    arrays[name] = change(arrays[name])
    np.savez(target, **arrays)
    return target


def test_our_files_say_when_their_content_was_changed(tmp_path):
    table = make_table()
    path = tmp_path / "f.npz"
    table.save(path)
    assert DIGEST not in FeatureTable.load(path).meta
    changes = dict(
        pid=lambda a: np.roll(a, 1),
        cam_id=lambda a: a[::-1].copy(),
        path=lambda a: np.char.replace(a, "cam1", "cam7"),
        feat_bn=lambda a: np.roll(a, 1, axis=0),
        meta=lambda a: np.array(str(a).replace("best.pth", "last.pth")),
    )
    for name, how in changes.items():
        with pytest.raises(DamagedFileError, match=r"g\.npz: its content differs from its checksum"):
            FeatureTable.load(altered(path, tmp_path / "g.npz", name, how))
    assert len(FeatureTable.load(altered(path, tmp_path / "g.npz", "pid", lambda a: a))) == len(table)


def test_a_flip_in_an_inner_header_is_found(tmp_path):
    """The length of a header: numpy then reads other bytes for ids and never comes to the checksum."""
    path = tmp_path / "f.npz"
    make_table().save(path)
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("pid.npy").header_offset
    content = bytearray(path.read_bytes())
    start = content.find(b"\x93NUMPY", offset)
    for bit in range(8):
        content[start + 8] ^= 1 << bit
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"f\.npz.*'pid\.npy' differs from its checksum"):
            FeatureTable.load(path)
        content[start + 8] ^= 1 << bit


def test_the_digest_covers_names_kinds_shapes_values_and_meta():
    arrays = dict(a=np.arange(6), b=np.array(["x", "yz"]))
    whole = content_digest(arrays, dict(c=1))
    assert content_digest(dict(reversed(arrays.items())), dict(c=1)) == whole
    others = [
        (dict(arrays, a=np.arange(6).reshape(2, 3)), dict(c=1)),
        (dict(arrays, a=np.arange(6).astype(np.int32)), dict(c=1)),
        (dict(arrays, a=np.arange(1, 7)), dict(c=1)),
        (dict(c=arrays["a"], b=arrays["b"]), dict(c=1)),
        (arrays, dict(c=2)),
    ]
    assert whole not in [content_digest(*other) for other in others]


@pytest.mark.parametrize("name", ["f.npz", "rows.csv", "f.npy"])
def test_feature_files_are_regular_files(name, tmp_path):
    os.mkfifo(tmp_path / name)
    if name != "f.npy":
        np.save(tmp_path / "g.npy", np.zeros((1, 1)))
    rows, features = ("rows.csv", name) if name == "f.npy" else (name, "g.npy")
    with pytest.raises(DamagedFileError, match="found a FIFO"):
        FeatureTable.load(tmp_path / rows, tmp_path / features)
