"""Every random operation: its distribution, and equality with a slow per-image twin given the same draws."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from torchvision import transforms

from mscmreid.models.views import (
    AdaptiveGray,
    ChannelScale,
    ChannelToAll,
    HorizontalFlip,
    InfraredGray,
    Normalize,
    PadCrop,
    RandomBrightness,
    RandomErase,
    RandomGrayscale,
    rowwise,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZE = (24, 16)
N = 40
MANY = 20000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def uint8_images(n=N, size=SIZE, seed=0):
    return torch.randint(0, 256, (n, 3, *size), generator=generator(seed), dtype=torch.uint8)


def float_images(n=N, size=SIZE, seed=0):
    return torch.randn((n, 3, *size), generator=generator(seed))


@pytest.fixture(params=["rows", "rows, channels_last", "batch", "batch, channels_last"])
def layout(request, monkeypatch):
    """Both ways through a batch, on the CPU, in both memory formats: a function that lays images out."""
    by_row = request.param.startswith("rows")
    for module in ("geometry", "intensity", "erase", "channels", "rowwise"):
        monkeypatch.setattr(f"mscmreid.models.views.{module}.goes_by_row", lambda x: by_row, raising=False)
    last = "channels_last" in request.param
    return lambda x: x.clone(memory_format=torch.channels_last if last else torch.contiguous_format)


def to_pil(image):
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def from_pil(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def draws_at(draws, i):
    return {name: value[i].tolist() for name, value in draws.items()}


def erase_twin(op, image, d):
    image = image.clone()
    for y in range(d["top"], d["top"] + d["height"]):
        for x in range(d["left"], d["left"] + d["width"]):
            for c in range(3):
                image[c, y, x] = op.fill[c]
    return image


def copy_twin(op, image, d):
    image, k = image.clone(), d["choice"]
    if k < 3:
        return image[k].repeat(3, 1, 1)
    if k == 3:
        return (0.2989 * image[0] + 0.5870 * image[1] + 0.1140 * image[2]).repeat(3, 1, 1)
    return image


def crop_twin(op, image, d):
    padded = transforms.Pad(op.padding)(to_pil(image))
    box = (d["left"], d["top"], d["left"] + image.shape[2], d["top"] + image.shape[1])
    return from_pil(padded.crop(box))


def scale_twin(op, image, d):
    if not d["mask"]:
        return image
    return torch.stack([channel * factor for channel, factor in zip(image, d["factor"], strict=True)])


def normalize_twin(op, image, d):
    return transforms.Normalize(MEAN, STD)(transforms.ToTensor()(to_pil(image)))


TWINS = [
    (RandomGrayscale(0.5), lambda op, x, d: from_pil(to_pil(x).convert("L")) if d["mask"] else x, 0),
    (
        RandomBrightness((0.5, 1.5)),
        lambda op, x, d: from_pil(ImageEnhance.Brightness(to_pil(x)).enhance(d["factor"])),
        0,
    ),
    (PadCrop(10), crop_twin, 0),
    (PadCrop(30), crop_twin, 0),  # windows that miss the image altogether
    (HorizontalFlip(0.5), lambda op, x, d: from_pil(transforms.functional.hflip(to_pil(x))) if d["mask"] else x, 0),
    (Normalize(MEAN, STD), normalize_twin, 1e-6),
    (RandomErase(0.7), erase_twin, 0),
    (ChannelToAll(), copy_twin, 0),
    (InfraredGray(), copy_twin, 1e-6),
    (AdaptiveGray(), copy_twin, 1e-6),
    (ChannelScale(0.5), scale_twin, 1e-6),
]


@pytest.mark.parametrize(
    ("op", "twin", "tolerance"), TWINS, ids=lambda v: type(v).__name__ if hasattr(v, "draw") else ""
)
@pytest.mark.parametrize("n", [1, N])
def test_equals_the_slow_twin(op, twin, tolerance, n, layout):
    floats = isinstance(op, (RandomErase, ChannelToAll, InfraredGray, AdaptiveGray, ChannelScale))
    x = float_images(n) if floats else uint8_images(n)
    draws = op.draw(generator(3), n, SIZE)
    expected = torch.stack([twin(op, image, draws_at(draws, i)) for i, image in enumerate(x)])
    given = layout(x)
    found = op.apply(given, draws)
    assert found.shape == x.shape and found.dtype == expected.dtype
    assert (found.double() - expected.double()).abs().max() <= tolerance
    if getattr(op, "makes_new", False):
        assert torch.equal(given, x)


def test_operations_do_something_on_the_twins_input():
    for op, _, _ in TWINS:
        if not isinstance(op, Normalize):
            floats = isinstance(op, (RandomErase, ChannelToAll, InfraredGray, AdaptiveGray, ChannelScale))
            x = float_images() if floats else uint8_images()
            assert not torch.equal(op.apply(x.clone(), op.draw(generator(3), N, SIZE)), x)


def test_grayscale_is_pillows_for_every_colour(layout):
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    r, g, b = torch.meshgrid(levels, levels, levels, indexing="ij")
    x = torch.stack([r, g, b]).reshape(1, 3, len(levels), -1)
    found = RandomGrayscale(1.0).apply(layout(x), dict(mask=torch.tensor([True])))
    assert torch.equal(found[0], from_pil(to_pil(x[0]).convert("L")))


def test_brightness_is_pillows_for_every_value(layout):
    x = torch.arange(256, dtype=torch.uint8).repeat(3, 1).view(1, 3, 16, 16)
    factors = torch.cat([torch.linspace(0.5, 1.5, 401), torch.tensor([0.0, 1.0, 2.0, 254 / 255])])
    found = RandomBrightness().apply(layout(x.expand(len(factors), -1, -1, -1)), dict(factor=factors))
    for image, factor in zip(found, factors.tolist(), strict=True):
        assert torch.equal(image, from_pil(ImageEnhance.Brightness(to_pil(x[0])).enhance(factor)))


def assert_share(mask, prob):
    """The share of True lies within five standard deviations of ``prob``."""
    mask = torch.as_tensor(mask)
    share = mask.double().mean().item()
    assert abs(share - prob) <= 5 * math.sqrt(prob * (1 - prob) / mask.numel()) + 1e-12


def assert_uniform_integers(values, low, high):
    """Chi-square of the counts of low..high within five standard deviations of its mean."""
    counts = torch.bincount(values - low, minlength=high - low + 1).double()
    assert values.min() >= low and len(counts) == high - low + 1
    expected = len(values) / len(counts)
    chi2, dof = ((counts - expected) ** 2 / expected).sum().item(), len(counts) - 1
    assert chi2 <= dof + 5 * math.sqrt(2 * dof)


def assert_uniform(values, low, high):
    """Kolmogorov-Smirnov distance under its 1e-6 bound."""
    values = values.double().sort().values
    assert values[0] >= low and values[-1] <= high
    ranks = torch.arange(1, len(values) + 1, dtype=torch.float64) / len(values)
    assert ((values - low) / (high - low) - ranks).abs().max() <= 2.7 / math.sqrt(len(values))


@pytest.mark.parametrize("op", [RandomGrayscale(0.3), HorizontalFlip(0.3), ChannelScale(0.3)])
def test_probability_is_the_one_asked_for(op):
    assert_share(op.draw(generator(), MANY, SIZE)["mask"], 0.3)


@pytest.mark.parametrize("op_class", [RandomGrayscale, HorizontalFlip, RandomErase, ChannelScale])
@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_probability_zero_never_and_one_always(op_class, prob):
    draws = op_class(prob=prob).draw(generator(), 500, (384, 192))
    happens = draws["height"] > 0 if op_class is RandomErase else draws["mask"]
    assert happens.all() if prob else not happens.any()


def test_crop_offsets_are_uniform_and_independent():
    draws = PadCrop(10).draw(generator(), MANY, SIZE)
    assert_uniform_integers(draws["top"], 0, 20)
    assert_uniform_integers(draws["left"], 0, 20)
    assert_uniform_integers(draws["top"] * 21 + draws["left"], 0, 440)


def test_brightness_and_channel_factors_are_uniform():
    assert_uniform(RandomBrightness((0.5, 1.5)).draw(generator(), MANY, SIZE)["factor"], 0.5, 1.5)
    factor = ChannelScale(0.5, (0.02, 1.0)).draw(generator(), MANY, SIZE)["factor"]
    for c in range(3):
        assert_uniform(factor[:, c], 0.02, 1.0)
    assert abs(torch.corrcoef(factor.T)[0, 1]) < 5 / math.sqrt(MANY)  # every channel has its own


@pytest.mark.parametrize(
    ("op", "shares"),
    [
        (ChannelToAll(), (1 / 3, 1 / 3, 1 / 3, 0, 0)),
        (InfraredGray(), (0, 0.5, 0, 0.25, 0.25)),
        (InfraredGray(prob_channel=0.2, channel=2, prob_gray=1.0), (0, 0, 0.2, 0.8, 0)),
        (AdaptiveGray(), (0.25, 0.25, 0.25, 0.125, 0.125)),
    ],
)
def test_channel_choices_have_the_published_probabilities(op, shares):
    choice = op.draw(generator(), MANY, SIZE)["choice"]
    for k, share in enumerate(shares):
        assert_share(choice == k, share)


def erase_twin_draw(rs, size, area, aspect):
    """One rectangle's height and width by the published loop."""
    for _ in range(100):
        a, r = rs.uniform(*area) * size[0] * size[1], rs.uniform(*aspect)
        h, w = round(math.sqrt(a * r)), round(math.sqrt(a / r))
        if h < size[0] and w < size[1]:
            return h, w
    return 0, 0


