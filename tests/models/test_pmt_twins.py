"""PMT's losses, views and learning rate against slow, obvious twins, and what chance does in its views."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from test_view_ops import assert_share, assert_uniform
from torch import Tensor, nn
from torch.utils.data import DataLoader
from toy_training import CONFIGS

from mscmreid.apis import load_config
from mscmreid.datasets.loading import reid_collate
from mscmreid.engine import CosineToFloorLR
from mscmreid.models import data_preprocessor
from mscmreid.models.losses.batch_hard import batch_hard_triplet_within
from mscmreid.models.losses.cross_entropy import cross_entropy_by_modality
from mscmreid.models.losses.shared_space import discriminative_center, modality_shared_enhancement
from mscmreid.models.views import GaussianBlur, OneOf, RandomGrayscale, RandomJitter
from mscmreid.registry import MODELS
from mscmreid.structures import MODALITIES, ReIDDataSample, Rows

SEEDS = range(3)
MANY = 20000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(seed: int, n: int = 19, dim: int = 4, num_classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and modalities (2: of neither) in which nothing is balanced."""
    g = generator(seed)
    labels = torch.randint(num_classes, (n,), generator=g)
    features = torch.randn(n, dim, generator=g, dtype=torch.float64) + 0.4 * labels[:, None]
    modality = torch.tensor([0, 0, 1, 1, 2])[torch.randint(5, (n,), generator=g)]
    return features.requires_grad_(), labels, modality


def distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum().clamp_min(1e-12).sqrt()


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean() if values else torch.zeros((), dtype=torch.float64)


