"""Pooling (31a), (31b), average pooling and their derivatives."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.helpers import (
    assert_autograd,
    assert_gradient,
    assert_same,
    draw_distinct,
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import pooling

KINDS = {
    "max": (pooling.max_pool, pooling.max_pool_backward, functional.max_pool2d),
    "average": (pooling.average_pool, pooling.average_pool_backward, functional.avg_pool2d),
    "l2": (
        pooling.l2_pool,
        pooling.l2_pool_backward,
        lambda z, p, stride: functional.lp_pool2d(z, 2.0, p, stride),
    ),
}


@few_examples
@given(
    kind=st.sampled_from(list(KINDS)),
    p=st.integers(1, 4),
    stride=st.integers(1, 4) | st.none(),
    size=st.tuples(st.integers(4, 8), st.integers(4, 8)),
)
def test_pooling_and_its_derivative_agree_with_pytorch(
    kind: str, p: int, stride: int | None, size: tuple[int, int]
) -> None:
    pool, backward, torch_pool = KINDS[kind]
    z = draw_distinct(0, 2, 2, *size)
    expected = torch_pool(to_tensor(z), p, stride)
    assert_same(pool(z, p, stride=stride), expected)
    g = draw_normal(1, *expected.shape)
    gradient = backward(g, z, p=p, stride=stride)
    assert_autograd(gradient, lambda at: to_tensor(g) * torch_pool(at, p, stride), z)
    assert_gradient(gradient, lambda at: g * pool(at, p, stride=stride), z)


def test_derivatives_for_tied_and_zero_regions() -> None:
    constant, one = np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1))
    assert pooling.max_pool_backward(one, constant, p=2).ravel().tolist() == [1, 0, 0, 0]
    assert pooling.l2_pool_backward(one, 0 * constant, p=2).ravel().tolist() == [0, 0, 0, 0]


def test_l2_pooling_is_a_norm_and_not_an_average() -> None:
    assert pooling.l2_pool(np.ones((1, 1, 3, 3)), 3).item() == 3
    assert pooling.average_pool(np.ones((1, 1, 3, 3)), 3).item() == 1


def test_output_sizes_of_the_reports_network_are_rounded_down() -> None:
    assert [pooling.output_size(n, 3, stride=3) for n in (146, 44, 10)] == [48, 14, 3]
    assert pooling.average_pool(np.zeros((1, 1, 146, 146)), 3).shape == (1, 1, 48, 48)
    assert torch.nn.AvgPool2d(3)(torch.zeros(1, 1, 146, 146)).shape == (1, 1, 48, 48)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="must fit into the map; got region 3, map 2"):
        pooling.max_pool(np.zeros((1, 1, 2, 5)), 3)
    with pytest.raises(ValueError, match="p=0, stride=1"):
        pooling.output_size(5, 0, stride=1)
    with pytest.raises(ValueError, match=r"z must be \(N, maps, H, W\); got \(5, 5\)"):
        pooling.l2_pool(np.zeros((5, 5)), 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [(1, 1, 1, 1), (1, 1, 3, 3), (2, 2), (2, 1, 2, 2)])
def test_backward_refuses_an_error_of_another_shape(kind: str, wrong: tuple[int, ...]) -> None:
    rule = rf"delta must have the pooled shape \(1, 1, 2, 2\); got {re.escape(str(wrong))}"
    with pytest.raises(ValueError, match=rule):
        KINDS[kind][1](np.ones(wrong), np.zeros((1, 1, 4, 4)), p=2)
