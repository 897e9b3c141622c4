"""Every metric loss against a slow, obvious twin in plain loops, in float64, on lopsided random batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mscmreid.models.losses.batch_hard import batch_hard_triplet
from mscmreid.models.losses.cpm import CenterGuidedPairMining, center_guided_pair_mining
from mscmreid.models.losses.orthogonality import branch_orthogonality
from mscmreid.models.losses.qct import quadruple_center_triplet
from mscmreid.models.losses.weighted_triplet import (
    enhanced_squared_difference,
    weighted_gap,
    weighted_regularized_triplet,
)


def distance(a: Tensor, b: Tensor) -> Tensor:
    return ((a - b) ** 2).sum().clamp_min(1e-12).sqrt()


def mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean() if values else torch.tensor(0.0, dtype=torch.float64)


def center(f: Tensor, members: list[int]) -> Tensor | None:
    return torch.stack([f[i] for i in members]).mean(0) if members else None


def loop_qct(f, labels, modality, stream, margin, alpha):
    n = range(len(f))
    cross, own, push = [], [], []
    for i in n:
        c = center(f, [j for j in n if labels[j] == labels[i] and modality[j] != modality[i]])
        if c is not None:
            cross.append(distance(f[i], c))
        own.append(distance(f[i], center(f, [j for j in n if labels[j] == labels[i] and stream[j] == stream[i]])))
        hinges = []
        for j in n:
            if labels[j] != labels[i]:
                c = center(f, [k for k in n if labels[k] == labels[j]])
                hinges.append((margin - distance(f[i], c)).clamp_min(0))
        if hinges:
            push.append(mean(hinges))
    return ((1 - alpha) * mean(cross) + alpha * mean(own) + mean(push)) / 2


def loop_batch_hard(f, labels, margin):
    n = range(len(f))
    losses = []
    for i in n:
        positives = [distance(f[i], f[j]) for j in n if labels[j] == labels[i]]
        negatives = [distance(f[i], f[j]) for j in n if labels[j] != labels[i]]
        losses.append((max(positives) - min(negatives) + margin).clamp_min(0) if negatives else 0 * f.sum())
    return mean(losses)


def loop_gap(f, labels):
    n = range(len(f))
    gaps = []
    for i in n:
        positives = [distance(f[i], f[j]) for j in n if labels[j] == labels[i]]
        negatives = [distance(f[i], f[j]) for j in n if labels[j] != labels[i]]
        positive_weights = [torch.exp(d - max(positives)) for d in positives]
        negative_weights = [torch.exp(-d) for d in negatives]
        far = sum(w * d for w, d in zip(positive_weights, positives, strict=True)) / (sum(positive_weights) + 1e-6)
        near = sum(w * d for w, d in zip(negative_weights, negatives, strict=True)) / (sum(negative_weights) + 1e-6)
        gaps.append(far - near)
    return gaps


def loop_wrt(f, labels):
    return mean([torch.log1p(torch.exp(gap)) for gap in loop_gap(f, labels)])


def loop_esd(f, labels):
    losses = []
    for gap in loop_gap(f, labels):
        square = (gap**2).clamp_max(88)
        losses.append(torch.log1p(torch.exp(square if gap > 0 else -square)))
    return mean(losses)


def loop_cpm(f, labels, groups, margin):
    """``groups``: four lists of rows."""
    classes = sorted({int(labels[i]) for g in groups for i in g})
    c = {(g, y): center(f, [i for i in groups[g] if labels[i] == y]) for g in range(4) for y in classes}

    def nearest_other(g, y):
        others = [c[g, z] for z in classes if z != y and c[g, z] is not None]
        return min((distance(c[g, y], o) for o in others), default=None)

    def one_side(plain, other, expanded):
        """L_123 as (plain 1, other 2, expanded 3): pull d_23; L_124 as (2, 1, 4): pull d_14."""
        guided, from_expanded, from_plain = [], [], []
        for y in classes:
            if any(c[g, y] is None for g in (plain, other, expanded)):
                continue
            if not any(labels[i] == y for g in (2, 3) for i in groups[g]):
                continue
            pull = distance(c[other, y], c[expanded, y])
            guided.append((pull - distance(c[plain, y], c[expanded, y]).detach() + margin).clamp_min(0))
            for g, out in ((expanded, from_expanded), (plain, from_plain)):
                negative = nearest_other(g, y)
                if negative is not None:
                    out.append((pull - negative + margin).clamp_min(0))
        return mean(guided) + (mean(from_expanded) + mean(from_plain)) / 2

    return (one_side(0, 1, 2) + one_side(1, 0, 3)) / 2


def loop_orthogonality(f, stream, branch, image):
    n = range(len(f))
    total = 0 * f.sum()
    for i in n:
        for j in n:
            if (image[i], stream[i]) == (image[j], stream[j]) and 1 <= branch[i] < branch[j]:
                total = total + (f[i] * f[j]).sum()
    return total / len(f)


def batch(seed: int, n: int = 26, dim: int = 5, num_classes: int = 4, scale: float = 1.0):
    """A random batch in which nothing is balanced: classes without a modality, streams of any size."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (n,), generator=g) * 3 + 1
    stream = torch.randint(4, (n,), generator=g)
    features = scale * torch.randn(n, dim, generator=g, dtype=torch.float64) + 0.4 * labels[:, None]
    return features.requires_grad_(), labels, stream // 2, stream


