import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.foundations.drawing import assert_gradient, assert_same, few, normal, tensor
from veduta.foundations import batch_norm
from veduta.foundations.arrays import Array

SHAPES = st.one_of(
    st.tuples(st.integers(2, 6), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 3), st.integers(1, 3)),
)


@few
@given(shape=SHAPES)
def test_eq_40_and_its_derivative_against_autograd(shape: tuple[int, ...]) -> None:
    z, g = normal(0, *shape), normal(1, *shape)
    gamma, beta = normal(2, shape[1]), normal(3, shape[1])
    statistics = batch_norm.batch_statistics(z)
    start = torch.zeros(shape[1]).double(), torch.ones(shape[1]).double()
    tensors = [tensor(x) for x in (z, gamma, beta)]
    expected = torch.nn.functional.batch_norm(
        tensors[0], *start, weight=tensors[1], bias=tensors[2], training=True, eps=1e-5
    )
    assert_same(batch_norm.batch_norm(z, statistics, gamma=gamma, beta=beta), expected)
    found = batch_norm.batch_norm_backward(g, z, statistics=statistics, gamma=gamma)
    gradients = torch.autograd.grad((tensor(g) * expected).sum(), tensors)
    for one, other in zip(found, gradients, strict=True):
        assert_same(one, other)
    first = batch_norm.Statistics(np.zeros(shape[1]), np.ones(shape[1]))
    running = batch_norm.updated(first, statistics, count=z.size // shape[1])
    assert_same(running.mean, start[0])
    assert_same(running.variance, start[1])


def test_derivative_against_central_differences() -> None:
    z, g, gamma, beta = normal(0, 6, 3), normal(1, 6, 3), normal(2, 3), normal(3, 3)
    statistics = batch_norm.batch_statistics(z)
    dz, dgamma, dbeta = batch_norm.batch_norm_backward(g, z, statistics=statistics, gamma=gamma)

    def cost(z: Array, gamma: Array, beta: Array) -> Array:
        statistics = batch_norm.batch_statistics(z)
        return g * batch_norm.batch_norm(z, statistics, gamma=gamma, beta=beta)

    assert_gradient(dz, lambda at: cost(at, gamma, beta), z)
    assert_gradient(dgamma, lambda at: cost(z, at, beta), gamma)
    assert_gradient(dbeta, lambda at: cost(z, gamma, at), beta)


def test_a_constant_feature_is_finite() -> None:
    z = np.full((4, 2), 3.0)
    out = batch_norm.batch_norm(
        z, batch_norm.batch_statistics(z), gamma=np.ones(2), beta=np.array([0.0, 5.0])
    )
    assert out.tolist() == [[0, 5]] * 4


def test_bad_input() -> None:
    z = np.ones((4, 2))
    statistics = batch_norm.batch_statistics(z)
    with pytest.raises(ValueError, match=r"gamma and beta: \(features,\); got \(3,\), \(2,\)"):
        batch_norm.batch_norm(z, statistics, gamma=np.ones(3), beta=np.ones(2))
    with pytest.raises(ValueError, match=r"z is \(N, features\)"):
        batch_norm.batch_statistics(np.ones(4))
    with pytest.raises(ValueError, match="delta and z have one shape"):
        batch_norm.batch_norm_backward(z[:1], z, statistics=statistics, gamma=np.ones(2))
    with pytest.raises(ValueError, match="two values or more; got 1"):
        batch_norm.updated(statistics, statistics, count=1)
    with pytest.raises(ValueError, match=r"gamma: \(features,\); got \(1,\) for \(4, 2\)"):
        batch_norm.batch_norm_backward(z, z, statistics=statistics, gamma=np.ones(1))
    for rate in (5, -0.1):
        with pytest.raises(ValueError, match=rf"rate lies in \[0, 1\]; got {rate}"):
            batch_norm.updated(statistics, statistics, count=4, rate=rate)


@pytest.mark.parametrize("which", batch_norm.Statistics._fields)
def test_statistics_are_one_number_a_feature(which: str) -> None:
    z, one = np.ones((4, 3)), np.ones(3)
    statistics = batch_norm.batch_statistics(z)
    short = statistics._replace(**{which: one[:1]})
    with pytest.raises(ValueError, match=r"mean and variance: \(features,\); got .*\(1,\)"):
        batch_norm.batch_norm(z, short, gamma=one, beta=one)
    with pytest.raises(ValueError, match="running and batch statistics have one shape"):
        batch_norm.updated(short, statistics, count=4)


def test_a_variance_is_never_negative() -> None:
    z, one = np.ones((4, 3)), np.ones(3)
    with pytest.raises(ValueError, match=r"a variance is 0 or more; got \[-1\. -1\. -1\.\]"):
        batch_norm.batch_norm(z, batch_norm.Statistics(one, -one), gamma=one, beta=one)
