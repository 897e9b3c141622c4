"""Who is drawn: persons from (seed, pid), materials whose colour says nothing about infrared."""

import numpy as np
import pytest

from mscmreid.synthetic.materials import LUMA, draw_material
from mscmreid.synthetic.person import BAGS, HAIRS, LOWERS, SHOES, UPPER_PATTERNS, UPPERS, draw_person

CLOTHES = ("upper", "upper2", "inner", "lower", "lower2", "shoes", "bag", "headwear", "scarf")


@pytest.fixture(scope="module")
def people():
    return [draw_person(0, pid) for pid in range(1, 401)]


def test_a_person_depends_on_seed_and_pid_alone():
    assert draw_person(3, 7) == draw_person(3, 7)
    assert draw_person(3, 7) != draw_person(4, 7)
    assert draw_person(3, 7) != draw_person(3, 8)


def test_colour_does_not_predict_infrared(people):
    for other in ("reflectance", "warmth"):
        seen = np.array([(*p.materials[n].rgb, p.materials[n].gray, 1) for p in people for n in CLOTHES])
        hidden = np.array([getattr(p.materials[n], other) for p in people for n in CLOTHES])
        assert abs(np.corrcoef(seen[:, 3], hidden)[0, 1]) < 0.05
        fit = seen @ np.linalg.lstsq(seen, hidden, rcond=None)[0]
        assert 1 - ((hidden - fit) ** 2).sum() / ((hidden - hidden.mean()) ** 2).sum() < 0.01


def test_which_of_two_cloths_is_lighter_differs_between_the_modalities(people):
    for first, second in (("upper", "upper2"), ("upper", "lower"), ("upper", "bag"), ("lower", "shoes")):
        visible = [p.materials[first].gray > p.materials[second].gray for p in people]
        infrared = [p.materials[first].reflectance > p.materials[second].reflectance for p in people]
        assert np.mean(np.array(visible) == infrared) == pytest.approx(0.5, abs=0.1)


def test_patterns_can_be_seen_in_every_kind_of_light(people):
    for first, second in (("upper", "upper2"), ("lower", "lower2")):
        for key in ("gray", "reflectance"):
            gaps = [abs(getattr(p.materials[first], key) - getattr(p.materials[second], key)) for p in people]
            assert np.mean(np.array(gaps) >= 0.35) > 0.8
            assert min(gaps) > 0.15


def test_a_contrast_that_cannot_be_had_gives_the_largest_there_is():
    rng = np.random.default_rng(0)
    beside = [draw_material(rng, []) for _ in range(6)]
    cloth = draw_material(rng, beside, contrast=2.0)
    assert 0 <= cloth.reflectance <= 1
    assert all(cloth.rgb != other.rgb for other in beside)


def test_gray_is_pillows_gray(people):
    material = people[0].materials["upper"]
    assert material.gray == pytest.approx(sum(w * c for w, c in zip(LUMA, material.rgb, strict=True)))


def test_every_attribute_occurs(people):
    assert {p.upper.kind for p in people} == set(UPPERS)
    assert {p.lower.kind for p in people} == set(LOWERS)
    assert {p.upper.pattern.kind for p in people} == set(UPPER_PATTERNS)
    assert {p.hair for p in people} == set(HAIRS)
    assert {p.bag for p in people} == set(BAGS)
    assert {p.shoes for p in people} == set(SHOES)


def test_people_can_be_told_apart_by_words(people):
    words = [p.describe() + p.shoes for p in people[:200]]
    assert len(set(words)) > 190
