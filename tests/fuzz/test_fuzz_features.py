"""Damaged and odd feature files and results."""

import csv
import io
import json
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fuzzing import cases, changed_bytes, changed_tree, outcome
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from made_up import make_table

from mscmreid.evaluation import (
    FeatureTable,
    GeneralProtocol,
    evaluate,
    latex_rows,
    load_results,
    markdown_table,
    save_results,
    terminal_table,
)
from mscmreid.visualization.report import results_report

PROTOCOL = GeneralProtocol(dict(modality="infrared"), dict(modality="visible"))
TABLE = make_table(num_ids=4, frames=1, dim=6)
RESULTS = [evaluation.result for evaluation in evaluate(TABLE, [PROTOCOL], with_cameras=True)]


def written(save, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder, name))
        return Path(folder, name).read_bytes()


FEATURES = written(TABLE.save, "f.npz")
RESULT_FILE = written(lambda path: save_results(RESULTS, path), "r.json")
COLUMNS = ("path", "pid", "cam_id", "modality")
ROWS = io.StringIO()
csv.writer(ROWS).writerows([COLUMNS, *zip(*(TABLE.columns[name] for name in COLUMNS), strict=True)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def same_tables(found: FeatureTable, expected: FeatureTable) -> bool:
    columns = all(np.array_equal(found.columns[name], column) for name, column in expected.columns.items())
    features = all(np.array_equal(found.features[name], array) for name, array in expected.features.items())
    return columns and features and found.meta == expected.meta and set(found.features) == set(expected.features)


def checked(results) -> None:
    """Numbers that a reader could be shown."""
    for result in results:
        assert all(math.isfinite(value) and 0 <= value <= 100 for values in result.values.values() for value in values)


@cases("features_bytes")
@given(content=changed_bytes(FEATURES))
def test_a_damaged_feature_file_is_whole_or_named(folder, content):
    (folder / "f.npz").write_bytes(content)
    found = outcome(lambda: FeatureTable.load(folder / "f.npz"), "f.npz")
    assert found is None or same_tables(found, TABLE)


WORDS = ("", "x", "visible", "../x", "\0")
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e30, -1e38, 1e-30, math.nan, math.inf, 0.5)


@st.composite
def odd_arrays(draw):
    """The arrays of a feature file of other code, some of them odd."""
    arrays = {name: np.array(column) for name, column in TABLE.columns.items()}
    arrays["feat_bn"] = TABLE.features["feat_bn"].copy()
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([*arrays, "feat_bn", "feat_bn"])) if arrays else "feat_bn"
        if name not in arrays:
            continue
        array = arrays[name]
        match draw(st.sampled_from(["cast", "value", "rows", "shape", "gone", "constant", "renamed", "double"])):
            case "cast":
                kind = draw(st.sampled_from(["?", "f4", "f8", "f2", "i1", "u8", "c8", "U4", "S4", "M8[s]", "O"]))
                try:
                    with np.errstate(all="ignore"):
                        arrays[name] = array.astype(kind)
                except (ValueError, TypeError):
                    pass
            case "value" if array.size and array.dtype.kind == "f":
                array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from(NUMBERS))
            case "value" if array.size and array.dtype.kind == "i":
                array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from([-1, -(2**62), 2**62, 0, 1]))
            case "value" if array.size and array.dtype.kind == "U":
                array.flat[draw(st.integers(0, array.size - 1))] = draw(
                    st.sampled_from(["", "x", "visible", "../x", "\0"])
                )
            case "rows" if array.ndim:
                arrays[name] = array[: draw(st.integers(0, len(array)))]
            case "shape":
                forms = [array.reshape(-1), array[None], array[..., None]]
                arrays[name] = draw(st.sampled_from([*forms, forms[1][:0], forms[2][..., :0]]))
            case "gone":
                del arrays[name]
            case "constant" if array.size:
                arrays[name] = np.broadcast_to(array.flat[0], array.shape).copy()
            case "renamed":
                arrays[draw(st.sampled_from(["feat", "Pid", "meta", "role", "x/y"]))] = arrays.pop(name)
            case "double" if array.ndim and len(array) > 1:
                array[1] = array[0]
    return arrays


@cases("features_arrays")
@given(arrays=odd_arrays())
def test_odd_contents_are_scored_as_they_are_or_refused(folder, arrays):
    """What is scored has integers for ids and cameras, different images, and finite unit rows that differ."""
    np.savez(folder / "odd.npz", **arrays)
    table = outcome(lambda: FeatureTable.load(folder / "odd.npz"), "odd.npz")
    if table is None:
        return
    assert all(arrays[name].dtype.kind in "iu" for name in ("pid", "cam_id"))
    assert len(set(table.path)) == len(table)
    names = ("feat_bn", "row", "modality", "quer", "gallery", "rows")
    evaluations = outcome(lambda: evaluate(table, [PROTOCOL], [next(iter(table.features))]), *names)
    if evaluations is not None:
        checked([evaluation.result for evaluation in evaluations])
        rows = np.unique(np.concatenate([np.r_[s.query, s.gallery] for s in evaluations[0].selections]))
        features = next(iter(table.features.values()))[rows]
        assert (table.pid[rows] >= 0).all() and np.isfinite(features).all()
        assert np.allclose(np.linalg.norm(features, axis=1), 1, atol=0.03) and np.ptp(features, axis=0).any()


@cases("features_csv")
@given(rows=changed_bytes(ROWS.getvalue().encode()), npy=st.booleans(), data=st.data())
def test_a_damaged_table_of_rows_is_read_as_it_stands_or_named(folder, rows, npy, data):
    np.save(folder / "f.npy", TABLE.features["feat_bn"])
    if npy:
        (folder / "f.npy").write_bytes(data.draw(changed_bytes((folder / "f.npy").read_bytes())))
    (folder / "rows.csv").write_bytes(rows)
    table = outcome(lambda: FeatureTable.load(folder / "rows.csv", folder / "f.npy"), "rows.csv", "f.npy")
    if table is not None:
        assert len(table) == len(next(iter(table.features.values()))) and len(set(table.path)) == len(table)
        outcome(lambda: evaluate(table, [PROTOCOL], ["feat_bn"]), "feat_bn", "row", "modality", "quer", "features")


def show(results) -> None:
    """Everything that is made of results."""
    for text in (terminal_table(results), markdown_table(results), latex_rows(results)):
        assert all(line.isprintable() for line in text.split("\n"))
    html = results_report(results)
    assert "\x1b" not in html and "<script>alert" not in html


@cases("results_bytes")
@given(content=changed_bytes(RESULT_FILE))
def test_a_damaged_results_file_is_shown_or_named(folder, content):
    (folder / "r.json").write_bytes(content)
    results = outcome(lambda: load_results(folder / "r.json"), "r.json")
    if results:
        show(results)


TEXTS = ("\x1b[2J", "<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\\input{/etc/passwd}", "a\nb", "\u202e")


VALUES = (None, True, -1, 3.5, 10**30, math.nan, "x", [], {}, [1], {"a": 1}, *TEXTS)


@cases("results_tree")
@given(content=changed_tree(json.loads(RESULT_FILE), VALUES))
def test_odd_results_are_shown_or_named(folder, content):
    (folder / "odd.json").write_text(json.dumps(content))
    results = outcome(lambda: load_results(folder / "odd.json"), "odd.json")
    if results:
        show(results)