def assert_twins(fast: Tensor, slow: Tensor, features: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    (fast_grad,), (slow_grad,) = (torch.autograd.grad(value, features, retain_graph=True) for value in (fast, slow))
    assert slow_grad.abs().max() > 1e-3
    torch.testing.assert_close(fast_grad, slow_grad, rtol=1e-6, atol=1e-8)


def loop_within(f: Tensor, labels: list[int], modality: list[int], margin: float) -> Tensor:
    total = 0 * f.sum()
    for m in (0, 1):
        rows, hinges = [i for i in range(len(f)) if modality[i] == m], []
        for i in rows:
            positives = [distance(f[i], f[j]) for j in rows if labels[j] == labels[i]]
            negatives = [distance(f[i], f[j]) for j in rows if labels[j] != labels[i]]
            gap = max(positives) - min(negatives) + margin if negatives else 0 * f.sum()
            hinges.append(gap.clamp_min(0))
        total = total + mean(hinges)
    return total


def loop_msel(f: Tensor, labels: list[int], modality: list[int]) -> Tensor:
    total, n = 0 * f.sum(), range(len(f))
    for m in (0, 1):
        squares = []
        for i in (i for i in n if modality[i] == m):
            mine = [j for j in n if labels[j] == labels[i] and j != i]
            across = [distance(f[i], f[j]) for j in mine if modality[j] == 1 - m]
            own = [distance(f[i], f[j]) for j in mine if modality[j] == m]
            if across and own:
                squares.append((mean(across) - mean(own)) ** 2)
        total = total + mean(squares)
    return total / 2


def loop_dcl(f: Tensor, labels: list[int]) -> Tensor:
    pulls, pushes = [], []
    for person in sorted(set(labels)):
        center = torch.stack([f[j] for j in range(len(f)) if labels[j] == person]).mean(0)
        pulls += [distance(center, f[j]) for j in range(len(f)) if labels[j] == person]
        others = [distance(center, f[j]) for j in range(len(f)) if labels[j] != person]
        average = mean(others).detach()
        pushes.append(mean([d for d in others if d < average] or others))
    return mean(pulls) / mean(pushes)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("margin", [0.1, 2.0])
def test_the_triplet_within_a_modality_equals_its_loops(seed: int, margin: float) -> None:
    f, labels, modality = batch(seed)
    slow = loop_within(f, labels.tolist(), modality.tolist(), margin)
    assert_twins(batch_hard_triplet_within(f, labels, modality, margin), slow, f)


@pytest.mark.parametrize("seed", SEEDS)
def test_msel_equals_its_loops(seed: int) -> None:
    f, labels, modality = batch(seed)
    assert_twins(modality_shared_enhancement(f, labels, modality), loop_msel(f, labels.tolist(), modality.tolist()), f)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_classes", [2, 4])
def test_dcl_equals_its_loops(seed: int, num_classes: int) -> None:
    f, labels, _ = batch(seed, num_classes=num_classes)
    assert_twins(discriminative_center(f, labels), loop_dcl(f, labels.tolist()), f)


def test_dcl_counts_all_others_where_they_are_equally_far() -> None:
    f = torch.tensor([[0.0, 1.0], [0.0, -1.0], [3.0, 0.0], [-3.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    assert discriminative_center(f, labels).item() == pytest.approx(2 / 2)  # (1 + 3) / 2 over (3 + 1) / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_cross_entropy_by_modality_equals_its_loops(seed: int) -> None:
    z, labels, modality = batch(seed)
    slow = 0 * z.sum()
    for m in (0, 1):
        rows = [i for i in range(len(z)) if modality[i] == m]
        slow = slow + mean([z[i].exp().sum().log() - z[i, labels[i]] for i in rows])
    assert_twins(cross_entropy_by_modality(z, labels, modality, 0.0), slow, z)


@pytest.mark.parametrize(("epochs", "warmup"), [(24, 3), (36, 3), (5, 0), (4, 4)])
def test_learning_rates_equal_those_of_a_loop_over_epochs(epochs: int, warmup: int) -> None:
    base, floor = (1.5e-4, 3e-4), 3e-6
    optimizer = torch.optim.AdamW([dict(params=[nn.Parameter(torch.zeros(1))], lr=lr) for lr in base])
    scheduler = CosineToFloorLR(optimizer, end=epochs, floor=floor, warmup=warmup)
    for epoch in range(1, epochs + 1):
        if epoch < warmup:
            expected = [floor + epoch * (b - floor) / warmup for b in base]
        else:
            expected = [floor + (b - floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2 for b in base]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected, rel=1e-12), epoch
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("options", [dict(by_epoch=False), dict(warmup=9), dict(floor=-1.0)])
def test_a_schedule_that_cannot_be_is_refused(options: dict) -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1e-3)
    with pytest.raises(ValueError, match="CosineToFloorLR expects"):
        CosineToFloorLR(optimizer, end=8, **options)


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def jitter_twin(image: Tensor, draws: dict) -> Tensor:
    steps = [(ImageEnhance.Brightness, draws["brightness"]), (ImageEnhance.Contrast, draws["contrast"])]
    pillow = to_pil(image)
    for enhance, factor in reversed(steps) if draws["contrast_first"] else steps:
        pillow = enhance(pillow).enhance(factor)
    return torch.from_numpy(np.array(pillow)).permute(2, 0, 1)


def blur_twin(image: Tensor, sigma: float, radius: int) -> Tensor:
    """One tap at a time, in float64; what comes out half-way between two numbers may be either."""
    taps = [math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)]
    x = np.pad(image.double().numpy(), ((0, 0), (radius, radius), (radius, radius)), mode="reflect")
    height, width = image.shape[1:]
    x = sum(t * x[:, k : k + height] for k, t in enumerate(taps)) / sum(taps)
    return torch.from_numpy(sum(t * x[:, :, k : k + width] for k, t in enumerate(taps)) / sum(taps))


def draws_at(draws: dict[str, Tensor], i: int) -> dict:
    return {name: value[i].item() for name, value in draws.items()}


@pytest.fixture(params=["rows", "batch"])
def way(request, monkeypatch) -> None:
    """Both ways through a batch of images."""
    for module in ("intensity", "rowwise"):
        name = f"mscmreid.models.views.{module}.goes_by_row"
        monkeypatch.setattr(name, lambda x: request.param == "rows", raising=False)


def images(n: int = 24, size: tuple[int, int] = (20, 14), seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, 3, *size), generator=generator(seed), dtype=torch.uint8)


def test_jitter_is_pillows_in_either_order(way) -> None:
    x, op = images(), RandomJitter((0.5, 1.6), (0.4, 1.7))
    draws = op.draw(generator(1), len(x), (20, 14))
    assert 0 < draws["contrast_first"].sum() < len(x)
    found = op.apply(x, draws)
    for i, image in enumerate(x):
        assert torch.equal(found[i], jitter_twin(image, draws_at(draws, i)))
    assert torch.equal(x, images())  # makes_new


def assert_blurred(found: Tensor, image: Tensor, sigma: float, radius: int) -> None:
    assert (found - blur_twin(image, sigma, radius)).abs().max() < 0.5 + 1e-3


@pytest.mark.parametrize("kernel", [1, 5, 21])
def test_blur_equals_a_loop_over_its_taps(way, kernel: int) -> None:
    x, op = images(6), GaussianBlur(kernel, (0.1, 3.0))
    draws = op.draw(generator(1), len(x), (20, 14))
    for i, found in enumerate(op.apply(x, draws)):
        assert_blurred(found, x[i], draws["sigma"][i].item(), kernel // 2)


def test_one_of_does_the_chosen_operation_alone(way) -> None:
    x, blur = images(), dict(type="GaussianBlur", kernel=5)
    op = OneOf(dict(jitter=dict(type="RandomJitter"), blur=blur, gray=dict(type="RandomGrayscale", prob=1.0)))
    draws = op.draw(generator(2), len(x), (20, 14))
    assert set(draws["choice"].tolist()) == {0, 1, 2}
    found = op.apply(x.clone(), draws)
    for i, image in enumerate(x):
        own = draws_at(draws, i)
        if own["choice"] == 0:
            named = {name.removeprefix("jitter."): value for name, value in own.items()}
            assert torch.equal(found[i], jitter_twin(image, named))
        elif own["choice"] == 1:
            assert_blurred(found[i], image, own["blur.sigma"], 2)
        else:
            gray = torch.from_numpy(np.array(to_pil(image).convert("L")))
            assert torch.equal(found[i], gray.expand(3, -1, -1))


def test_jitter_blur_and_choice_are_drawn_evenly_and_apart() -> None:
    jitter = RandomJitter((0.7, 1.3), (0.6, 1.2)).draw(generator(), MANY, (4, 4))
    assert_uniform(jitter["brightness"], 0.7, 1.3)
    assert_uniform(jitter["contrast"], 0.6, 1.2)
    assert_share(jitter["contrast_first"], 0.5)
    assert abs(torch.corrcoef(torch.stack([jitter["brightness"], jitter["contrast"]]))[0, 1]) < 5 / math.sqrt(MANY)
    assert_uniform(GaussianBlur(21, (0.1, 3.0)).draw(generator(), MANY, (4, 4))["sigma"], 0.1, 3.0)
    ops = dict(a=dict(type="RandomJitter"), b=dict(type="GaussianBlur"), gone=None, c=dict(type="RandomGrayscale"))
    choice = OneOf(ops).draw(generator(), MANY, (4, 4))["choice"]
    for k in range(3):
        assert_share(choice == k, 1 / 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GaussianBlur(4),
        lambda: GaussianBlur(5, (0.0, 1.0)),
        lambda: RandomJitter((1.3, 0.7)),
        lambda: OneOf({}),
        lambda: OneOf(dict(gone=None)),
    ],
)
def test_impossible_options_are_errors(make) -> None:
    with pytest.raises(ValueError, match="found"):
        make()


def test_images_that_are_too_small_for_the_blur_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 15 pixels, found"):
        GaussianBlur(31).apply(images(), dict(sigma=torch.ones(24)))


@pytest.mark.parametrize("op", [RandomJitter(), GaussianBlur(5), OneOf(dict(blur=dict(type="GaussianBlur", kernel=5)))])
def test_nothing_is_read_back_from_another_device(op) -> None:
    x = torch.empty(4, 3, 20, 14, dtype=torch.uint8, device="meta")
    draws = {name: value.to("meta") for name, value in op.draw(generator(), 4, (20, 14)).items()}
    assert op.apply(x, draws).shape == x.shape


@pytest.fixture(scope="module")
def config():
    return load_config(CONFIGS / "pmt_sysu.py", dict(image_size=(32, 24))).model.data_preprocessor


def preprocessor(config, seed: int = 0, iteration: int = 0, epoch: int = 0) -> data_preprocessor.ReIDDataPreprocessor:
    built = MODELS.build(dict(config, seed=seed))
    built.set_iteration(iteration, epoch)
    return built


class People:
    """Eight random images: four people, visible rows first, as a batch sampler would order them."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> dict:
        pixels = images(1, (32, 24), seed=i)[0]
        return dict(inputs=pixels, data_samples=ReIDDataSample(metainfo=dict(modality=MODALITIES[i // 4], label=i % 4)))


def views(config, data: dict, **when) -> dict[str, Tensor]:
    return preprocessor(config, **when)(data, training=True)["inputs"]


def whole_batch() -> dict:
    return reid_collate([People()[i] for i in range(8)])


def test_the_views_follow_from_seed_and_iteration_alone(config) -> None:
    first = views(config, whole_batch(), seed=3, iteration=7)
    torch.manual_seed(5)
    again = views(config, whole_batch(), seed=3, iteration=7)
    assert all(torch.equal(again[name], x) for name, x in first.items())
    for other in (dict(seed=4, iteration=7), dict(seed=3, iteration=8)):
        assert all(not torch.equal(views(config, whole_batch(), **other)[name], x) for name, x in first.items())


def test_ranks_together_see_what_one_process_sees(config, monkeypatch) -> None:
    whole, parts = views(config, whole_batch(), iteration=7), []
    for rank in (0, 1):
        monkeypatch.setattr(data_preprocessor, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(data_preprocessor, "get_world_size", lambda: 2)
        own = [2 * rank, 2 * rank + 1, 4 + 2 * rank, 5 + 2 * rank]
        parts.append(views(config, reid_collate([People()[i] for i in own]), iteration=7))
    for name, x in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts]), x)


def test_data_workers_change_no_view(config) -> None:
    seen = []
    for workers in (0, 2):
        context = dict(multiprocessing_context="fork") if workers else {}
        loader = DataLoader(People(), 8, collate_fn=reid_collate, num_workers=workers, **context)
        seen.append(views(config, next(iter(loader)), iteration=7))
    assert all(torch.equal(seen[1][name], x) for name, x in seen[0].items())


def test_visible_images_are_gray_until_the_second_stage_begins(config) -> None:
    def is_gray(x: Tensor) -> bool:
        back = x * torch.tensor(config.std).view(3, 1, 1) + torch.tensor(config.mean).view(3, 1, 1)
        return bool((back - back[:, :1]).abs().max() < 1e-5)

    plain = dict(config, ops=dict(config.ops, erase=None))
    for epoch, expected in ((0, True), (5, True), (6, False), (23, False)):
        assert is_gray(views(plain, whole_batch(), epoch=epoch)["visible"]) == expected, epoch
    assert not is_gray(views(plain, whole_batch(), epoch=0)["infrared"])
    first = MODELS.build(plain).views["visible"].steps["gray"]
    assert isinstance(first.op, RandomGrayscale) and first.op.prob == 1 and first.until_epoch == 6


def test_an_infrared_image_is_always_jittered_or_blurred(config) -> None:
    plain = dict(config, ops=dict(config.ops, erase=None, flip=None))
    data = whole_batch()
    found = views(plain, data)["infrared"]
    untouched = preprocessor(plain)(data)["inputs"]["infrared"]
    assert all(not torch.equal(a, b) for a, b in zip(found, untouched, strict=True))


def test_stages_of_the_losses_change_at_the_same_epoch_as_the_views() -> None:
    head = MODELS.build(dict(load_config(CONFIGS / "pmt_sysu.py").model.head, in_channels=8, num_classes=4))
    g = generator()
    outputs = dict(feat_pool=torch.randn(8, 8, generator=g), feat_bn=torch.randn(8, 8, generator=g))
    rows = Rows.cat([Rows.make(torch.arange(4) // 2, m, i, torch.arange(4) + 4 * i) for i, m in enumerate(MODALITIES)])
    in_force = {}
    for epoch in (5, 6):
        head.set_iteration(0, epoch)
        losses = head.loss(outputs, rows)
        in_force[epoch] = {name.removeprefix("loss_") for name, v in losses.items() if name != "acc" and v.item() != 0}
    assert in_force == {5: {"ce", "intra"}, 6: {"ce", "triplet", "msel", "dcl"}}