def assert_twins(fast: Tensor, slow: Tensor, features: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    (fast_grad,) = torch.autograd.grad(fast, features)
    (slow_grad,) = torch.autograd.grad(slow, features, retain_graph=True)
    torch.testing.assert_close(fast_grad, slow_grad, rtol=1e-6, atol=1e-8)


SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("margin", "alpha"), [(0.7, 0.0), (3.0, 0.0), (2.0, 0.3), (2.0, 1.0)])
def test_qct_equals_its_loops(seed: int, margin: float, alpha: float) -> None:
    f, labels, modality, stream = batch(seed)
    fast = quadruple_center_triplet(f, labels, modality, stream, margin, alpha)
    assert_twins(fast, loop_qct(f, labels.tolist(), modality.tolist(), stream.tolist(), margin, alpha), f)


@pytest.mark.parametrize("seed", SEEDS)
def test_batch_hard_equals_its_loops(seed: int) -> None:
    f, labels, _, _ = batch(seed)
    assert_twins(batch_hard_triplet(f, labels, 0.3), loop_batch_hard(f, labels.tolist(), 0.3), f)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])  # 10: squares beyond 88, negatives that weigh less than 1e-6
def test_weighted_triplets_equal_their_loops(seed: int, scale: float) -> None:
    f, labels, _, _ = batch(seed, scale=scale)
    assert_twins(weighted_regularized_triplet(f, labels), loop_wrt(f, labels.tolist()), f)
    assert_twins(enhanced_squared_difference(f, labels), loop_esd(f, labels.tolist()), f)


def test_weighted_triplets_stay_finite_where_the_unmasked_exponent_overflows() -> None:
    """Negatives 200 beyond the farthest positive: exp(200) is infinite in fp32, and 0 * inf is NaN."""
    labels = torch.tensor([0, 0, 1, 1])
    f = torch.tensor([[0.0, 0.0], [1.0, 0.0], [200.0, 0.0], [200.0, 3.0]], requires_grad=True)
    distances = torch.cdist(f, f)
    positive = (labels[:, None] == labels[None, :]).float()
    unmasked = torch.exp(distances - (distances * positive).amax(1, keepdim=True)) * positive
    assert unmasked.isnan().any()  # so the case is the one meant

    exact = f.detach().double().requires_grad_()
    assert_twins(weighted_regularized_triplet(exact, labels), loop_wrt(exact, labels.tolist()), exact)
    gap = weighted_gap(f, labels)  # positives alone: exp(-200) weighs nothing against 1e-6
    expected = torch.tensor([1 / (1 + torch.tensor(-1.0).exp())] * 2 + [3 / (1 + torch.tensor(-3.0).exp())] * 2)
    torch.testing.assert_close(gap, expected, rtol=1e-4, atol=1e-4)
    for loss in (weighted_regularized_triplet, enhanced_squared_difference):
        value = loss(f, labels)
        (grad,) = torch.autograd.grad(value, f)
        assert value.isfinite() and grad.isfinite().all() and grad.abs().max() > 0.01


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_classes", [2, 4, 9])  # 9 classes in 26 rows: centres are missing everywhere
def test_cpm_on_streams_equals_its_loops(seed: int, num_classes: int) -> None:
    f, labels, _, stream = batch(seed, num_classes=num_classes)
    groups = (0, 2, 1, 3)
    rows = [[i for i in range(len(f)) if stream[i] == s] for s in groups]
    fast = CenterGuidedPairMining(margin=0.8, groups=groups)(f, labels, stream)
    assert_twins(fast, loop_cpm(f, labels.tolist(), rows, 0.8), f)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("num_branches", [1, 2, 3])
def test_cpm_on_branches_is_the_sum_over_them(seed: int, num_branches: int) -> None:
    f, labels, modality, _ = batch(seed, n=40, num_classes=5)
    branch = torch.randint(num_branches + 1, (40,), generator=torch.Generator().manual_seed(seed))
    slow = 0 * f.sum()
    for b in range(1, num_branches + 1):
        pairs = [(0, 0), (1, 0), (0, b), (1, b)]
        rows = [[i for i in range(40) if (modality[i], branch[i]) == pair] for pair in pairs]
        slow = slow + loop_cpm(f, labels.tolist(), rows, 0.8)
    assert_twins(center_guided_pair_mining(f, labels, modality, branch, 0.8), slow, f)
    assert_twins(CenterGuidedPairMining(margin=0.8)(f, labels, modality, branch), slow, f)


def test_cpm_leaves_out_the_rows_of_other_streams() -> None:
    f, labels, _, stream = batch(0)
    others = torch.full_like(stream, 4)
    more = torch.cat([f, 100 + f]), torch.cat([labels, labels])
    loss = CenterGuidedPairMining(groups=(0, 2, 1, 3))
    torch.testing.assert_close(loss(*more, torch.cat([stream, others])), loss(f, labels, stream))


@pytest.mark.parametrize("num_branches", [2, 3])
def test_orthogonality_equals_its_loops(num_branches: int) -> None:
    f, _, _, stream = batch(0, n=6 * (num_branches + 1))
    stream = stream[:6].repeat(num_branches + 1)
    image = torch.tensor([0, 1, 2, 3, 0, 1]).repeat(num_branches + 1)  # two images are seen by two streams
    stream[4::6], stream[5::6] = 4, 5
    branch = torch.arange(num_branches + 1).repeat_interleave(6)
    fast = branch_orthogonality(f, stream, branch, image)
    assert_twins(fast, loop_orthogonality(f, stream.tolist(), branch.tolist(), image.tolist()), f)


def test_orthogonality_of_two_branches_is_the_mean_product_an_image_over_three() -> None:
    f = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    zero, branch, image = torch.zeros(12).long(), torch.arange(3).repeat_interleave(4), torch.arange(4).repeat(3)
    expected = (f[4:8] * f[8:]).sum(1).mean() / 3
    torch.testing.assert_close(branch_orthogonality(f, zero, branch, image), expected)
