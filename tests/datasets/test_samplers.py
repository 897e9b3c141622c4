"""What a batch of people is made of, and that the number of processes does not matter."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from mscmreid.datasets import CrossModalityBatchSampler
from mscmreid.datasets import samplers as module
from mscmreid.datasets.samplers import index_table, indices_by_id


def people(counts):
    """A data set of ``{pid: (visible, infrared)}`` images, rows shuffled."""
    rows = [
        (pid, name)
        for pid, pair in counts.items()
        for name, n in zip(("visible", "infrared"), pair, strict=True)
        for _ in range(n)
    ]
    order = np.random.RandomState(0).permutation(len(rows))
    columns = dict(pid=np.array([rows[i][0] for i in order]), modality=np.array([rows[i][1] for i in order]))
    return SimpleNamespace(rows=lambda: columns)


@pytest.fixture
def dataset():
    return people({pid: (3 + pid % 4, 1 + pid % 3) for pid in range(10, 30)})


def batches(sampler):
    """(batches, rows) of this process."""
    return np.array(list(sampler))


def test_a_batch_is_k_visible_then_k_infrared_images_of_p_different_people(dataset):
    rows = dataset.rows()
    for batch in batches(CrossModalityBatchSampler(dataset, 5, 4, seed=1)):
        assert rows["modality"][batch].tolist() == ["visible"] * 20 + ["infrared"] * 20
        visible, infrared = rows["pid"][batch[:20]], rows["pid"][batch[20:]]
        assert (visible == infrared).all()
        assert (visible.reshape(5, 4) == visible.reshape(5, 4)[:, :1]).all()
        assert len(set(visible)) == 5


def test_epoch_length_follows_the_larger_modality(dataset):
    modality = dataset.rows()["modality"]
    largest = max((modality == "visible").sum(), (modality == "infrared").sum())
    sampler = CrossModalityBatchSampler(dataset, 3, 2, seed=1)
    assert sampler.num_batches == largest // 6 + 1
    assert len(sampler) == len(list(sampler)) == sampler.num_batches
    assert sampler.global_batch_size == 12 == len(next(iter(sampler)))


def test_sysu_has_928_batches():
    counts = dict.fromkeys(range(395), (56, 30))
    counts[0] = (56 + 22258 - 395 * 56, 30)
    assert CrossModalityBatchSampler(people(counts), 6, 4, seed=0).num_batches == 928


def test_number_of_batches_can_be_set(dataset):
    assert len(CrossModalityBatchSampler(dataset, 3, 2, seed=1, num_batches=7)) == 7


def test_an_epoch_is_drawn_from_seed_and_epoch_alone(dataset):
    def draw(seed, epoch):
        sampler = CrossModalityBatchSampler(dataset, 4, 2, seed=seed)
        list(sampler)  # what was drawn before leaves no trace
        np.random.seed(epoch)  # nor does the global generator
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(1, 3) == draw(1, 3)
    assert len({str(draw(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_slices_of_the_processes_together_are_the_global_batch(dataset, monkeypatch, world_size):
    whole = batches(CrossModalityBatchSampler(dataset, 4, 4, seed=3))
    parts = []
    for rank in range(world_size):
        monkeypatch.setattr(module, "get_dist_info", lambda rank=rank: (rank, world_size))
        sampler = CrossModalityBatchSampler(dataset, 4, 4, seed=3)
        parts.append(batches(sampler))
        assert parts[-1].shape == (len(sampler), 32 // world_size)
    half = 16 // world_size
    together = np.concatenate([part[:, :half] for part in parts] + [part[:, half:] for part in parts], axis=1)
    np.testing.assert_array_equal(together, whole)


def test_people_and_images_are_drawn_evenly(dataset):
    rows = dataset.rows()
    drawn = CrossModalityBatchSampler(dataset, 5, 4, seed=2, num_batches=4000).draw(0)  # two of (4000, 20)
    people_drawn = Counter(rows["pid"][drawn[0][:, ::4]].ravel().tolist())
    # 20,000 draws of 20 people: 1,000 each, standard deviation under 31
    assert len(people_drawn) == 20 and max(abs(n - 1000) for n in people_drawn.values()) < 125
    images = Counter(drawn[1].ravel().tolist())
    for pid in set(rows["pid"].tolist()):
        own = np.flatnonzero((rows["pid"] == pid) & (rows["modality"] == "infrared"))
        total = sum(images[i] for i in own)
        for image in own:
            assert abs(images[image] - total / len(own)) < 5 * np.sqrt(total / len(own))


def test_an_image_may_come_twice_in_a_batch():
    batch = batches(CrossModalityBatchSampler(people({1: (1, 1), 2: (1, 1)}), 2, 3, seed=0))[0]
    assert Counter(Counter(batch.tolist()).values()) == {3: 4}


def test_without_replacement_no_image_comes_twice_and_all_come_evenly():
    dataset = people({1: (4, 6), 2: (7, 4), 3: (5, 5)})
    sampler = CrossModalityBatchSampler(dataset, 2, 4, replacement=False, seed=0, num_batches=3000)
    rows, found = dataset.rows(), batches(sampler)
    assert all(len(set(batch)) == 16 for batch in found.tolist())
    for batch in found[:50]:
        assert (rows["pid"][batch[:8]] == rows["pid"][batch[8:]]).all()
        assert (rows["modality"][batch] == ["visible"] * 8 + ["infrared"] * 8).all()
    images = Counter(found.ravel().tolist())
    own = np.flatnonzero((rows["pid"] == 2) & (rows["modality"] == "visible"))
    assert max(abs(images[i] - 2000 * 4 / 7) for i in own) < 5 * np.sqrt(2000 * 4 / 7)
    with pytest.raises(ValueError, match=r"needs num_instances=5 visible images, but 1 has 4 \(1 such ids\)"):
        CrossModalityBatchSampler(dataset, 2, 5, replacement=False)


def test_a_new_table_of_rows_makes_new_batches(dataset):
    sampler = CrossModalityBatchSampler(dataset, 3, 2, seed=0)
    pid, before = dataset.rows()["pid"], list(sampler)
    sampler.read_rows(dict(dataset.rows(), label=pid))
    assert list(sampler) == before  # the same people by another name
    label = np.where(pid < 20, pid % 4, -1)
    sampler.read_rows(dict(dataset.rows(), label=label))
    for batch in sampler:
        assert (label[batch] >= 0).all() and len(set(label[batch])) == 3


def test_seed_none_takes_one_for_all_processes(dataset, monkeypatch):
    monkeypatch.setattr(module, "sync_random_seed", lambda: 77)
    found = list(CrossModalityBatchSampler(dataset, 4, 2, seed=None))
    assert found == list(CrossModalityBatchSampler(dataset, 4, 2, seed=77))


def test_too_few_people_are_an_error(dataset):
    with pytest.raises(ValueError, match=r"num_ids=21 different ids, the data set has 20"):
        CrossModalityBatchSampler(dataset, 21, 2)


def test_people_of_one_modality_are_an_error_or_left_out():
    dataset = people({1: (2, 2), 2: (3, 0), 3: (2, 2), 9: (0, 4)})
    with pytest.raises(ValueError, match=r"2 ids have images in one modality only, such as \[2, 9\]"):
        CrossModalityBatchSampler(dataset, 2, 2)
    sampler = CrossModalityBatchSampler(dataset, 2, 2, seed=0, drop_single_modality=True)
    assert set(dataset.rows()["pid"][np.concatenate(list(sampler))]) == {1, 3}


def test_a_batch_that_the_processes_cannot_share_evenly_is_an_error(dataset, monkeypatch):
    monkeypatch.setattr(module, "get_dist_info", lambda: (0, 5))
    with pytest.raises(ValueError, match=r"8 rows of a batch's part must be divisible by the number of processes, 5"):
        CrossModalityBatchSampler(dataset, 4, 2)


@pytest.mark.parametrize("sizes", [(0, 2, None), (2, 0, None), (2, 2, 0)])
def test_sizes_below_one_are_an_error(dataset, sizes):
    with pytest.raises(ValueError, match="must be positive"):
        CrossModalityBatchSampler(dataset, sizes[0], sizes[1], num_batches=sizes[2])


def test_a_data_set_without_rows_is_an_error():
    with pytest.raises(ValueError, match=r"needs a data set with rows\(\)"):
        CrossModalityBatchSampler([1, 2, 3], 2, 2)


def test_indices_by_id_is_what_a_loop_finds():
    random = np.random.RandomState(4)
    pid, mask = random.randint(0, 6, 50), random.rand(50) < 0.5
    slow = {p: [i for i in range(50) if pid[i] == p and mask[i]] for p in set(pid[mask].tolist())}
    assert {p: part.tolist() for p, part in indices_by_id(pid, mask).items()} == slow
    assert indices_by_id(pid, np.zeros(50, dtype=bool)) == {}


def test_index_table_pads_behind_the_rows():
    table, counts = index_table([np.array([5]), np.array([7, 8, 9])])
    assert table.tolist() == [[5, -1, -1], [7, 8, 9]] and counts.tolist() == [1, 3]
