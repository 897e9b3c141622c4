"""Thresholds keep the rate that was wished, intervals know whose pairs they are, and a gallery says what it knows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from toy_galleries import MadeUpEncoder

from mscmreid.retrieval import calibration as module
from mscmreid.retrieval.answers import NOBODY, caption, verdict
from mscmreid.retrieval.calibration import (
    BELOW,
    SAME,
    Calibration,
    Pairs,
    calibrate,
    kind_of,
    pairs_of_images,
    read_pairs,
    scored_pairs,
)
from mscmreid.retrieval.describing import by_pattern
from mscmreid.retrieval.gallery import Gallery
from mscmreid.retrieval.labelled import of_features, of_gallery, of_list

pytest.importorskip("sklearn")
KIND = kind_of("visible", "infrared")


def made_up_pairs(num_people=30, images=4, seed=0, known=True):
    """All pairs of ``images`` infrared and visible images of each person; some people look like others."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(num_people), images)
    look = (
        rng.normal(size=(num_people, 6)) + 0.6 * rng.normal(size=(num_people // 5 + 1, 6))[np.arange(num_people) // 5]
    )
    sides = [look[people] + 0.5 * rng.normal(size=(len(people), 6)) for _ in range(2)]
    sides = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides]
    a, b = (part.ravel() for part in np.meshgrid(np.arange(len(people)), np.arange(len(people)), indexing="ij"))
    score = np.einsum("nd,nd->n", sides[0][a], sides[1][b]).astype(np.float32)
    whose = np.stack([people[a], people[b]], axis=1) if known else np.full((len(a), 2), -1)
    cameras = np.stack([np.array(["3", "6"])[a % 2], np.array(["1", "2"])[b % 2]], axis=1)
    return Pairs(score, people[a] == people[b], whose, cameras)


@pytest.mark.parametrize("wished", [0.3, 0.01, 0.001])
def test_the_threshold_is_the_smallest_that_keeps_the_wished_rate(wished):
    pairs = made_up_pairs()
    means = calibrate({KIND: pairs}, {}, "made up", wished).kinds[KIND]
    different = pairs.score[~pairs.same]
    assert (different >= means.threshold).mean() <= wished
    below = np.nextafter(np.float32(means.threshold), np.float32(-1))
    assert (different >= below).mean() > wished
    assert means.false_matches.value == (different >= means.threshold).mean()
    assert means.true_matches.value == (pairs.score[pairs.same] >= means.threshold).mean()
    assert means.false_matches.low <= means.false_matches.value <= means.false_matches.high
    assert means.threshold_interval[0] <= means.threshold <= means.threshold_interval[1]
    by_hand = [(different >= t).mean() for t, _, _ in means.curve]
    np.testing.assert_allclose([f for _, f, _ in means.curve], by_hand)
    np.testing.assert_allclose(
        [t for _, _, t in means.curve], [(pairs.score[pairs.same] >= t).mean() for t, _, _ in means.curve]
    )


def test_intervals_over_people_are_those_of_a_loop_over_draws_and_pairs(monkeypatch):
    monkeypatch.setattr(module, "REPLICATES", 25)
    pairs, wished = made_up_pairs(8, 2), 0.05
    different = np.sort(pairs.score[~pairs.same])[::-1]
    threshold = float(np.nextafter(different[int(wished * len(different))], np.float32(2)))
    false, true, interval = module._over_people(pairs, threshold, wished)
    draws = np.random.default_rng(0).multinomial(8, np.full(8, 1 / 8), 25)
    rates, hits, thresholds = [], [], []
    for draw in draws:
        weights = [
            (score, same, draw[a] if same else draw[a] * draw[b])
            for score, same, (a, b) in zip(pairs.score, pairs.same, pairs.people, strict=True)
        ]
        total = sum(w for _, same, w in weights if not same)
        rates.append(sum(w for s, same, w in weights if not same and s >= threshold) / total)
        of_same = sum(w for _, same, w in weights if same)
        hits.append(sum(w for s, same, w in weights if same and s >= threshold) / of_same)
        passed = 0
        for score, same, weight in sorted(weights, key=lambda row: -row[0]):
            passed += 0 if same else weight
            if not same and passed > wished * total:
                thresholds.append(float(score))
                break
    for found, values in (((false.low, false.high), rates), ((true.low, true.high), hits), (interval, thresholds)):
        np.testing.assert_allclose(found, np.percentile(values, [2.5, 97.5]), atol=1e-6)


def test_pairs_of_the_same_few_people_are_not_taken_for_independent():
    people, nobody = (made_up_pairs(known=known) for known in (True, False))
    by_people, by_pairs = (calibrate({KIND: p}, {}, "made up", 0.01).kinds[KIND] for p in (people, nobody))
    assert by_people.threshold == by_pairs.threshold
    wide, narrow = (m.false_matches.high - m.false_matches.low for m in (by_people, by_pairs))
    assert wide > 2 * narrow and "people" in by_people.intervals and "Clopper-Pearson" in by_pairs.intervals
    assert by_people.num_people == 30 and by_pairs.num_people == 0


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_probability_rises_with_the_score_and_is_the_share_of_such_pairs(method):
    pairs = made_up_pairs(60)
    means = calibrate({KIND: pairs}, {}, "made up", 0.01, method).kinds[KIND]
    grid = np.linspace(-1, 1, 50)
    found = np.array([means.probability(score) for score in grid])
    assert (np.diff(found) >= 0).all() and found[0] < 0.01 and found.max() > 0.5
    of_pairs = np.interp(pairs.score, means.scores, means.probabilities)
    assert abs(of_pairs.mean() - pairs.same.mean()) < 0.01 and means.prior == pairs.same.mean()
    near = (of_pairs > 0.4) & (of_pairs < 0.6)
    assert near.sum() > 50 and abs(pairs.same[near].mean() - of_pairs[near].mean()) < (
        0.05 if method == "isotonic" else 0.2
    )
    even = calibrate({KIND: pairs}, {}, "made up", 0.01, method, prior=0.5).kinds[KIND]
    assert all(even.probability(score) >= means.probability(score) - 1e-9 for score in grid)


def test_false_matches_are_counted_for_each_pair_of_cameras():
    pairs = made_up_pairs()
    means = calibrate({KIND: pairs}, {}, "made up", 0.05).kinds[KIND]
    assert [pair["cameras"] for pair in means.cameras] == [["1", "3"], ["1", "6"], ["2", "3"], ["2", "6"]]
    for pair in means.cameras:
        here = (np.sort(pairs.cameras, axis=1) == pair["cameras"]).all(axis=1) & ~pairs.same
        assert pair["false_matches"]["value"] == (pairs.score[here] >= means.threshold).mean()
        assert pair["false_matches"]["num"] == here.sum()


def test_what_cannot_be_shown_is_refused():
    pairs = made_up_pairs(4, 1)
    with pytest.raises(ValueError, match=r"12 pairs of different people cannot show a rate of 0\.001"):
        calibrate({KIND: pairs}, {}, "made up", 0.001)
    only = Pairs(pairs.score[pairs.same], pairs.same[pairs.same], pairs.people[pairs.same], pairs.cameras[pairs.same])
    with pytest.raises(ValueError, match="pairs of one person and of two are needed, found 4 and 0"):
        calibrate({KIND: only}, {}, "made up", 0.1)
    for wrong in (dict(false_matches=0), dict(false_matches=1), dict(method="magic"), dict(prior=1.0)):
        with pytest.raises(ValueError, match=r"must be"):
            calibrate({KIND: pairs}, {}, "made up", **{"false_matches": 0.1, **wrong})
    with pytest.raises(ValueError, match="found none"):
        calibrate({}, {}, "made up")


def test_pairs_by_one_camera_of_one_person_and_unlabelled_images_are_left_out():
    features = np.eye(6, dtype=np.float32)
    people = ["a", "a", "a", "b", "b", None]
    pairs = pairs_of_images(features, people, ["visible"] * 6, ["1", "1", "2", "1", None, "1"])
    (some,) = pairs.values()
    assert list(pairs) == ["visible-visible"] and len(some) == 4 + 5 - 1 + 1  # 6 of two people, 4 of one less one
    assert some.same.sum() == 3


@pytest.fixture
def gallery(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(120):
        (folder / f"{i // 6:03d}_{i}.png").write_bytes(b"%d, %d" % (i // 6, i))
    gallery = Gallery.create(tmp_path / "gallery", MadeUpEncoder(dim=8))
    files = sorted(folder.iterdir())
    for modality, part in (("visible", files[::2]), ("infrared", files[1::2])):
        gallery.add(part, modality, camera=[i % 3 for i in range(60)], ids=by_pattern("([0-9]+)_"))
    return gallery


def test_a_calibrated_gallery_gives_verdicts_and_says_how_far_to_trust_them(gallery):
    asked = gallery.features([0])
    (before,) = gallery.search(features=asked, modality="visible", top=3)
    assert verdict(before) == "" and before[0].probability is None
    assert "mean nothing absolute" in gallery.trust("visible") and "%" not in caption(before[0])
    pairs, source = of_gallery(gallery)
    gallery.set_calibration(calibrate(pairs, gallery.identity, source, 0.02))
    for opened in (gallery, Gallery.open(gallery.path)):
        (hits,) = opened.search(features=asked, modality="visible", top=120)
        for hit in hits:
            means = opened.score_model("visible", hit.modality)
            assert hit.verdict == (SAME if hit.score >= means.threshold else BELOW)
            assert hit.probability == means.probability(hit.score)
        assert verdict(hits) == SAME and verdict(hits[-5:]) == NOBODY and "likely" in caption(hits[0])
        assert "among 60 images of strangers" in opened.trust("visible", "infrared")
        assert set(opened.info()["calibration"]) == {"infrared-infrared", "infrared-visible", "visible-visible"}
    (unknown,) = gallery.search(features=asked, top=3)
    assert verdict(unknown) == ""
    text = json.loads((gallery.path / "calibration.json").read_text())
    assert Calibration.load(gallery.path) == gallery.calibration and text["source"] == source
    (gallery.path / "calibration.json").write_text('{"kinds": 1}')
    with pytest.raises(ValueError, match="no calibration"):
        Gallery.open(gallery.path)


def test_pairs_come_from_lists_and_feature_files(gallery, tmp_path):
    from mscmreid.evaluation.features import FeatureTable

    hits = gallery.hits()
    lines = [f"{a.path},{a.modality},{b.path},{b.modality},{int(a.id == b.id)}" for a in hits[:60:5] for b in hits[60:]]
    table = tmp_path / "pairs.csv"
    table.write_text("image_a,modality_a,image_b,modality_b,same\n" + "\n".join(lines))
    (listed,) = of_list(gallery, gallery.encoder, table)[0].values()
    features = {hit.path: gallery.features([hit.row])[0] for hit in hits}
    expected = [float(features[a.path] @ features[b.path]) for a in hits[:60:5] for b in hits[60:]]
    np.testing.assert_allclose(listed.score, expected, atol=1e-6)
    assert listed.same.sum() == sum(line.endswith("1") for line in lines) > 0
    other = tmp_path / "other.csv"
    for text, told in (
        ("image_a,same\n", "expected the columns"),
        (table.read_text() + "\nx,visible,y,infrared,yes\n", "same is 0 or 1"),
        (table.read_text() + "\nx,visible,y,thermal,1\n", "a modality one of"),
    ):
        other.write_text(text)
        with pytest.raises(ValueError, match=told):
            read_pairs(other)
    matrix = gallery.features([hit.row for hit in hits])
    FeatureTable(
        [hit.path for hit in hits],
        np.array([int(hit.id) for hit in hits]),
        np.array([int(hit.camera) for hit in hits]),
        np.array([hit.modality for hit in hits]),
        dict(feat_bn=matrix),
    ).save(tmp_path / "features.npz")
    by_file, by_gallery = of_features(gallery, tmp_path / "features.npz")[0], of_gallery(gallery)[0]
    assert by_file.keys() == by_gallery.keys()
    for kind, pairs in by_file.items():
        np.testing.assert_allclose(np.sort(pairs.score), np.sort(by_gallery[kind].score), atol=1e-6)
        assert pairs.same.sum() == by_gallery[kind].same.sum()
    assert not scored_pairs([], {})
