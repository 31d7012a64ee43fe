"""Costs of a training set (17)-(25), softmax and negative log-likelihood (26)-(27)."""

from typing import Any

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
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import activations, losses

SIZES = st.integers(1, 6)


def draw_probabilities(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape)


@few_examples
@given(samples=SIZES, outputs=SIZES)
def test_squared_error_and_its_gradient_agree_with_pytorch(samples: int, outputs: int) -> None:
    y, a = draw_normal(0, samples, outputs), draw_normal(1, samples, outputs)
    expected = functional.mse_loss(to_tensor(a), to_tensor(y), reduction="sum") / (2 * samples)
    assert_same(losses.mean_squared_error(y, a), expected)
    assert_same(losses.total_cost(losses.squared_error(y, a)) / samples, expected)
    gradient = losses.mean_squared_error_gradient(y, a)
    assert_gradient(gradient, lambda at: losses.mean_squared_error(y, at), a)
    sample_gradients = (a - y)[:, :, None] * a[:, None, :]
    assert_same(losses.total_gradient(sample_gradients), sample_gradients.sum(0))


@few_examples
@given(samples=st.integers(2, 8), size=st.integers(1, 8))
def test_mini_batch_gradient_is_unbiased(samples: int, size: int) -> None:
    gradients, size = draw_normal(0, samples, 3), min(size, samples)
    batches = [np.roll(np.arange(samples), shift)[:size] for shift in range(samples)]
    estimates = [losses.mini_batch_gradient(gradients, batch) for batch in batches]
    assert_same(np.mean(estimates, axis=0), gradients.sum(axis=0))


