"""Results say where their rows are not the published test set; files say what they are, or are asked."""

import json

import numpy as np
import pytest
from made_up import llcm_columns, make_columns, make_table, sysu_columns
from tool_modules import load_tool
from without_packages import run_without

from mscmreid.apis.feature_options import conditions
from mscmreid.evaluation import (
    FeatureTable,
    GeneralProtocol,
    LLCMProtocol,
    MixedGalleryProtocol,
    RegDBProtocol,
    SYSUProtocol,
    build_protocol,
    evaluate,
    latex_rows,
    load_results,
    markdown_table,
    over_splits,
    save_results,
    side_by_side,
    terminal_table,
)
from mscmreid.evaluation.presets import protocols_of
from mscmreid.evaluation.protocols import protocol_of
from mscmreid.evaluation.standard import check_layout, departures
from mscmreid.visualization.report import results_report


def told(protocol, columns, dataset, split="test"):
    return departures(protocol, columns, protocol.selections(columns), dataset, split)


def random_table(columns, **meta):
    features = np.random.RandomState(0).normal(size=(len(columns["path"]), 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return FeatureTable(**columns, features=dict(feat_bn=features), meta=meta)


class TestCounts:
    def test_the_true_lists_are_the_standard_set(self, splits):
        for dataset, columns in (("sysu", sysu_columns(splits)), ("llcm", llcm_columns(splits))):
            for protocol in protocols_of(dataset, ["every"]):
                if getattr(protocol, "lineage", None) != "official" and not isinstance(protocol, MixedGalleryProtocol):
                    protocol.trials = (0, 1)
                    assert told(protocol, columns, protocol.name) is None, protocol.tag
            check_layout(columns, dict(sysu="SYSU-MM01", llcm="LLCM")[dataset])

    def test_a_part_of_the_test_people_is_said(self, splits):
        columns = sysu_columns(splits)
        some = np.isin(columns["pid"], np.unique(columns["pid"])[:20])
        part = {name: np.asarray(column)[some] for name, column in columns.items()}
        queries = int((part["modality"] == "infrared").sum())
        people = {(int(p), int(c)) for p, c in zip(part["pid"], part["cam_id"], strict=True) if c in (1, 2, 4, 5)}
        expected = f"{queries} of 3,803 queries, {len(people)} of 301 gallery images"
        assert told(SYSUProtocol(trials=2), part, "SYSU-MM01") == expected
        assert told(SYSUProtocol(trials=2), part, "SYSU-MM01", split="val") is None
        assert told(SYSUProtocol(trials=2), part, "mine") is None
        assert told(MixedGalleryProtocol(trials=1), part, "SYSU-MM01") is None

    def test_more_than_there_are(self):
        rows = [(f"{i}.png", i, m, ("visible", "infrared")[m]) for i in range(2100) for m in (0, 1)]
        text = told(RegDBProtocol(), make_columns(rows), "RegDB", split="1")
        assert text == "2,100 instead of 2,060 queries, 2,100 instead of 2,060 gallery images"

    @pytest.mark.parametrize("kind", [SYSUProtocol, LLCMProtocol])
    def test_paths_of_another_layout_are_other_draws(self, splits, kind):
        columns = sysu_columns(splits) if kind is SYSUProtocol else llcm_columns(splits)
        order = np.random.RandomState(1).permutation(len(columns["path"]))
        columns = {**columns, "path": [f"row_{number:06d}" for number in order]}
        name = kind(trials=1).name
        assert "other gallery draws than published (paths such as row_" in told(kind(trials=1), columns, name)

    def test_paths_of_other_people_are_other_draws(self):
        table = make_table()
        assert "other gallery draws" not in told(SYSUProtocol(trials=1), table.columns, "SYSU-MM01")
        table.pid = table.pid[::-1].copy()
        assert "other gallery draws" in told(SYSUProtocol(trials=1), table.columns, "SYSU-MM01")

    def test_tables_json_report_and_comparison_say_it(self, tmp_path):
        table = make_table()
        results = [e.result for e in evaluate(table, [SYSUProtocol(trials=2)], ["feat_bn"])]
        expected = "96 of 3,803 queries, 48 of 301 gallery images"
        assert results[0].not_standard == expected
        for text in (terminal_table(results), markdown_table(results), latex_rows(results)):
            assert expected in text
        save_results(results, tmp_path / "r.json")
        assert json.loads((tmp_path / "r.json").read_text())["results"][0]["not_standard"] == expected
        assert load_results(tmp_path / "r.json") == results
        html = results_report(results)
        assert f"Not the standard test set: {expected}" in html and "SYSU-MM01 *" in html
        fewer = make_table(num_ids=11)
        others = [e.result for e in evaluate(fewer, [SYSUProtocol(trials=2)], ["feat_bn"])]
        with pytest.raises(ValueError, match=r"differ in not_standard .*88 of 3,803"):
            side_by_side([("ours", results), ("theirs", others)])


class TestWhatAFileIs:
    def test_another_data_sets_rows_are_refused(self, splits, tmp_path, capsys):
        tool = load_tool("eval_features")
        random_table(sysu_columns(splits)).save(tmp_path / "f.npz")
        for wrong in ("llcm", "regdb"):
            with pytest.raises(ValueError, match=r"cannot be the rows of .* could be those of SYSU-MM01"):
                tool.main([str(tmp_path / "f.npz"), "--dataset", wrong])
        with pytest.raises(ValueError, match=r"cannot be the rows of SYSU-MM01.* could be those of LLCM"):
            check_layout(llcm_columns(splits), "SYSU-MM01")
        random_table(sysu_columns(splits), dataset_name="RegDB").save(tmp_path / "f.npz")
        with pytest.raises(ValueError, match="--dataset sysu, but the file says that its features are of RegDB"):
            tool.main([str(tmp_path / "f.npz"), "--dataset", "sysu"])
        with pytest.raises(ValueError, match="cannot be the rows of RegDB"):
            tool.main([str(tmp_path / "f.npz")])

    def test_the_tool_says_what_is_not_standard(self, tmp_path, capsys):
        tool = load_tool("eval_features")
        table = make_table()
        table.meta = {}
        table.save(tmp_path / "f.npz")
        tool.main([str(tmp_path / "f.npz"), "--dataset", "sysu", "--protocol", "all"])
        assert "NOT THE STANDARD SET: 96 of 3,803 queries, 48 of 301 gallery" in capsys.readouterr().out

    def test_the_protocols_of_a_run_are_in_its_file(self, tmp_path, capsys):
        tool = load_tool("eval_features")
        sides = dict(query=dict(modality="infrared", cameras=[3, 6]), gallery=dict(modality="visible"))
        protocols = [
            GeneralProtocol(**sides, exclude="id-camera", camera_pairs=[(3, 2)], name="night"),
            GeneralProtocol(query=sides["gallery"], gallery=sides["query"], shots=1, trials=3, name="day"),
        ]
        table = make_table()
        table.meta = dict(dataset_name="mine", protocols=[protocol.to_config() for protocol in protocols])
        table.save(tmp_path / "f.npz")
        expected = [e.result for e in evaluate(table, protocols, ["feat_bn", "feat_pool"])]
        tool.main([str(tmp_path / "f.npz"), "--out-json", str(tmp_path / "r.json")])
        found = load_results(tmp_path / "r.json")
        assert [(r.protocol, r.values, r.exclusion) for r in found] == [
            (r.protocol, r.values, r.exclusion) for r in expected
        ]
        tool.main([str(tmp_path / "f.npz"), "--protocol", "day"])
        out = capsys.readouterr().out
        assert out.rindex("protocol day") > out.rindex("protocol night")
        with pytest.raises(ValueError, match=r"the file has no protocol .*; it has night, day"):
            tool.main([str(tmp_path / "f.npz"), "--protocol", "dawn"])

    @pytest.mark.parametrize(
        ("protocols", "message"),
        [("all", "must be a list of dicts"), ([dict(type="os.system")], "a protocol's type is one of"),
         ([dict(type="SYSUProtocol", mod="all")], "cannot be made.*mod"),
         ([dict(type="SYSUProtocol", mode="al")], "mode must be one of")],
    )  # fmt: skip
    def test_protocols_that_are_none_are_named(self, tmp_path, protocols, message):
        table = make_table()
        table.meta = dict(protocols=protocols)
        table.save(tmp_path / "f.npz")
        with pytest.raises(ValueError, match=message):
            load_tool("eval_features").main([str(tmp_path / "f.npz")])

    @pytest.mark.parametrize(
        "protocol",
        [
            *protocols_of("sysu", ["every"]),
            *protocols_of("regdb", ["every"]),
            *protocols_of("llcm", ["every"]),
            GeneralProtocol(dict(role="query"), dict(cameras=[1, 2]), "camera", [(1, 2)], True, 2, (4, 7), "mine"),
        ],
        ids=lambda protocol: f"{protocol.name}-{protocol.tag}",
    )
    def test_a_protocol_is_made_again_from_json(self, protocol):
        config = json.loads(json.dumps(protocol.to_config()))
        for made in (protocol_of(config), build_protocol(config)):
            assert type(made) is type(protocol) and made.to_config() == config
            assert (made.tag, made.fields(), made.trials) == (protocol.tag, protocol.fields(), protocol.trials)
            assert (made.rule, made.identity_cmc) == (protocol.rule, protocol.identity_cmc)


def test_evaluation_needs_neither_torch_nor_mmengine(tmp_path):
    make_table().save(tmp_path / "f.npz")
    code = f"""
import mscmreid.evaluation as evaluation
table = evaluation.FeatureTable.load({str(tmp_path / "f.npz")!r})
results = [e.result for e in evaluation.evaluate(table, [evaluation.SYSUProtocol(trials=1)], ["feat_bn"])]
print(results[0].num_queries[0])
try:
    evaluation.VIReIDMetric
except ImportError as error:
    print(error)
"""
    queries, error = run_without(code).splitlines()
    assert queries == "96" and ("torch" in error or "mmengine" in error)


def test_features_that_do_not_say_what_they_are_can_be_named(tmp_path, capsys):
    tool = load_tool("eval_features")
    table = make_table()
    table.meta = {}
    table.save(tmp_path / "f.npz")
    own = [str(tmp_path / "f.npz"), "--query", "modality=infrared", "--gallery", "modality=visible"]
    tool.main(own)
    assert capsys.readouterr().out.startswith("data set not named | protocol general")
    tool.main([*own, "--name", "Station", "--split", "night"])
    assert capsys.readouterr().out.startswith("Station night | protocol general")
    table.meta = dict(dataset_name="Harbour")
    table.save(tmp_path / "f.npz")
    with pytest.raises(ValueError, match="--name Station, but the file says that it is of Harbour"):
        tool.main([*own, "--name", "Station"])


def test_splits_of_different_sizes_are_averaged_and_each_difference_is_told():
    def split(number, num_ids):
        table = make_table(num_ids=num_ids)
        table.meta.update(dataset_name="RegDB", split=number)
        return [e.result for e in evaluate(table, [RegDBProtocol()], ["feat_bn"])]

    (mean,) = over_splits([split("1", 12), split("2", 11)], "runs/{split}.pth")
    assert "192 of 2,060 queries" in mean.not_standard and "176 of 2,060 queries" in mean.not_standard


@pytest.mark.parametrize("condition", ["cameras=a", "cameras=3;6", "cameras="])
def test_cameras_that_are_no_numbers_are_told_as_typed(condition):
    with pytest.raises(ValueError, match=f"cameras are whole numbers, as in cameras=3,6, found '{condition}'"):
        conditions(["modality=visible", condition])
