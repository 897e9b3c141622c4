"""float32 is float32 when features are extracted: a GPU's shorter products are asked for by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from mscmreid.engine.optimizers.optim_wrapper import EXTRACTION_PRECISIONS, usable_precision
from mscmreid.models.precision import inference_precision
from mscmreid.retrieval.extract import stream_features
from mscmreid.structures import ReIDDataSample

BACKENDS = (torch.backends.cudnn, torch.backends.cuda.matmul)


@pytest.fixture(params=[True, False], autouse=True)
def before(request) -> Iterator[bool]:
    """What a program had set."""
    own = [backend.allow_tf32 for backend in BACKENDS]
    for backend in BACKENDS:
        backend.allow_tf32 = request.param
    yield request.param
    for backend, value in zip(BACKENDS, own, strict=True):
        backend.allow_tf32 = value


def allowed() -> list[bool]:
    return [backend.allow_tf32 for backend in BACKENDS]


@pytest.mark.parametrize("name", list(EXTRACTION_PRECISIONS))
def test_shorter_products_are_for_tf32_alone_and_what_was_set_comes_back(before, name):
    dtype = EXTRACTION_PRECISIONS[name]
    with pytest.raises(KeyError), inference_precision("cpu", dtype, tf32=name == "tf32"):
        assert allowed() == [name == "tf32"] * 2
        assert torch.is_autocast_enabled("cpu") == (dtype is not torch.float32)
        raise KeyError
    assert allowed() == [before] * 2


def test_extraction_computes_in_it():
    class Model(nn.Module):
        image_size = (4, 2)

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def test_step(self, data):
            assert allowed() == [False, False]
            return [ReIDDataSample(feat_bn=torch.ones(3)) for _ in data["inputs"]]

    images = [torch.zeros(4, 2, 3, dtype=torch.uint8).numpy()] * 2
    assert sum(len(batch.kept) for batch in stream_features(Model(), images, "visible")) == 2


def test_on_a_cpu_it_is_float32():
    assert usable_precision("tf32", "cpu", EXTRACTION_PRECISIONS) == "float32"
    assert usable_precision("tf32", "cuda", EXTRACTION_PRECISIONS) == "tf32"
    with pytest.raises(ValueError, match="dtype must be one of"):
        usable_precision("tf32", "cuda")  # not in training
