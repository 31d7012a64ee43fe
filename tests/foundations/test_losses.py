"""Costs of a training set (17)-(25), softmax and the likelihood (26)-(27)."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from tests.foundations.drawing import (
    assert_autograd,
    assert_gradient,
    assert_same,
    few,
    normal,
    tensor,
)
from veduta.foundations import activations, cross_entropy, losses, softmax

SIZES = st.integers(1, 6)


def uniform(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape)


@few
@given(samples=SIZES, outputs=SIZES)
def test_eq_18_to_20_square_error(samples: int, outputs: int) -> None:
    y, a = normal(0, samples, outputs), normal(1, samples, outputs)
    expected = functional.mse_loss(tensor(a), tensor(y), reduction="sum") / (2 * samples)
    assert_same(losses.mean_square_error(y, a), expected)
    assert_same(losses.total_cost(losses.square_error(y, a)) / samples, expected)
    gradient = losses.mean_square_error_gradient(y, a)
    assert_gradient(gradient, lambda at: losses.mean_square_error(y, at), a)
    each = (a - y)[:, :, None] * a[:, None, :]
    assert_same(losses.total_gradient(each), each.sum(0))


@few
@given(samples=st.integers(2, 8), size=st.integers(1, 8))
def test_eq_21_is_right_on_average_over_all_batches(samples: int, size: int) -> None:
    gradients, size = normal(0, samples, 3), min(size, samples)
    rolled = [np.roll(np.arange(samples), shift)[:size] for shift in range(samples)]
    estimates = [losses.mini_batch_gradient(gradients, batch) for batch in rolled]
    assert_same(np.mean(estimates, axis=0), gradients.sum(axis=0))


@few
@given(samples=SIZES, inputs=SIZES, outputs=SIZES)
def test_eq_22_to_25(samples: int, inputs: int, outputs: int) -> None:
    x, w = normal(0, samples, inputs), normal(1, outputs, inputs)
    y, z = uniform(2, samples, outputs), normal(0, samples, inputs) @ normal(1, outputs, inputs).T
    a, slope = activations.sigmoid(z), activations.sigmoid_derivative(z)

    def square(at: torch.Tensor) -> torch.Tensor:
        return (tensor(y) - torch.sigmoid(at)) ** 2 / 2

    def entropy(at: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(at, tensor(y), reduction="none")

    delta = cross_entropy.square_error_delta(y, a, slope=slope)
    assert_autograd(delta, square, z)
    gradient = cross_entropy.square_error_weight_gradient(delta, x).sum(axis=0)
    assert_autograd(gradient, lambda at: square(tensor(x) @ at.T), w)
    gradient = cross_entropy.cross_entropy_weight_gradient(y, a, a_before=x).sum(axis=0)
    assert_autograd(gradient, lambda at: entropy(tensor(x) @ at.T), w)
    assert_same(cross_entropy.cross_entropy(y, a), entropy(tensor(z)).sum(1))
    assert_same(cross_entropy.cross_entropy_of_output(y, z), entropy(tensor(z)).sum(1))
    assert_autograd(cross_entropy.cross_entropy_delta(y, z), entropy, z)
    other = uniform(3, samples, outputs)
    found = cross_entropy.cross_entropy_gradient(y, other)
    assert_gradient(found, lambda at: cross_entropy.cross_entropy(y, at), other)


@few
@given(samples=SIZES, classes=SIZES, scale=st.sampled_from([1.0, 30.0]))
def test_eq_26_and_27(samples: int, classes: int, scale: float) -> None:
    z, g = scale * normal(0, samples, classes), normal(1, samples, classes)
    labels = np.random.default_rng(2).integers(classes, size=samples)
    target = torch.tensor(labels)
    assert_same(softmax.softmax(z), torch.softmax(tensor(z), 1))
    assert_same(softmax.log_softmax(z), torch.log_softmax(tensor(z), 1))
    costs = softmax.negative_log_likelihood(z, labels)
    assert_same(costs, functional.cross_entropy(tensor(z), target, reduction="none"))
    found = softmax.negative_log_likelihood_delta(z, labels)
    assert_autograd(found, lambda at: functional.cross_entropy(at, target, reduction="sum"), z)
    if scale == 1.0:
        back = softmax.softmax_backward(g, softmax.softmax(z))
        assert_autograd(back, lambda at: tensor(g) * torch.softmax(at, 1), z)
        assert_gradient(back, lambda at: g * softmax.softmax(at), z)


def test_costs_far_out_are_finite_and_exact() -> None:
    z = np.array([[-1e4, 1e4]])
    with np.errstate(all="raise", under="ignore"):
        assert softmax.negative_log_likelihood(z, np.array([0])).tolist() == [2e4]
        assert cross_entropy.cross_entropy_of_output(np.array([[1.0, 0.0]]), z).tolist() == [2e4]
        assert softmax.negative_log_likelihood_delta(z, np.array([0])).tolist() == [[-1, 1]]


def test_a_sure_answer_costs_nothing_or_everything() -> None:
    y = np.array([[1.0, 0.0]])
    assert cross_entropy.cross_entropy(y, y).tolist() == [0.0]
    assert cross_entropy.cross_entropy(y, 1 - y).tolist() == [np.inf]


def test_the_slow_down() -> None:
    """A sure and wrong neuron: (23) is small by psi', (25) is not."""
    y, z, x = np.zeros((1, 1)), np.full((1, 1), 5.0), np.ones((1, 1))
    a, slope = activations.sigmoid(z), activations.sigmoid_derivative(z)
    slow = cross_entropy.square_error_weight_gradient(
        cross_entropy.square_error_delta(y, a, slope=slope), x
    )
    fast = cross_entropy.cross_entropy_weight_gradient(y, a, a_before=x)
    assert slow.item() == pytest.approx(0.0066, abs=1e-4)
    assert fast.item() == pytest.approx(0.9933, abs=1e-4)


