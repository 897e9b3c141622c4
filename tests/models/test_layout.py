"""Order in memory: of tensors, and of their gradients."""

from __future__ import annotations

import pytest
import torch

from mscmreid.models.layout import divided, laid_out
from mscmreid.models.precision import computing_precision

ORDERS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("own", ORDERS)
def test_values_are_tos_and_the_gradient_lies_as_the_tensor_does(own, order, dtype):
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=own).requires_grad_()
    y = laid_out(x, dtype, order)
    assert y.dtype is dtype and y.is_contiguous(memory_format=order)
    torch.testing.assert_close(y, x.to(dtype), rtol=0, atol=0)
    weight = torch.randn(y.shape).to(dtype)  # in its own order
    seen = []
    x.register_hook(lambda gradient: seen.append(gradient))
    (y * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.float(), rtol=0, atol=0)
    assert seen[0].dtype is torch.float32 and (y is x or seen[0].is_contiguous(memory_format=own))
    with torch.no_grad():
        assert torch.equal(laid_out(x, dtype, order), y) and laid_out(x, dtype, order).stride() == y.stride()


def test_nothing_is_done_where_a_tensor_lies_so():
    x = torch.randn(2, 3, 4, 5)
    assert laid_out(x, torch.float32, torch.contiguous_format) is x
    assert laid_out(x, torch.float32, torch.preserve_format) is x


def test_a_quotients_gradient_lies_as_the_dividend_does():
    x = torch.randn(2, 12, 3).transpose(1, 2).requires_grad_()
    y, seen = divided(x, 12), []
    x.register_hook(lambda gradient: seen.append(gradient))
    weight = torch.randn(2, 3, 12)
    (y * weight).sum().backward()
    assert torch.equal(y, x / 12) and torch.equal(x.grad, weight / 12) and seen[0].stride() == x.stride()


def test_the_precision_of_products():
    x = torch.ones(1)
    assert computing_precision(x) is torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert computing_precision(x) is torch.bfloat16
        assert computing_precision(x.to("meta")) is torch.float32
