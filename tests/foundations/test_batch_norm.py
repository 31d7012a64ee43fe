"""Batch normalization (40): output, derivative and running statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.foundations.helpers import (
    assert_gradient,
    assert_same,
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import batch_norm
from veduta.foundations.arrays import Array

SHAPES = st.one_of(
    st.tuples(st.integers(2, 6), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 3), st.integers(1, 3)),
)


@few_examples
@given(shape=SHAPES)
def test_batch_norm_and_its_derivative_agree_with_pytorch(shape: tuple[int, ...]) -> None:
    z, g = draw_normal(0, *shape), draw_normal(1, *shape)
    gamma, beta = draw_normal(2, shape[1]), draw_normal(3, shape[1])
    statistics = batch_norm.batch_statistics(z)
    torch_running = torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()
    tensors = [to_tensor(x) for x in (z, gamma, beta)]
    expected = torch.nn.functional.batch_norm(
        tensors[0], *torch_running, weight=tensors[1], bias=tensors[2], training=True, eps=1e-5
    )
    assert_same(batch_norm.batch_norm(z, statistics, gamma=gamma, beta=beta), expected)
    computed = batch_norm.batch_norm_backward(g, z, statistics=statistics, gamma=gamma)
    gradients = torch.autograd.grad((to_tensor(g) * expected).sum(), tensors)
    for gradient, expected_gradient in zip(computed, gradients, strict=True):
        assert_same(gradient, expected_gradient)
    initial = batch_norm.Statistics(np.zeros(shape[1]), np.ones(shape[1]))
    running = batch_norm.update_running_statistics(initial, statistics, count=z.size // shape[1])
    assert_same(running.mean, torch_running[0])
    assert_same(running.variance, torch_running[1])


def test_derivative_agrees_with_central_differences() -> None:
    z, g, gamma, beta = (
        draw_normal(0, 6, 3),
        draw_normal(1, 6, 3),
        draw_normal(2, 3),
        draw_normal(3, 3),
    )
    statistics = batch_norm.batch_statistics(z)
    dz, dgamma, dbeta = batch_norm.batch_norm_backward(g, z, statistics=statistics, gamma=gamma)

    def cost(z: Array, gamma: Array, beta: Array) -> Array:
        statistics = batch_norm.batch_statistics(z)
        return g * batch_norm.batch_norm(z, statistics, gamma=gamma, beta=beta)

    assert_gradient(dz, lambda at: cost(at, gamma, beta), z)
    assert_gradient(dgamma, lambda at: cost(z, at, beta), gamma)
    assert_gradient(dbeta, lambda at: cost(z, gamma, at), beta)


def test_a_constant_feature_is_normalized_to_beta() -> None:
    z = np.full((4, 2), 3.0)
    out = batch_norm.batch_norm(
        z, batch_norm.batch_statistics(z), gamma=np.ones(2), beta=np.array([0.0, 5.0])
    )
    assert out.tolist() == [[0, 5]] * 4


def test_invalid_arguments_are_refused() -> None:
    z = np.ones((4, 2))
    statistics = batch_norm.batch_statistics(z)
    with pytest.raises(
        ValueError, match=r"gamma and beta must be \(features,\); got \(3,\), \(2,\)"
    ):
        batch_norm.batch_norm(z, statistics, gamma=np.ones(3), beta=np.ones(2))
    with pytest.raises(ValueError, match=r"z must be \(N, features\)"):
        batch_norm.batch_statistics(np.ones(4))
    with pytest.raises(ValueError, match="delta and z must have the same shape"):
        batch_norm.batch_norm_backward(z[:1], z, statistics=statistics, gamma=np.ones(2))
    with pytest.raises(ValueError, match="2 or more values per feature; got 1"):
        batch_norm.update_running_statistics(statistics, statistics, count=1)
    with pytest.raises(
        ValueError, match=r"gamma must be \(features,\); got \(1,\) for z of shape \(4, 2\)"
    ):
        batch_norm.batch_norm_backward(z, z, statistics=statistics, gamma=np.ones(1))
    for rate in (5, -0.1):
        with pytest.raises(ValueError, match=rf"rate must lie in \[0, 1\]; got {rate}"):
            batch_norm.update_running_statistics(statistics, statistics, count=4, rate=rate)


@pytest.mark.parametrize("field", batch_norm.Statistics._fields)
def test_statistics_need_one_number_per_feature(field: str) -> None:
    z, one = np.ones((4, 3)), np.ones(3)
    statistics = batch_norm.batch_statistics(z)
    short = statistics._replace(**{field: one[:1]})
    with pytest.raises(ValueError, match=r"mean and variance must be \(features,\); got .*\(1,\)"):
        batch_norm.batch_norm(z, short, gamma=one, beta=one)
    with pytest.raises(ValueError, match="running and batch statistics must have the same shape"):
        batch_norm.update_running_statistics(short, statistics, count=4)


def test_a_negative_variance_is_refused() -> None:
    z, one = np.ones((4, 3)), np.ones(3)
    with pytest.raises(ValueError, match=r"the variance must be 0 or more; got \[-1\. -1\. -1\.\]"):
        batch_norm.batch_norm(z, batch_norm.Statistics(one, -one), gamma=one, beta=one)