def test_bad_input() -> None:
    y, a = np.zeros((2, 3)), np.full((2, 3), 0.5)
    with pytest.raises(ValueError, match=r"one y for each x.*got \(2, 0\)"):
        losses.training_set(y, y[:0])
    with pytest.raises(ValueError, match=r"one number a sample.*got \(2, 3\)"):
        losses.total_cost(y)
    with pytest.raises(ValueError, match=r"y and a have one shape; got \(2, 3\) and \(2, 2\)"):
        losses.mean_square_error(y, a[:, :2])
    with pytest.raises(ValueError, match="1 to N samples; got 0"):
        losses.mini_batch_gradient(y, np.array([], dtype=np.int64))
    for wrong in (a - 1, a + 1, np.full((2, 3), np.nan)):
        with pytest.raises(ValueError, match="a holds probabilities"):
            cross_entropy.cross_entropy(y, wrong)
    with pytest.raises(ValueError, match="y holds probabilities"):
        cross_entropy.cross_entropy(y + 2, a)
    with pytest.raises(ValueError, match="a and slope have one shape"):
        cross_entropy.square_error_delta(y, a, slope=a[:1])
    with pytest.raises(ValueError, match=r"\(N, n\) and \(N, m\); got \(2, 3\) and \(1, 3\)"):
        cross_entropy.square_error_weight_gradient(y, a[:1])
    with pytest.raises(ValueError, match=r"z is \(N, classes\); got \(3,\)"):
        softmax.negative_log_likelihood(y[0], np.array([0]))
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        cross_entropy.cross_entropy_gradient(y, y)
    for labels in ([0, 3], [0, -1], [0], [0.0, 1.0]):
        with pytest.raises(ValueError, match=r"one whole number in 0\.\.2 a sample, 2 in all"):
            softmax.negative_log_likelihood(y, np.array(labels))


@pytest.mark.parametrize(
    "batch", [[True, False, True], [-1, 0], [0, 7], [3], [0.0, 1.0], [np.nan], [[0, 1]]]
)
def test_eq_21_takes_whole_numbers_of_samples(batch: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"a batch holds whole numbers in 0\.\.2, \(M,\); got"):
        losses.mini_batch_gradient(np.arange(6.0).reshape(3, 2), np.array(batch))
    with pytest.raises(ValueError, match="a batch holds whole numbers"):
        losses.mini_batch_gradient(np.arange(6.0).reshape(3, 2), batch)  # type: ignore[arg-type]


def test_outputs_of_probabilities_take_no_other_targets() -> None:
    y, a, z = np.full((2, 3), 5.0), np.full((2, 3), 0.5), np.zeros((2, 3))
    for refused in (
        lambda: cross_entropy.cross_entropy_gradient(y, a),
        lambda: cross_entropy.cross_entropy_of_output(y, z),
        lambda: cross_entropy.cross_entropy_delta(y, z),
        lambda: cross_entropy.cross_entropy_weight_gradient(y, a, a_before=z),
    ):
        with pytest.raises(ValueError, match=r"y holds probabilities, in \[0, 1\]; got \[\[5"):
            refused()
    with pytest.raises(ValueError, match="a holds probabilities"):
        cross_entropy.cross_entropy_weight_gradient(a, y, a_before=z)


def test_softmax_backward_takes_what_a_softmax_gave() -> None:
    a = np.full((2, 4), 0.25)
    with pytest.raises(ValueError, match="gradient and a have one shape"):
        softmax.softmax_backward(a[:1], a)
    with pytest.raises(ValueError, match="a holds probabilities"):
        softmax.softmax_backward(a, 5 * a)
    with pytest.raises(ValueError, match=r"each row of a sums to 1; got \[2\. 2\.\]"):
        softmax.softmax_backward(a, 2 * a)


def test_a_mean_of_no_samples_is_refused() -> None:
    none = np.zeros((0, 3))
    for mean in (losses.mean_square_error, losses.mean_square_error_gradient):
        with pytest.raises(ValueError, match=r"at least one; got \(0, 0\)"):
            mean(none, none)
