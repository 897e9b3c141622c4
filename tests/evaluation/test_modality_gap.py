"""What stands between the modalities: twins in plain loops, and spaces in which the answer is known."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mscmreid.evaluation.modality_gap import even_rows, linear_separability, modality_gap, modality_pairs

ROOT = Path(__file__).resolve().parents[2]


def people(num_people=12, frames=3, shift=0.0, noise=0.3, dim=16, seed=0):
    """(features, pid, modality): unit rows around a centre a person; infrared ones moved along one axis."""
    rng = np.random.default_rng(seed)
    pid = np.repeat(np.arange(num_people), 2 * frames)
    modality = np.tile(np.repeat(["visible", "infrared"], frames), num_people)
    x = rng.normal(size=(num_people, dim))[pid] + noise * rng.normal(size=(len(pid), dim))
    x[modality == "infrared", 0] += shift
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), pid, modality


def test_distances_by_modality_pair_are_those_of_plain_loops():
    x, pid, modality = people(num_people=5, shift=1.0)
    found = modality_pairs(x, pid, modality)
    assert list(found) == [("visible", "visible"), ("visible", "infrared"), ("infrared", "infrared")]
    for (first, second), pairs in found.items():
        distances = {True: [], False: []}
        kernel, squares = [], []
        for i, j in combinations(range(len(pid)), 2):
            if sorted((modality[i], modality[j])) != sorted((first, second)):
                continue
            distance = 1 - float(np.dot(x[i].astype(float), x[j].astype(float)))
            distances[pid[i] == pid[j]].append(distance)
            squared = float(((x[i].astype(float) - x[j].astype(float)) ** 2).sum())
            kernel.append(np.exp(-2 * squared))
            squares += [squared] if pid[i] == pid[j] else []
        for same in (True, False):
            assert pairs.mean(same) == pytest.approx(np.mean(distances[same]), abs=6e-4)  # bins of a thousandth
            assert pairs.std(same) == pytest.approx(np.std(distances[same]), abs=1e-3)
        wins = np.mean([a < b for a in distances[True] for b in distances[False]])
        assert pairs.area == pytest.approx(100 * wins, abs=0.5)
        assert pairs.alignment == pytest.approx(np.mean(squares), abs=2e-3)
        assert pairs.uniformity == pytest.approx(np.log(np.mean(kernel)), abs=3e-3)


def test_uniformity_of_one_point_is_zero_and_of_a_sphere_is_low():
    rng = np.random.default_rng(0)
    pid, modality = np.repeat(np.arange(100), 2), np.full(200, "visible")
    sphere = modality_pairs(rng.normal(size=(200, 128)), pid, modality)["visible", "visible"]
    point = modality_pairs(np.ones((200, 128)), pid, modality)["visible", "visible"]
    assert sphere.uniformity == pytest.approx(-4, abs=0.1) and point.uniformity == pytest.approx(0, abs=3e-3)  # bins
    assert point.alignment == pytest.approx(0, abs=2e-3)


def test_a_modality_or_kind_of_pair_that_is_not_there_has_no_entry():
    x, pid, modality = people(frames=1)
    assert list(modality_pairs(x, pid, modality)) == [("visible", "infrared")]  # one image of a person and modality
    own = modality == "visible"
    assert modality_pairs(x[own], pid[own], modality[own]) == {}
    assert modality_gap(x[own], pid[own], modality[own]) is None


def test_the_gap_grows_with_the_shift_and_people_without_both_modalities_do_not_count():
    gaps = [modality_gap(*people(shift=shift)) for shift in (0.0, 1.0, 4.0)]
    for name in ("between_means", "between_own_centres", "separability"):
        values = [getattr(gap, name) for gap in gaps]
        assert values == sorted(values), (name, values)
    assert gaps[0].separability < 65 and gaps[2].separability > 95
    assert gaps[0].between_own_centres < 0.5 * gaps[0].between_people
    x, pid, modality = people(shift=1.0)
    strangers = np.r_[x, np.roll(x[:4], 3, axis=1)]
    found = modality_gap(strangers, np.r_[pid, 90, 91, 92, 93], np.r_[modality, ["visible"] * 4])
    assert found == gaps[1]


def test_the_means_are_those_of_people_not_of_images():
    x, pid, modality = people(num_people=3, frames=1, noise=0, shift=2.0)
    often = np.r_[np.arange(6), np.repeat(0, 30)]  # a person with many visible images moves no mean
    one, other = modality_gap(x, pid, modality), modality_gap(x[often], pid[often], modality[often])
    assert one.between_means == pytest.approx(other.between_means)
    visible, infrared = x[0::2].astype(float), x[1::2].astype(float)
    assert one.between_means == pytest.approx(np.linalg.norm(visible.mean(0) - infrared.mean(0)), abs=1e-6)
    far = [np.linalg.norm(side[i] - side[j]) for side in (visible, infrared) for i, j in combinations(range(3), 2)]
    assert one.between_people == pytest.approx(np.mean(far), abs=1e-6)


def test_people_are_kept_apart():
    """Noise that marks each person in each modality can be learnt by heart, but tells nothing of somebody new."""
    rng = np.random.default_rng(0)
    pid = np.repeat(np.arange(20), 8)
    positive = np.tile(np.repeat([False, True], 4), 20)
    marks = rng.normal(size=(40, 200))
    x = marks[2 * pid + positive] + 0.01 * rng.normal(size=(160, 200))
    assert linear_separability(x, pid, positive) < 65
    assert linear_separability(x, np.arange(160), positive) > 95  # every image a person of its own: seen before


def test_both_ways_to_solve_the_discriminant_are_one():
    x, pid, modality = people(num_people=40, shift=0.8, dim=30)
    padded = np.c_[x, np.zeros((len(x), 400))]  # more columns than rows, which say nothing but for the ridge's scale
    wide = linear_separability(padded, pid, modality == "infrared")
    assert linear_separability(x, pid, modality == "infrared") == pytest.approx(wide, abs=6)


def test_even_rows_have_the_first_and_the_last():
    assert even_rows(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert even_rows(np.arange(3), 4).tolist() == [0, 1, 2]


def test_the_numbers_need_numpy_alone():
    """The modules are loaded without the package around them, and without torch."""
    code = """
import sys, types
for name in ("torch", "mmengine", "scipy", "sklearn", "umap"):
    sys.modules[name] = None
for name, path in (("mscmreid", "mscmreid"), ("mscmreid.evaluation", "mscmreid/evaluation")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
import mscmreid.evaluation.modality_gap, mscmreid.evaluation.error_kinds
from mscmreid.evaluation.embedding import embed
import numpy as np
print(embed(np.eye(5)).points.shape)
try:
    embed(np.eye(5), "umap")
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(5, 2)" in done.stdout and "pip install 'mscmreid[embed]'" in done.stdout
