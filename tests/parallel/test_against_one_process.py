"""Two processes against one: the same global batch, the same step, the same table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "datasets"))
from layouts import make_sysu
from parallel_cases import CASES, LOSSES, NUM_IDS, NUM_INSTANCES, SYSTEMS, toy_system
from processes import run_in_processes

from mscmreid.apis import load_config, train

TOLERANCE = 1e-4  # of gradients and updates; largest seen: 7e-6
FLOAT32_TOLERANCE = 5e-3  # of MSCMNet's; largest seen: 7e-4, in biases whose gradient is all but 0
STEPS = [f"{system} {norm}" for system in SYSTEMS for norm in ("frozen", "synced")]
STEPS += ["stateful frozen", "pmt first stage frozen"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images (an odd number of them for testing) and a checkpoint."""
    from mscmreid.engine.runner.checkpoint import write_checkpoint

    folder = tmp_path_factory.mktemp("parallel")
    root = make_sysu(folder / "SYSU-MM01", train=(1, 2, 5, 6), val=(8,), test=(3, 9, 10))
    (root / "cam1" / "0009" / "0002.jpg").unlink()
    write_checkpoint(dict(state_dict=toy_system("mscm")[1].state_dict()), folder / "toy.pth")
    return folder


@pytest.fixture(scope="module")
def one(folder: Path) -> dict:
    """case -> what a single process found."""
    return {case.__name__: case(folder) for case in CASES}


@pytest.fixture(scope="module")
def two(folder: Path, one: dict) -> list[dict]:
    """What each of two processes found."""
    found = run_in_processes(CASES, 2, folder)
    for rank, results in enumerate(found):
        assert "error" not in results, f"rank {rank}: {results['error']}"
    return found


def deviation(found: dict, expected: dict) -> tuple[float, str]:
    """The largest |difference| / max |expected| over the entries, and where it is.

    Entries below 1e-4 of the largest entry of all (biases in front of a norm, whose gradient is 0 but for rounding)
    are measured against that.
    """
    floor = 1e-4 * max(float(v.abs().max()) for v in expected.values())
    assert set(found) == set(expected)
    return max(
        (float((found[name] - value).abs().max() / value.abs().max().clamp_min(floor)), name)
        for name, value in expected.items()
    )


def updates(step: dict) -> dict:
    """What a step changed, by name."""
    return {name: (value - step["before"][name]).double() for name, value in step["state"].items()}


def by_rank(two: list[dict], *keys: str) -> list:
    """An entry of the results of both ranks."""
    for key in keys:
        two = [found[key] for found in two]
    return two


@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_losses_of_one_process(one, two, name):
    expected, found = one["steps"][name]["losses"], by_rank(two, "steps", name, "losses")
    assert set(expected) > {"loss", "loss_ce", "acc"}
    for key, value in expected.items():
        assert np.mean([losses[key] for losses in found]) == pytest.approx(value, rel=1e-5), key
        if key not in ("loss", "loss_ce", "acc"):  # metric losses see all rows in every process
            assert [losses[key] for losses in found] == pytest.approx([value, value], rel=1e-5), key


@pytest.mark.parametrize("part", ["gradients", "updates"])
@pytest.mark.parametrize("name", STEPS)
def test_a_step_has_the_gradients_and_updates_of_one_process(one, two, name, part):
    def of(step: dict) -> dict:
        return step["grads"] if part == "gradients" else updates(step)

    expected = of(one["steps"][name])
    tolerance = FLOAT32_TOLERANCE if name.startswith("mscm") else TOLERANCE
    for step in by_rank(two, "steps", name):
        assert deviation(of(step), expected) < (tolerance, "")


@pytest.mark.parametrize("name", STEPS)
def test_after_a_step_both_processes_have_the_same_weights_bitwise(two, name):
    first, second = by_rank(two, "steps", name, "state")
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_weights_cast_together_get_the_gradients_of_autocast_in_both_processes(two):
    first, second = by_rank(two, "half_precision", "together")
    assert deviation(first, second)[0] == 0
    for found in by_rank(two, "half_precision"):
        assert deviation(found["together"], found["one by one"]) < (1e-5, "")  # largest seen: 0


def test_the_state_of_a_loss_moves_and_is_that_of_one_process(one, two):
    step = one["steps"]["stateful frozen"]
    assert {"loss_teacher_ce", "loss_teacher_distill"} <= set(step["losses"])
    names = [f"head.losses.teacher.{name}" for name in ("student.weight", "teacher", "mean")]
    for name in names:
        change = (step["state"][name] - step["before"][name]).abs().max()
        assert change > 1e-4, name
        for found in by_rank(two, "steps", "stateful frozen", "state"):
            assert (found[name] - step["state"][name]).abs().max() <= 1e-5 * change, name


def test_synced_batch_norm_is_what_makes_an_unfrozen_step_equal(one, two):
    expected, found = one["steps"]["mscm own"], by_rank(two, "steps", "mscm own")
    assert deviation(found[0]["grads"], expected["grads"])[0] > 0.1
    synced = one["steps"]["mscm synced"]
    assert deviation(synced["grads"], expected["grads"])[0] == 0  # in one process the two are the same