@few_examples
@given(samples=SIZES, inputs=SIZES, outputs=SIZES)
def test_cross_entropy_and_gradients_agree_with_pytorch(
    samples: int, inputs: int, outputs: int
) -> None:
    x, w = draw_normal(0, samples, inputs), draw_normal(1, outputs, inputs)
    y, z = (
        draw_probabilities(2, samples, outputs),
        draw_normal(0, samples, inputs) @ draw_normal(1, outputs, inputs).T,
    )
    a, slope = activations.sigmoid(z), activations.sigmoid_derivative(z)

    def square(at: torch.Tensor) -> torch.Tensor:
        return (to_tensor(y) - torch.sigmoid(at)) ** 2 / 2

    def entropy(at: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(at, to_tensor(y), reduction="none")

    delta = losses.squared_error_delta(y, a, slope=slope)
    assert_autograd(delta, square, z)
    gradient = losses.squared_error_weight_gradient(delta, x).sum(axis=0)
    assert_autograd(gradient, lambda at: square(to_tensor(x) @ at.T), w)
    gradient = losses.cross_entropy_weight_gradient(y, a, a_before=x).sum(axis=0)
    assert_autograd(gradient, lambda at: entropy(to_tensor(x) @ at.T), w)
    assert_same(losses.cross_entropy(y, a), entropy(to_tensor(z)).sum(1))
    assert_same(losses.cross_entropy_of_output(y, z), entropy(to_tensor(z)).sum(1))
    assert_autograd(losses.cross_entropy_delta(y, z), entropy, z)
    probabilities = draw_probabilities(3, samples, outputs)
    gradient = losses.cross_entropy_gradient(y, probabilities)
    assert_gradient(gradient, lambda at: losses.cross_entropy(y, at), probabilities)


@few_examples
@given(samples=SIZES, classes=SIZES, scale=st.sampled_from([1.0, 30.0]))
def test_softmax_and_likelihood_agree_with_pytorch(
    samples: int, classes: int, scale: float
) -> None:
    z, g = scale * draw_normal(0, samples, classes), draw_normal(1, samples, classes)
    labels = np.random.default_rng(2).integers(classes, size=samples)
    target = torch.tensor(labels)
    assert_same(losses.softmax(z), torch.softmax(to_tensor(z), 1))
    assert_same(losses.log_softmax(z), torch.log_softmax(to_tensor(z), 1))
    costs = losses.negative_log_likelihood(z, labels)
    assert_same(costs, functional.cross_entropy(to_tensor(z), target, reduction="none"))
    delta = losses.negative_log_likelihood_delta(z, labels)
    assert_autograd(delta, lambda at: functional.cross_entropy(at, target, reduction="sum"), z)
    if scale == 1.0:
        gradient = losses.softmax_backward(g, losses.softmax(z))
        assert_autograd(gradient, lambda at: to_tensor(g) * torch.softmax(at, 1), z)
        assert_gradient(gradient, lambda at: g * losses.softmax(at), z)


def test_costs_of_large_logits_are_finite_and_exact() -> None:
    z = np.array([[-1e4, 1e4]])
    with np.errstate(all="raise", under="ignore"):
        assert losses.negative_log_likelihood(z, np.array([0])).tolist() == [2e4]
        assert losses.cross_entropy_of_output(np.array([[1.0, 0.0]]), z).tolist() == [2e4]
        assert losses.negative_log_likelihood_delta(z, np.array([0])).tolist() == [[-1, 1]]


def test_cross_entropy_of_outputs_0_and_1() -> None:
    y = np.array([[1.0, 0.0]])
    assert losses.cross_entropy(y, y).tolist() == [0.0]
    assert losses.cross_entropy(y, 1 - y).tolist() == [np.inf]


def test_learning_slowdown_affects_only_the_squared_error() -> None:
    """For a confident wrong output, (23) is small because of psi'; (25) is not."""
    y, z, x = np.zeros((1, 1)), np.full((1, 1), 5.0), np.ones((1, 1))
    a, slope = activations.sigmoid(z), activations.sigmoid_derivative(z)
    square_gradient = losses.squared_error_weight_gradient(
        losses.squared_error_delta(y, a, slope=slope), x
    )
    entropy_gradient = losses.cross_entropy_weight_gradient(y, a, a_before=x)
    assert square_gradient.item() == pytest.approx(0.0066, abs=1e-4)
    assert entropy_gradient.item() == pytest.approx(0.9933, abs=1e-4)


def test_invalid_arguments_are_refused() -> None:
    y, a = np.zeros((2, 3)), np.full((2, 3), 0.5)
    with pytest.raises(ValueError, match=r"x and y must have the same length.*got \(2, 0\)"):
        losses.training_set(y, y[:0])
    with pytest.raises(ValueError, match=r"one number per sample; got \(2, 3\)"):
        losses.total_cost(y)
    with pytest.raises(
        ValueError, match=r"y and a must have the same shape; got \(2, 3\) and \(2, 2\)"
    ):
        losses.mean_squared_error(y, a[:, :2])
    with pytest.raises(ValueError, match="must have 1 to N samples; got 0"):
        losses.mini_batch_gradient(y, np.array([], dtype=np.int64))
    for wrong in (a - 1, a + 1, np.full((2, 3), np.nan)):
        with pytest.raises(ValueError, match="a must hold probabilities"):
            losses.cross_entropy(y, wrong)
    with pytest.raises(ValueError, match="y must hold probabilities"):
        losses.cross_entropy(y + 2, a)
    with pytest.raises(ValueError, match="a and slope must have the same shape"):
        losses.squared_error_delta(y, a, slope=a[:1])
    with pytest.raises(ValueError, match=r"\(N, n\) and \(N, m\); got \(2, 3\) and \(1, 3\)"):
        losses.squared_error_weight_gradient(y, a[:1])
    with pytest.raises(ValueError, match=r"z must be \(N, classes\); got \(3,\)"):
        losses.negative_log_likelihood(y[0], np.array([0]))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        losses.cross_entropy_gradient(y, y)
    for labels in ([0, 3], [0, -1], [0], [0.0, 1.0]):
        with pytest.raises(
            ValueError, match=r"labels must be 2 integers in 0\.\.2, one per sample"
        ):
            losses.negative_log_likelihood(y, np.array(labels))


@pytest.mark.parametrize(
    "batch", [[True, False, True], [-1, 0], [0, 7], [3], [0.0, 1.0], [np.nan], [[0, 1]]]
)
def test_mini_batch_gradient_refuses_invalid_indices(batch: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"a batch must hold integers in 0\.\.2, \(M,\); got"):
        losses.mini_batch_gradient(np.arange(6.0).reshape(3, 2), np.array(batch))
    with pytest.raises(ValueError, match="a batch must hold integers"):
        losses.mini_batch_gradient(np.arange(6.0).reshape(3, 2), batch)  # type: ignore[arg-type]


def test_cross_entropy_refuses_targets_outside_0_to_1() -> None:
    y, a, z = np.full((2, 3), 5.0), np.full((2, 3), 0.5), np.zeros((2, 3))
    for call in (
        lambda: losses.cross_entropy_gradient(y, a),
        lambda: losses.cross_entropy_of_output(y, z),
        lambda: losses.cross_entropy_delta(y, z),
        lambda: losses.cross_entropy_weight_gradient(y, a, a_before=z),
    ):
        with pytest.raises(ValueError, match=r"y must hold probabilities in \[0, 1\]; got \[\[5"):
            call()
    with pytest.raises(ValueError, match="a must hold probabilities"):
        losses.cross_entropy_weight_gradient(a, y, a_before=z)


def test_softmax_backward_refuses_rows_that_are_not_distributions() -> None:
    a = np.full((2, 4), 0.25)
    with pytest.raises(ValueError, match="gradient and a must have the same shape"):
        losses.softmax_backward(a[:1], a)
    with pytest.raises(ValueError, match="a must hold probabilities"):
        losses.softmax_backward(a, 5 * a)
    with pytest.raises(ValueError, match=r"each row of a must sum to 1; got \[2\. 2\.\]"):
        losses.softmax_backward(a, 2 * a)


def test_mean_of_zero_samples_is_refused() -> None:
    empty = np.zeros((0, 3))
    for mean in (losses.mean_squared_error, losses.mean_squared_error_gradient):
        with pytest.raises(ValueError, match=r"at least 1; got \(0, 0\)"):
            mean(empty, empty)
