"""Circle loss, MMD, teachers and hue against slow, obvious twins in plain loops, on lopsided random batches."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch
from torch import Tensor

from mscmreid.models.losses.circle import circle_loss
from mscmreid.models.losses.mmd import domain_alignment, modality_discrepancy
from mscmreid.models.losses.teacher import OtherModalityTeacher
from mscmreid.models.views import HueShift, rowwise
from mscmreid.models.views.hue import shift_hue

SEEDS = range(3)


def batch(seed: int, n: int = 17, dim: int = 5, num_classes: int = 4):
    """Two feature spaces, labels and modalities of a random batch in which nothing is balanced."""
    g = torch.Generator().manual_seed(seed)
    labels, modality = torch.randint(num_classes, (n,), generator=g), torch.randint(2, (n,), generator=g)
    z, shifted = torch.randn(2, n, dim, generator=g, dtype=torch.float64) + labels[:, None]
    return z.requires_grad_(), shifted.requires_grad_(), labels, modality


def assert_twins(fast: Tensor, slow: Tensor, *leaves: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    fast_grads = torch.autograd.grad(fast, leaves)
    for found, expected in zip(fast_grads, torch.autograd.grad(slow, leaves, retain_graph=True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def loop_circle(f: Tensor, labels: list[int], margin: float, scale: float) -> Tensor:
    unit = [row / row.norm() for row in f]
    losses = []
    for i, label in enumerate(labels):
        positive, negative = [], []
        for j, other in enumerate(labels):
            s = (unit[i] * unit[j]).sum()
            if other != label:
                negative.append(torch.exp(scale * max(0.0, s.item() + margin) * (s - margin)))
            elif i != j:
                positive.append(torch.exp(-scale * max(0.0, 1 + margin - s.item()) * (s - (1 - margin))))
        losses.append(torch.log(1 + sum(positive) * sum(negative)) if positive and negative else 0 * f.sum())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_classes", [1, 3, 12])  # 12 classes in 17 rows: some rows have no positive
def test_circle_equals_its_loops(seed: int, num_classes: int) -> None:
    f, _, labels, _ = batch(seed, num_classes=num_classes)
    assert_twins(circle_loss(f, labels, 0.25, 8.0), loop_circle(f, labels.tolist(), 0.25, 8.0), f)


def loop_mmd(a: list[Tensor], b: list[Tensor]) -> Tensor:
    rows = a + b

    def squared(x: Tensor, y: Tensor) -> Tensor:
        return ((x - y) ** 2).sum()

    width = sum(squared(x, y).item() for x in rows for y in rows) / (len(rows) ** 2 - len(rows)) / 4

    def mean_kernel(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
        return torch.stack(
            [sum(torch.exp(-squared(x, y) / (2**q * width)) for q in range(5)) for x in xs for y in ys]
        ).mean()

    return mean_kernel(a, a) + mean_kernel(b, b) - mean_kernel(a, b) - mean_kernel(b, a)


def unit_rows(f: Tensor, keep: Tensor) -> list[Tensor]:
    return [row / row.norm() for row, kept in zip(f, keep.tolist(), strict=True) if kept]


@pytest.mark.parametrize("seed", SEEDS)
def test_domain_alignment_equals_its_loops(seed: int) -> None:
    z, shifted, _, modality = batch(seed)
    (zv, zi), (sv, si) = ([unit_rows(f, modality == m) for m in (0, 1)] for f in (z, shifted))
    slow = 0.45 * (loop_mmd(zv, zi) + loop_mmd(sv, si)) + 0.05 * (loop_mmd(zv, sv) + loop_mmd(zi, si))
    assert_twins(domain_alignment(z, shifted, modality), slow, z, shifted)
    assert_twins(modality_discrepancy(z, modality), loop_mmd(zv, zi), z)


def test_discrepancy_of_equal_rows_or_an_empty_group_is_0_with_a_finite_gradient() -> None:
    equal = torch.ones(6, 3, requires_grad=True)
    different = torch.rand(6, 3, requires_grad=True)
    for f, modality in ((equal, torch.tensor([0, 0, 0, 1, 1, 1])), (different, torch.zeros(6).long())):
        value = modality_discrepancy(f, modality)
        (gradient,) = torch.autograd.grad(value, f)
        assert abs(value.item()) < 1e-5 and gradient.isfinite().all() and gradient.abs().max() < 1e-5


def test_rows_of_a_third_modality_take_no_part_in_the_discrepancy() -> None:
    z, shifted, _, modality = batch(0)
    more = [torch.cat([f, torch.randn(4, 5, dtype=torch.float64)]) for f in (z, shifted)]
    mixed = torch.cat([modality, torch.full((4,), 2)])
    torch.testing.assert_close(domain_alignment(*more, mixed), domain_alignment(z, shifted, modality))


def teacher(seed: int, features=("feat_bn", "feat_shifted")) -> OtherModalityTeacher:
    torch.manual_seed(seed)
    loss = OtherModalityTeacher(5, 4, features=features).double()
    for p in (loss.teacher_visible, loss.teacher_infrared):
        p.normal_()
    return loss


def loop_teacher(loss, features: list[Tensor], labels: list[int], modality: list[int]) -> Tensor:
    own = (loss.visible.weight, loss.infrared.weight)
    teachers = [
        0.8 * t + 0.2 * w.detach() for t, w in zip((loss.teacher_visible, loss.teacher_infrared), own, strict=True)
    ]
    total = 0 * features[0].sum()
    for f in features:
        kl, ce = [], {0: [], 1: []}
        for row, label, m in zip(f, labels, modality, strict=True):
            if m > 1:
                continue
            p = (own[m] @ row).softmax(0)
            q = (teachers[1 - m] @ row.detach()).softmax(0)
            kl.append((p * (p.log() - q.log())).sum())
            ce[m].append(-p.log()[label])
        total = total + torch.stack(kl).mean()
        for values in ce.values():
            total = total + 0.25 * (torch.stack(values).mean() if values else 0)
    return total


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("modalities", [1, 2, 3])  # one alone; both; both and rows that take no part
def test_teacher_equals_its_loops(seed: int, modalities: int) -> None:
    z, shifted, labels, modality = batch(seed)
    modality = torch.arange(len(z)) % 3 if modalities == 3 else modality % modalities
    loss = teacher(seed)
    slow = loop_teacher(loss, [z, shifted], labels.tolist(), modality.tolist())
    weights = [loss.visible.weight, loss.infrared.weight][: 1 if modalities == 1 else 2]
    assert_twins(loss(z, shifted, labels, modality), slow, z, shifted, *weights)


def test_a_fresh_teacher_equals_its_classifier_after_the_first_pass_and_lags_behind_it_later() -> None:
    z, _, labels, modality = batch(0)
    loss = OtherModalityTeacher(5, 4)
    loss(z.float(), labels, modality)
    assert torch.equal(loss.teacher_visible, loss.visible.weight)
    before = loss.visible.weight.detach().clone()
    with torch.no_grad():
        loss.visible.weight += 1
    loss(z.float(), labels, modality)
    torch.testing.assert_close(loss.teacher_visible, before + 0.2)
    assert {"teacher_visible", "teacher_infrared"} <= set(loss.state_dict())
    assert "teacher_visible" not in dict(loss.named_parameters())


@pytest.mark.parametrize("wrong", [dict(features=()), dict(features="feat_bn"), dict(tau=1.5)])
def test_a_teacher_of_nothing_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="OtherModalityTeacher expects"):
        OtherModalityTeacher(5, 4, **wrong)


def test_hue_equals_the_standard_librarys_pixel_by_pixel() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (6, 3, 5, 4), generator=g).float() / 255
    x[0, :, 0] = x[0, :1, 0]  # gray
    x[1, :2], x[2, 1:] = 1.0, 0.0  # ties of the largest and of the smallest channel
    turn = torch.tensor([0.3, -0.5, 0.5, 0.0, 0.01, -0.27])
    found = shift_hue(x, turn)
    for image, shifted, angle in zip(x, found, turn.tolist(), strict=True):
        for pixel, other in zip(image.flatten(1).T.tolist(), shifted.flatten(1).T.tolist(), strict=True):
            h, s, v = colorsys.rgb_to_hsv(*pixel)
            assert other == pytest.approx(colorsys.hsv_to_rgb((h + angle) % 1.0, s, v), abs=1e-5)


@pytest.mark.parametrize("by_row", [True, False])
def test_hue_is_turned_by_a_uniform_angle_in_the_chosen_images(by_row: bool, monkeypatch) -> None:
    monkeypatch.setattr(rowwise, "goes_by_row", lambda x: by_row)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    op = HueShift(mean, std, prob=0.7)
    turn = op.draw(torch.Generator().manual_seed(0), 20000, (4, 4))["turn"]
    assert (turn != 0).double().mean().item() == pytest.approx(0.7, abs=0.02)
    chosen = turn[turn != 0].double().sort().values
    ranks = torch.arange(len(chosen)) / len(chosen)
    assert (chosen + 0.5 - ranks).abs().max() < 2.7 / math.sqrt(len(chosen))
    x = torch.rand(3, 3, 300, 200).contiguous(memory_format=torch.channels_last)
    m, s = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)
    angles = torch.tensor([0.1, 0.0, -0.4])
    found = op.apply((x - m) / s, dict(turn=angles))
    torch.testing.assert_close(found, (shift_hue(x, angles) - m) / s, rtol=0, atol=1e-5)