@pytest.mark.parametrize("area", [(0.02, 0.4), (0.2, 0.8)])
def test_erased_rectangles_are_distributed_as_the_published_loops(area):
    size, n = (384, 144), MANY
    draws = RandomErase(1.0, area=area).draw(generator(1), n, size)
    rs = np.random.RandomState(2)
    twin = np.array([erase_twin_draw(rs, size, area, (0.3, 1 / 0.3)) for _ in range(n)])
    for found, expected in ((draws["height"].numpy(), twin[:, 0]), (draws["width"].numpy(), twin[:, 1])):
        levels = np.unique(np.concatenate([found, expected]))
        cdfs = [np.searchsorted(np.sort(v), levels, side="right") / n for v in (found, expected)]
        assert np.abs(cdfs[0] - cdfs[1]).max() <= 2.7 * math.sqrt(2 / n)  # two-sample Kolmogorov-Smirnov, 1e-6


def test_erased_rectangles_lie_inside_with_a_uniform_corner():
    size = (60, 40)
    draws = RandomErase(1.0).draw(generator(), MANY, size)
    top, left, height, width = (draws[k] for k in ("top", "left", "height", "width"))
    assert (top >= 0).all() and (left >= 0).all() and (height > 0).all() and (width > 0).all()
    assert (top + height <= size[0]).all() and (left + width <= size[1]).all()
    assert (top + height == size[0]).any() and (left + width == size[1]).any() and (top == 0).any()
    for h in (15, 20, 30):  # given the height, the corner takes each of H - h + 1 places equally often
        assert_uniform_integers(top[height == h], 0, size[0] - h)


