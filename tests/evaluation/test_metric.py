"""The metric as an MMEngine Evaluator calls it."""

import numpy as np
import pytest
import torch
from made_up import make_table
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.structures import BaseDataElement

from mscmreid.evaluation import FeatureTable, VIReIDMetric, evaluate, load_results
from mscmreid.evaluation import metric as metric_module
from mscmreid.registry import METRICS

ROOT = "/data/SYSU-MM01"
PROTOCOLS = [dict(type="SYSUProtocol", mode="all"), dict(type="SYSUProtocol", mode="indoor", trials=3)]


def samples_of(table, rows=None):
    rows = range(len(table)) if rows is None else rows
    return [
        BaseDataElement(
            metainfo=dict(
                img_path=f"{ROOT}/{table.path[row]}",
                pid=int(table.pid[row]),
                cam_id=int(table.cam_id[row]),
                modality=str(table.modality[row]),
                sample_idx=index,
            ),
            **{name: torch.from_numpy(array[row]) for name, array in table.features.items()},
        )
        for index, row in enumerate(rows)
    ]


def run(metric, samples, size):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dict(dataset_name="SYSU-MM01", split="test", data_root=ROOT, num_classes=3)
    for start in range(0, len(samples), 50):
        evaluator.process(samples[start : start + 50])
    return evaluator.evaluate(size)


def test_keys_results_and_files(tmp_path):
    table = make_table(noise=1.5)
    metric = METRICS.build(
        dict(
            type="VIReIDMetric",
            protocols=PROTOCOLS,
            out_json=str(tmp_path / "r.json"),
            out_features=str(tmp_path / "f.npz"),
        )
    )
    metric.meta = dict(checkpoint="best.pth", checkpoint_sha256="12" * 32)
    found = run(metric, samples_of(table), len(table))
    expected = evaluate(table, metric.protocols)
    assert found["reid/mAP"] == found["reid/all/feat_bn/mAP"] == expected[0].result.mean["mAP"]
    assert found["reid/indoor/feat_pool/R10"] == expected[3].result.mean["R10"]
    assert [result.values for result in metric.last_results] == [e.result.values for e in expected]
    assert load_results(tmp_path / "r.json") == metric.last_results
    assert metric.last_results[0].checkpoint_sha256 == "12" * 32
    kept = FeatureTable.load(tmp_path / "f.npz")
    assert kept.path == table.path and kept.meta["data_root"] == ROOT and "num_classes" not in kept.meta
    np.testing.assert_array_equal(kept.features["feat_pool"], table.features["feat_pool"])


def test_order_and_repeated_rows_of_samplers_do_not_matter():
    table = make_table(noise=1.5)
    samples = samples_of(table)
    mixed = [samples[i] for i in np.random.RandomState(0).permutation(len(samples))] + samples[:3]
    assert run(VIReIDMetric(PROTOCOLS), mixed, len(table)) == run(VIReIDMetric(PROTOCOLS), samples, len(table))


def test_missing_rows_and_empty_runs_are_errors():
    table = make_table()
    with pytest.raises(
        ValueError, match=r"features of 286 images were collected, the data set has 288; .*\[286, 287\]"
    ):
        run(VIReIDMetric(PROTOCOLS), samples_of(table)[:-2], len(table))
    with pytest.raises(ValueError, match="no features were collected"):
        run(VIReIDMetric(PROTOCOLS), [], 3)
    sample = samples_of(table)[0].to_dict()
    del sample["cam_id"]
    with pytest.raises(ValueError, match="lacks cam_id"):
        VIReIDMetric(PROTOCOLS).process(None, [sample])
    del sample["feat_bn"], sample["feat_pool"]
    sample["cam_id"] = 1
    with pytest.raises(ValueError, match="lacks features"):
        VIReIDMetric(PROTOCOLS).process(None, [sample])


def test_validation_needs_few_rows_and_gives_trial_0():
    table = make_table(noise=1.5)
    metric = VIReIDMetric(PROTOCOLS, trials=[0])
    needed = metric.rows_needed(table.columns)
    assert len(needed) < len(table) * 0.7
    found = run(metric, samples_of(table, needed), len(needed))
    whole = evaluate(table, metric.protocols)
    assert found["reid/mAP"] == whole[0].result.values["mAP"][0]
    assert metric.last_results[0].trials == [0]


def test_flip_features_of_the_model_are_used():
    table = make_table(noise=1.5, flip=True)
    metric = VIReIDMetric(PROTOCOLS[:1])
    run(metric, samples_of(table), len(table))
    assert metric.last_results[0].flip
    metric.flip = False
    run(metric, samples_of(table), len(table))
    assert not metric.last_results[0].flip


def test_rows_of_all_processes_are_merged(monkeypatch):
    table = make_table(noise=1.5)
    samples = [sample.to_dict() for sample in samples_of(table)]
    alone = run(VIReIDMetric(PROTOCOLS), samples, len(table))
    other = VIReIDMetric(PROTOCOLS)
    other.process(None, samples[1::2] + samples[:1])  # a sampler of two processes fills up with the first row
    there = metric_module._columns_of(other.results)
    monkeypatch.setattr(metric_module, "all_gather_object", lambda here: [here, there])
    assert run(VIReIDMetric(PROTOCOLS), samples[::2], len(table)) == alone


def test_wrong_configs():
    with pytest.raises(ValueError, match="at least one protocol"):
        VIReIDMetric([])
    with pytest.raises(ValueError, match="every protocol must be of another kind"):
        VIReIDMetric([PROTOCOLS[0], PROTOCOLS[0]])
    with pytest.raises(ValueError, match="expected an evaluation protocol, found int"):
        VIReIDMetric([3])


def test_table_is_logged(capsys):
    MMLogger.get_instance("evaluation-test", logger_name="evaluation")
    table = make_table()
    run(VIReIDMetric(PROTOCOLS), samples_of(table), len(table))
    assert "indoor-search single-shot agw  feat_pool" in capsys.readouterr().out