def test_cross_entropy_of_a_process_is_of_its_own_rows_and_their_mean_of_all(one, two):
    expected = one["steps"]["agw frozen"]["losses"]["loss_ce"]
    first, second = (losses["loss_ce"] for losses in by_rank(two, "steps", "agw frozen", "losses"))
    assert abs(first - second) > 1e-3
    assert (first + second) / 2 == pytest.approx(expected, rel=1e-6)


def test_gathered_rows_are_those_of_all_ranks_in_order_of_rank(two):
    locals_, gathered = by_rank(two, "gathered", "local"), by_rank(two, "gathered", "rows")
    for name in ("label", "modality", "stream", "branch", "image"):
        together = torch.cat([rows[name] for rows in locals_])
        assert all(torch.equal(rows[name], together) for rows in gathered)
    first, second = by_rank(two, "gathered", "features")
    assert first.shape == (36, 5) and torch.equal(first, second)


def test_gradient_of_gathered_rows_is_this_ranks_part_times_the_number_of_ranks(one, two):
    for found in (one, *two):
        weight, scale = found["gathered"]["weight"], 1 if found is one else 2
        assert torch.equal(found["gathered"]["grad"], scale * weight[:, None].double().expand(-1, 5))


def test_a_single_process_gathers_nothing(one):
    assert all(torch.equal(v, one["gathered"]["rows"][k]) for k, v in one["gathered"]["local"].items())


@pytest.mark.parametrize("name", LOSSES)
def test_metric_loss_sees_all_rows_with_the_gradient_of_one_process(one, two, name):
    expected = one["metric_losses"][name]
    assert expected["loss"] != 0
    for found in by_rank(two, "metric_losses", name):
        assert found["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-12)
        assert torch.allclose(found["grad"], expected["grad"], rtol=1e-9, atol=1e-12)
        assert abs(found["of_own_rows"] - expected["loss"]) > 1e-3  # its own rows alone would give something else


@pytest.mark.parametrize("momentum", ["0.1", "None"])
def test_synced_batch_norm_is_batch_norm_of_all_images(one, two, momentum):
    expected, found = one["batch_norm"][momentum], by_rank(two, "batch_norm", momentum)
    assert found[0]["kind"] == "CPUSyncBatchNorm"
    for name in ("out", "grad"):
        together = torch.cat([part[name] for part in found])
        assert torch.allclose(together, expected[name], atol=2e-6), name
    grad_weight = found[0]["grad_weight"] + found[1]["grad_weight"]
    assert torch.allclose(grad_weight, expected["grad_weight"], rtol=1e-5)
    for part in found:
        assert int(part["state"]["num_batches_tracked"]) == 2
        for name, value in expected["state"].items():
            assert torch.allclose(part["state"][name], value, rtol=1e-6), name


def test_the_sampler_draws_one_global_batch_and_shares_it_out(one, two):
    size = NUM_IDS * NUM_INSTANCES
    whole = one["draws"]["sampled"].view(2, 2, size)  # batch, modality, image
    parts = [sampled.view(2, 2, size // 2) for sampled in by_rank(two, "draws", "sampled")]
    assert torch.equal(torch.cat(parts, dim=2), whole)


def test_views_are_those_of_one_process_bitwise(one, two):
    for stem, expected in one["draws"]["views"].items():
        together = torch.cat([views[stem] for views in by_rank(two, "draws", "views")])
        assert torch.equal(together, expected), stem
    image = [image.view(4, -1) for image in by_rank(two, "draws", "image")]  # view, image
    assert torch.equal(torch.cat(image, dim=1), one["draws"]["image"].view(4, -1))


def test_evaluation_of_an_odd_set_is_identical(one, two):
    expected = one["metric_of_an_odd_set"]
    assert by_rank(two, "metric_of_an_odd_set", "collected") == [8, 8] and expected["collected"] == 15
    assert by_rank(two, "metric_of_an_odd_set", "metrics") == [expected["metrics"]] * 2
    table = two[0]["metric_of_an_odd_set"]["table"]
    assert table["path"] == expected["table"]["path"] and len(table["path"]) == 15
    assert torch.equal(table["pid"], expected["table"]["pid"])
    assert torch.equal(table["feat_bn"], expected["table"]["feat_bn"])
    assert two[1]["metric_of_an_odd_set"]["table"] == {}


def test_a_whole_test_gives_the_identical_table(one, two, folder):
    assert one["whole_test"] and two[0]["whole_test"] == one["whole_test"]
    single, double = (np.load(folder / f"features{n}.npz", allow_pickle=False) for n in (1, 2))
    assert len(single["path"]) == 35 and set(single.files) == set(double.files)
    for name in ("path", "pid", "cam_id", "modality"):
        assert (single[name] == double[name]).all()
    for name in ("feat_bn", "feat_pool"):
        assert np.abs(single[name] - double[name]).max() < 1e-5  # other images beside them in a batch


def test_a_strategy_of_another_runner_is_refused(tmp_path):
    cfg = load_config(Path(__file__).parents[2] / "configs" / "mscm_synthetic.py")
    cfg.strategy = dict(type="FSDPStrategy")
    with pytest.raises(ValueError, match="FlexibleRunner"):
        train(cfg, work_dir=str(tmp_path))