def test_erasing_gives_up_where_no_rectangle_fits():
    draws = RandomErase(1.0, area=(0.9, 1.0), aspect=(3.0, 3.3)).draw(generator(), 50, (32, 32))
    assert (draws["height"] == 0).all() and (draws["width"] == 0).all()
    x = float_images(50, (32, 32))
    assert torch.equal(RandomErase().apply(x.clone(), draws), x)


def test_half_of_the_images_are_erased():
    assert_share(RandomErase(0.5).draw(generator(), MANY, (384, 192))["height"] > 0, 0.5)


@pytest.mark.parametrize("op", [op for op, _, _ in TWINS], ids=lambda op: type(op).__name__)
def test_nothing_is_read_back_from_another_device(op, monkeypatch):
    """Off the CPU an operation must not depend on values: it runs on tensors that have none (meta device)."""
    floats = isinstance(op, (RandomErase, ChannelToAll, InfraredGray, AdaptiveGray, ChannelScale))
    x = torch.empty(4, 3, *SIZE, dtype=torch.float32 if floats else torch.uint8, device="meta")
    draws = {k: v.to("meta") for k, v in op.draw(generator(), 4, SIZE).items()}
    assert op.apply(x, draws).shape == x.shape


@pytest.mark.parametrize(
    ("op", "x"),
    [(op, uint8_images(2)) for op in (RandomErase(), ChannelToAll(), InfraredGray(), AdaptiveGray(), ChannelScale())]
    + [(op, float_images(2)) for op in (RandomGrayscale(), RandomBrightness(), PadCrop(), Normalize(MEAN, STD))],
)
def test_wrong_side_of_normalize_is_an_error(op, x):
    with pytest.raises(ValueError, match="Normalize"):
        op.apply(x, op.draw(generator(), 2, SIZE))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomGrayscale(1.5),
        lambda: HorizontalFlip(-0.1),
        lambda: PadCrop(-1),
        lambda: RandomBrightness((1.5, 0.5)),
        lambda: Normalize((0.5,), (0.5,)),
        lambda: Normalize(MEAN, (0.0, 1.0, 1.0)),
        lambda: RandomErase(area=(0.4, 0.02)),
        lambda: RandomErase(area=(0.5, 2.0)),
        lambda: RandomErase(aspect=(0.0, 1.0)),
        lambda: RandomErase(fill=(0.5,)),
        lambda: InfraredGray(channel=3),
        lambda: InfraredGray(prob_channel=2.0),
        lambda: ChannelScale(factor=(-1.0, 1.0)),
    ],
)
def test_impossible_options_are_errors(make):
    with pytest.raises(ValueError, match="found"):
        make()


def test_channels_last_conversion_changes_no_pixel():
    x = uint8_images(3)
    out = rowwise.to_channels_last(x)
    assert torch.equal(out, x) and out.is_contiguous(memory_format=torch.channels_last)
    assert rowwise.to_channels_last(out) is out
