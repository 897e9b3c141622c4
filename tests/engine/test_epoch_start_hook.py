"""Pseudo labels made at the start of an epoch reach sampler and losses, with and without workers, resumed or not."""

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from test_runs import Killed, KillHook

from mscmreid.apis import train
from mscmreid.engine import EpochStartHook
from mscmreid.engine.runner.checkpoint import read_checkpoint


class NearestCentre(EpochStartHook):
    """Four clusters around four random rows, the same for both modalities; the farthest two rows are left out."""

    def __init__(self):
        super().__init__(features=("feat_bn", "feat_pool"))
        self.found = []

    def relabel(self, runner, features, rows):
        assert {name: array.shape[0] for name, array in features.items()} == dict.fromkeys(self.features, 72)
        x = features["feat_bn"]
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
        random = np.random.default_rng([runner.seed, runner.epoch])
        labels = np.empty(len(x), dtype=np.int64)
        for modality in ("visible", "infrared"):
            own = np.flatnonzero(rows["modality"] == modality)
            order = random.permutation(len(own))  # even clusters, so that each batch can be filled
            labels[own[order]] = np.arange(len(own)) % 4
        labels[np.argsort(x[:, 0], kind="stable")[:2]] = -1
        return labels

    def start_epoch(self, runner, features, rows):
        self.found.append((runner.epoch, {k: v.copy() for k, v in features.items()}, rows["label"].copy()))


class Watch(Hook):
    """What the losses read."""

    def __init__(self):
        self.labels = []

    def before_train(self, runner):
        preprocessor = runner.model.data_preprocessor
        forward = preprocessor.forward

        def watched(data, training=False):
            out = forward(data, training)
            if training:
                self.labels.append((runner.epoch, out["rows"].index.clone(), out["rows"].label.clone()))
            return out

        preprocessor.forward = watched


def hooks_of(runner):
    return (next(h for h in runner.hooks if isinstance(h, kind)) for kind in (NearestCentre, Watch))


@pytest.fixture
def relabelled(toy_config, tmp_path):
    def make(name, *more, **options):
        cfg = toy_config(tmp_path / name, **options)
        cfg.custom_hooks = [*cfg.custom_hooks, dict(type=NearestCentre), dict(type=Watch), *more]
        return cfg

    return make


@pytest.mark.parametrize("workers", [0, 1], ids=["in the main process", "in a worker that stays"])
def test_labels_of_the_hook_are_those_of_the_batches(relabelled, workers):
    options = dict(train_dataloader__num_workers=workers, train_dataloader__persistent_workers=bool(workers))
    runner = train(relabelled("run", train_cfg__max_epochs=2, **options))
    hook, watch = hooks_of(runner)
    assert [epoch for epoch, *_ in hook.found] == [0, 1]
    assert not np.array_equal(hook.found[0][2], hook.found[1][2])
    for epoch, index, label in watch.labels:
        given = hook.found[epoch][2]
        assert (given >= 0).sum() == 70 and (given < 0).sum() == 2
        assert label.tolist() == given[index].tolist() and label.min() >= 0
    assert len(watch.labels) == 6
    dataset = runner.train_dataloader.dataset
    assert dataset.metainfo["num_classes"] == 4
    assert np.array_equal(dataset.rows()["label"], hook.found[1][2])


def test_features_are_those_of_the_model_in_eval_mode_and_training_goes_on_in_training_mode(relabelled):
    runner = train(relabelled("run", train_cfg__max_epochs=1))
    hook, _ = hooks_of(runner)
    found = hook.extract(runner)
    model, dataset = runner.model.eval(), runner.train_dataloader.dataset
    for i in (0, 30, 71):
        item = dataset[i]
        sample = model.test_step(dict(inputs=item["inputs"][None], data_samples=[item["data_samples"]]))[0]
        np.testing.assert_allclose(found["feat_bn"][i], sample.feat_bn.detach().numpy(), atol=1e-4)
    assert not np.allclose(found["feat_bn"], hook.found[0][1]["feat_bn"])


def test_a_stopped_run_with_new_labels_goes_on_bitwise(relabelled, tmp_path):
    hook, _ = hooks_of(train(relabelled("straight")))
    with pytest.raises(Killed):
        train(relabelled("run", dict(type=KillHook, iteration=7)))
    resumed, _ = hooks_of(train(relabelled("run"), resume="auto"))
    assert [epoch for epoch, *_ in resumed.found] == [2]
    assert np.array_equal(resumed.found[0][2], hook.found[2][2])
    whole, other = (read_checkpoint(tmp_path / name / "epoch_3.pth") for name in ("straight", "run"))
    assert all(torch.equal(v, other["state_dict"][k]) for k, v in whole["state_dict"].items())


def test_an_unknown_feature_and_labels_of_another_length_are_errors(toy_config):
    cfg = toy_config()
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type=EpochStartHook, features=["feat_no"])]
    with pytest.raises(ValueError, match=r"wants the feature 'feat_no', prediction gives"):
        train(cfg)
    dataset = train(toy_config(train_cfg__max_epochs=1)).train_dataloader.dataset
    for labels in (np.zeros(3, dtype=int), np.zeros(len(dataset)), np.full(len(dataset), -2)):
        with pytest.raises(ValueError, match="72 rows, each of which needs a label"):
            dataset.relabel(labels)
