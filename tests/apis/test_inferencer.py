"""The inferencer: one image, lists, folders, arrays, mixed modalities; the same numbers by every way."""

from __future__ import annotations

import numpy as np
import pytest
from colour_gallery import ColourEncoder, make_gallery
from PIL import Image

from mscmreid.apis import ReIDInferencer
from mscmreid.apis.inferencer import Similarity


@pytest.fixture
def person(tmp_path):
    make_gallery(tmp_path)
    return ReIDInferencer(ColourEncoder(), gallery=tmp_path / "station")


def test_all_kinds_of_inputs_give_the_same_features(person, tmp_path):
    folder = tmp_path / "cam2"
    files = sorted(folder.iterdir())
    pictures = [Image.open(file) for file in files]
    expected = person.features(files, "infrared")
    assert expected.shape == (12, 3) and expected.dtype == np.float32
    for inputs in (folder, str(folder), pictures, [np.asarray(picture) for picture in pictures]):
        np.testing.assert_array_equal(person.features(inputs, "infrared"), expected)
    np.testing.assert_array_equal(person.features(files[0], "infrared"), expected[:1])
    np.testing.assert_array_equal(person.features(np.asarray(pictures[0]), "infrared"), expected[:1])


def test_mixed_modalities_keep_their_order(tmp_path):
    class Told(ColourEncoder):
        def encode(self, images, modality):
            features = super().encode(images, modality)
            return features if modality == "visible" else -features

    make_gallery(tmp_path)
    files = sorted((tmp_path / "cam2").iterdir())[:3]
    plain = ReIDInferencer(ColourEncoder()).features(files, "visible")
    mixed = ReIDInferencer(Told()).features(files, ["visible", "infrared", "visible"])
    np.testing.assert_array_equal(mixed, plain * [[1], [-1], [1]])


def test_a_call_answers_in_mmengine_s_manner(person, tmp_path):
    file = tmp_path / "cam1" / "red_0.png"
    answer = person([file, np.asarray(Image.open(file))], ["visible", "infrared"])
    first, second = answer["predictions"]
    assert answer["visualization"] == [] and set(second) == {"modality", "feature"}
    assert first["path"] == str(file) and first["modality"] == "visible" and first["feature"].shape == (3,)


def test_similarity_is_the_cosine_and_has_a_verdict_once_it_is_calibrated(person, tmp_path):
    from mscmreid.retrieval.calibration import calibrate
    from mscmreid.retrieval.labelled import of_gallery

    red, blue = tmp_path / "cam1" / "red_0.png", tmp_path / "cam2" / "blue_0.png"
    features = person.features([red, blue], ["visible", "infrared"]).astype(np.float64)
    found = person.similarity(red, blue, ["visible", "infrared"])
    assert found == Similarity(float(features[0] @ features[1]))
    pairs, source = of_gallery(person.gallery)
    person.gallery.set_calibration(calibrate(pairs, person.gallery.identity, source, 0.1))
    found = person.similarity(red, blue, ["visible", "infrared"])
    assert found.verdict == "below the threshold" and 0 <= found.probability < 0.5
    same = person.similarity(red, tmp_path / "cam2" / "red_0.png", ["visible", "infrared"])
    assert same.verdict == "same person, likely" and same.probability > found.probability


def test_a_search_is_the_gallery_s(person, tmp_path):
    query = tmp_path / "cam2" / "green_0.png"
    where = dict(modality="visible")
    hits = person.search(query, "infrared", top=3, where=where)
    assert hits == person.gallery.search(query, "infrared", top=3, where=where)
    assert {hit.id for hit in hits[0]} == {"green"}


def test_mistakes_are_told(tmp_path):
    make_gallery(tmp_path)
    alone = ReIDInferencer(ColourEncoder())
    file = tmp_path / "cam1" / "red_0.png"
    with pytest.raises(ValueError, match="no gallery to search in"):
        alone.search(file, "visible")
    with pytest.raises(ValueError, match="found 3"):
        alone.features([file, file], ["visible"] * 3)
    with pytest.raises(ValueError, match="modality must be one of"):
        alone.features(file, "thermal")
    with pytest.raises(ValueError, match="has its weights inside"):
        ReIDInferencer("model.onnx", "weights.pth")
    with pytest.raises(FileNotFoundError, match="exported model is missing"):
        ReIDInferencer(tmp_path / "model.onnx")
