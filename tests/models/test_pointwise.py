"""1 x 1 convolutions with a stride and few channels, which a backend gets wrong."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mscmreid.models.backbones.resnet import SPECS, make_stage
from mscmreid.models.folding import conv_bn_pairs
from mscmreid.models.pointwise import pointwise_conv


def backward(conv, x):
    x = x.clone().requires_grad_()
    y = conv(x)
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y))
    return y.detach(), x.grad, conv.weight.grad


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 8, 16])
@pytest.mark.parametrize("stride", [1, 2])
def test_values_and_gradients_are_those_of_the_convolution_and_repeat_to_the_bit(channels, stride):
    torch.manual_seed(0)
    x = torch.randn(16, channels, 8, 4).contiguous(memory_format=torch.channels_last)
    conv = pointwise_conv(channels, 8, stride, bias=False).to(memory_format=torch.channels_last)
    found = None
    for size in range(20):
        elsewhere = torch.empty(1 + 997 * size)  # each time in other places of the memory
        conv.weight.grad = None
        again = backward(conv, x)
        assert found is None or all(map(torch.equal, found, again))
        found = again
        del elsewhere
    weight = conv.weight.detach().double().contiguous().requires_grad_()
    exact = x.double().contiguous().requires_grad_()
    y = F.conv2d(exact, weight, stride=stride)
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y).double())
    for value, expected in zip(found, (y.detach(), exact.grad, weight.grad), strict=True):
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


def test_published_widths_have_torchs_own_class_and_narrow_ones_the_same_names_and_folding():
    wide, narrow = (make_stage(SPECS[18], 1, width // 2, width, 2) for width in (128, 8))
    assert wide.state_dict().keys() == narrow.state_dict().keys()
    assert type(wide[0].downsample[0]) is nn.Conv2d and type(narrow[0].downsample[0]) is not nn.Conv2d
    assert conv_bn_pairs(wide[0].downsample) == conv_bn_pairs(narrow[0].downsample) == (("0", "1"),)
