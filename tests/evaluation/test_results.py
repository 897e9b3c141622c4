"""Evaluating a table, results as JSON and as text, and the tools around them."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import make_table

from mscmreid.evaluation import (
    GeneralProtocol,
    LLCMProtocol,
    RegDBProtocol,
    Result,
    SYSUProtocol,
    camera_pairs,
    evaluate,
    latex_rows,
    load_results,
    markdown_table,
    rank_features,
    save_results,
    side_by_side,
    terminal_table,
)
from mscmreid.evaluation.presets import protocols_of

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def table():
    return make_table(noise=1.5)


def results_of(table, *protocols, **options):
    return [evaluation.result for evaluation in evaluate(table, protocols or [SYSUProtocol(trials=3)], **options)]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_protocol_and_feature_is_a_row_and_equals_single_rankings(table):
    protocols = [SYSUProtocol(trials=3), SYSUProtocol("indoor", trials=2), LLCMProtocol(trials=1), RegDBProtocol()]
    evaluations = evaluate(table, protocols, ("feat_bn", "feat_pool"))
    rows = [(e.protocol.tag, e.result.feature) for e in evaluations]
    both = ["feat_bn", "feat_pool"]
    assert rows == [
        *(("all", f) for f in both),
        *(("indoor", f) for f in both),
        *(("infrared-to-visible", f) for f in (*both, "sum")),
        *(("visible-to-infrared", f) for f in both),
    ]
    for e in evaluations:
        matrix = table.matrix(e.result.feature)
        for trial, (chosen, ranking) in enumerate(zip(e.selections, e.rankings, strict=True)):
            q, g = chosen.query, chosen.gallery
            single = rank_features(
                matrix[q], matrix[g], table.pid[q], table.pid[g], table.cam_id[q], table.cam_id[g],
                rule=chosen.rule, identity_cmc=chosen.identity_cmc,
            )  # fmt: skip
            np.testing.assert_array_equal(ranking.first_rank, single.first_rank)
            assert e.result.values["mAP"][trial] == single.mAP
        assert e.result.mean["R1"] == pytest.approx(np.mean([r.rank(1) for r in e.rankings]))
    first = evaluations[0].result
    assert first.std["mAP"] == pytest.approx(np.std([r.mAP for r in evaluations[0].rankings], ddof=1))
    assert evaluations[-1].result.std is None


def test_reranked_rows_come_behind_plain_ones_and_leave_them(table):
    plain, reranked = results_of(table, SYSUProtocol(trials=1), features=["feat_bn"], rerank=True)
    assert (plain.rerank, reranked.rerank) == (False, True)
    assert plain.values == results_of(table, SYSUProtocol(trials=1), features=["feat_bn"])[0].values
    assert reranked.values != plain.values


def test_flip_is_used_if_there_and_named():
    table = make_table(noise=1.5, flip=True)
    assert all(result.flip for result in results_of(table))
    without = results_of(table, flip=False)
    assert not any(result.flip for result in without)
    assert without[0].values != results_of(table)[0].values


def test_rows_of_a_part_of_the_data_are_matched_by_path(table):
    protocol = SYSUProtocol(trials=1)
    needed = protocol.rows_needed(table.columns)
    part = make_table(noise=1.5)
    mixed = np.random.RandomState(0).permutation(needed)
    part.path = [table.path[row] for row in mixed]
    for name in ("pid", "cam_id", "modality"):
        setattr(part, name, getattr(table, name)[mixed])
    part.features = {name: array[mixed] for name, array in table.features.items()}
    found = evaluate(part, [protocol], columns=table.columns)[0].result
    assert found.values == results_of(table, protocol)[0].values
    part.path[3] = "gone.jpg"
    with pytest.raises(ValueError, match=r"features of 1 of .* rows that SYSU-MM01 needs are missing"):
        evaluate(part, [protocol], columns=table.columns)


def test_camera_pairs(table):
    every = SYSUProtocol(trials=3).selections(table.columns)
    matrix = table.matrix("feat_bn")
    pairs = camera_pairs(matrix, table, every)
    names = [(pair["query_cam"], pair["gallery_cam"]) for pair in pairs]
    assert names == [(3, 1), (3, 4), (3, 5), (6, 1), (6, 2), (6, 4), (6, 5)]  # camera 3 ignores camera 2
    singles = []
    for chosen in every:
        q, g = chosen.query[table.cam_id[chosen.query] == 6], chosen.gallery[table.cam_id[chosen.gallery] == 2]
        singles.append(rank_features(matrix[q], matrix[g], table.pid[q], table.pid[g], identity_cmc=True))
    means = {name: np.mean([single.values()[name] for single in singles]) for name in singles[0].values()}
    expected = dict(query_cam=6, gallery_cam=2, **means, num_queries=singles[0].num_queries, num_left_out=0)
    assert pairs[names.index((6, 2))] == expected


def test_camera_pairs_go_to_the_file_where_they_are_asked_for(table, tmp_path):
    results = [e.result for e in evaluate(table, [SYSUProtocol(trials=2)], ["feat_bn"], rerank=True, with_cameras=True)]
    assert len(results[0].camera_pairs) == 7 and results[1].camera_pairs is None
    save_results(results, tmp_path / "r.json")
    assert load_results(tmp_path / "r.json") == results
    assert results_of(table)[0].camera_pairs is None


def test_a_camera_that_is_nobodys_match_is_no_pair():
    table = make_table(noise=1.5)
    away = (table.cam_id == 5) & (table.pid > 0)
    table.pid[away] += 1000  # nobody whom camera 5 saw is elsewhere
    found = camera_pairs(table.matrix("feat_bn"), table, SYSUProtocol(trials=1).selections(table.columns))
    assert {pair["gallery_cam"] for pair in found} == {1, 2, 4}


def test_json_round_trip_and_schema(table, tmp_path):
    results = results_of(table, SYSUProtocol(trials=2), RegDBProtocol(), features=["feat_bn"])
    save_results(results, tmp_path / "deep" / "r.json")
    assert load_results(tmp_path / "deep" / "r.json") == results
    content = json.loads((tmp_path / "deep" / "r.json").read_text())
    assert content["schema_version"] == 1
    first = content["results"][0]
    assert first["num_trials"] == 2 and first["mean"]["R1"] == results[0].mean["R1"] and len(first["cmc"][0]) == 20
    assert first["checkpoint_sha256"] == "ab" * 32 and content["results"][1]["std"] is None
    content["schema_version"] = 99
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="schema version 1, found version 99"):
        load_results(tmp_path / "r.json")
    first["colour"] = 3
    (tmp_path / "r.json").write_text(json.dumps(dict(schema_version=1, results=[first])))
    with pytest.raises(ValueError, match="unknown fields \\['colour'\\]"):
        load_results(tmp_path / "r.json")
    (tmp_path / "r.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as a results file"):
        load_results(tmp_path / "r.json")
    with pytest.raises(FileNotFoundError):
        load_results(tmp_path / "nowhere.json")


def test_tables_name_protocol_feature_and_counts(table):
    results = results_of(table, SYSUProtocol(trials=3), LLCMProtocol(trials=1), RegDBProtocol(), rerank=True)
    results[0] = replace(results[0], num_left_out=[0, 2, 2])
    text = terminal_table(results)
    assert max(map(len, text.split("\n"))) <= 160
    assert (
        "all-search single-shot agw" in text and "feat_bn re-ranked" in text and "±" in text and "96 of 96-98" in text
    )
    assert "query camera 3 ignores gallery camera 2" in text and "checkpoint abababab" in text
    assert len(markdown_table(results).split("\n")) == len(results) + 2
    rows = latex_rows(results).split("\n")
    assert len(rows) == len(results) and r"feat\_bn & " in rows[0] and r"$\pm$" in rows[0] and r"\\ % SYSU" in rows[0]


def test_side_by_side_refuses_different_protocols(table):
    ours, theirs = results_of(table), results_of(make_table(noise=1.2))
    text = side_by_side([("ours", ours), ("theirs", theirs)])
    assert "SYSU-MM01 all-search single-shot agw R1" in text and "| theirs | feat_pool |" in text
    for field, value in (("lineage", "official"), ("trials", [0]), ("exclusion", "nothing"), ("cmc_kind", "plain")):
        changed = [replace(result, **{field: value}) for result in theirs]
        with pytest.raises(ValueError, match=f"cannot stand in one column: they differ in {field} .*'?ours"):
            side_by_side([("ours", ours), ("theirs", changed)])
    with pytest.raises(ValueError, match="ours has two results"):
        side_by_side([("ours", ours * 2)])


def test_result_refuses_missing_fields():
    with pytest.raises(ValueError, match="lacks fields"):
        Result.from_json(dict(dataset="SYSU-MM01"))


def test_presets_name_all_protocols():
    assert [p.tag for p in protocols_of("sysu")] == ["all", "indoor"]
    assert len(protocols_of("sysu", ["every"])) == 10
    assert [p.tag for p in protocols_of("regdb")] == ["visible-to-infrared", "infrared-to-visible"]
    assert protocols_of("llcm", ["visible-to-infrared_deen-repo"])[0].convention == "deen-repo"
    with pytest.raises(ValueError, match=r"sysu has the protocols all, indoor, .* found outdoor"):
        protocols_of("sysu", ["outdoor"])
    with pytest.raises(ValueError, match="dataset must be one of sysu, regdb, llcm"):
        protocols_of("market")


def test_eval_features_gives_the_table_of_evaluate(table, tmp_path, capsys):
    tool = load_tool("eval_features")
    table.save(tmp_path / "f.npz")
    tool.main(
        [
            str(tmp_path / "f.npz"),
            "--protocol",
            "all",
            "--feature",
            "feat_bn",
            "sum",
            "--out-json",
            str(tmp_path / "r.json"),
        ]
    )
    expected = results_of(table, SYSUProtocol(), features=["feat_bn", "sum"])
    found = load_results(tmp_path / "r.json")
    assert [result.values for result in found] == [result.values for result in expected]
    assert capsys.readouterr().out.strip() == terminal_table(found).strip()
    own = ["--query", "modality=infrared", "cameras=3,6", "--gallery", "modality=visible", "--shots", "1"]
    tool.main([str(tmp_path / "f.npz"), *own, "--identity-cmc", "--format", "markdown"])
    assert "infrared cameras 3,6 -> visible" in capsys.readouterr().out
    with pytest.raises(ValueError, match="own data needs --query and --gallery"):
        tool.main([str(tmp_path / "f.npz"), "--query", "modality=infrared"])
    table.meta = {}
    table.save(tmp_path / "f.npz")
    with pytest.raises(ValueError, match="the file names no data set: say --dataset"):
        tool.main([str(tmp_path / "f.npz")])


def test_results_table_tool(table, tmp_path, capsys):
    tool = load_tool("analysis_tools/results_table")
    save_results(results_of(table), tmp_path / "a.json")
    save_results(results_of(table, SYSUProtocol(trials=2)), tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"they differ in trials \(\[0, 1, 2\] in a, \[0, 1\] in b\)"):
        tool.main([str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    tool.main([f"mine={tmp_path / 'a.json'}", "--where", "feature=feat_bn"])
    out = capsys.readouterr().out
    assert "| mine | feat_bn |" in out and "feat_pool" not in out
    tool.main([str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--list", "latex"])
    assert capsys.readouterr().out.count("\\\\") == 4
    with pytest.raises(ValueError, match="FIELD=VALUE"):
        tool.main([str(tmp_path / "a.json"), "--where", "colour=red"])
    with pytest.raises(ValueError, match="no result is left"):
        tool.main([str(tmp_path / "a.json"), "--where", "shots=10"])


def test_general_protocol_results_name_their_sets(table):
    protocol = GeneralProtocol(dict(modality="infrared"), dict(modality="visible", cameras=[4, 5]), name="outdoor")
    (result, _) = results_of(table, protocol)
    assert result.protocol == "outdoor" and result.mode == "infrared -> visible cameras 4,5"
