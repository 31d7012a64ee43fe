"""Forward and backward pass of dense layers, (6)-(16) and Algorithm 2."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.foundations.helpers import (
    assert_autograd,
    assert_gradient,
    assert_same,
    draw_normal,
    few_examples,
    to_tensor,
)
from veduta.foundations import activations, backprop, losses, network
from veduta.foundations.arrays import Array

SIZES = st.integers(1, 6)
TORCH = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "arctan": torch.arctan}


@few_examples
@given(samples=SIZES, inputs=SIZES, outputs=SIZES)
def test_forward_pass_agrees_with_pytorch(samples: int, inputs: int, outputs: int) -> None:
    w, a, b = (
        draw_normal(0, outputs, inputs),
        draw_normal(1, samples, inputs),
        draw_normal(2, outputs),
    )
    expected = torch.nn.functional.linear(to_tensor(a), to_tensor(w), to_tensor(b))
    z = network.layer_output(w, a, b=b)
    assert_same(z, expected)
    assert_same(network.stacked_outputs(w, a, b=b), expected)
    assert_same(network.neuron_output(w[0], a, b_j=b[0]), expected[:, 0])
    assert_same(network.stacked_activations(activations.sigmoid, z), torch.sigmoid(expected))
    assert_same(
        network.neuron_activation(activations.sigmoid, z[:, 0]), torch.sigmoid(expected[:, 0])
    )


@few_examples
@given(samples=SIZES, inputs=SIZES, outputs=SIZES)
def test_errors_and_gradients_of_dense_layers(samples: int, inputs: int, outputs: int) -> None:
    w, a, b = (
        draw_normal(0, outputs, inputs),
        draw_normal(1, samples, inputs),
        draw_normal(2, outputs),
    )
    delta = draw_normal(3, samples, outputs)

    def cost(w_: Array, a_: Array, b_: Array) -> Array:
        return delta * network.layer_output(w_, a_, b=b_)

    assert_gradient(backprop.weight_gradient(delta, a), lambda x: cost(x, a, b), w)
    assert_gradient(backprop.bias_gradient(delta), lambda x: cost(w, a, x), b)
    slope = activations.tanh_derivative(a)
    hidden = backprop.hidden_error(delta, w, slope=slope)
    assert_gradient(hidden, lambda z: cost(w, activations.tanh(z), b), a)
    assert_autograd(hidden, lambda z: to_tensor(delta) * (torch.tanh(z) @ to_tensor(w).T), a)
    neuron = backprop.neuron_hidden_error(delta, w[:, 0], slope_j=slope[:, 0])
    assert_same(neuron, hidden[:, 0])
    error = backprop.output_error(a, slope)
    assert_same(backprop.neuron_error(a[:, 0], slope[:, 0]), error[:, 0])
    by_definition = backprop.error_by_definition(lambda z: float((z**2).sum()), a)
    assert by_definition == pytest.approx(2 * a, abs=1e-6)


@few_examples
@given(
    widths=st.lists(SIZES, min_size=2, max_size=5), samples=SIZES, name=st.sampled_from(list(TORCH))
)
def test_algorithm_2_agrees_with_autograd(widths: list[int], samples: int, name: str) -> None:
    psi = getattr(activations, name.upper())
    pairs = list(itertools.pairwise(widths))
    net = [(draw_normal(2 * i, n, m), draw_normal(2 * i + 1, n)) for i, (m, n) in enumerate(pairs)]
    x, y = draw_normal(20, samples, widths[0]), draw_normal(21, samples, widths[-1])
    tensors = [(to_tensor(w), to_tensor(b)) for w, b in net]
    a = to_tensor(x)
    for w, b in tensors:
        a = TORCH[name](a @ w.T + b)
    cost = ((to_tensor(y) - a) ** 2).sum() / (2 * samples)
    assert_same(network.cost(net, x, y=y, measure=losses.mean_squared_error, activation=psi), cost)
    flat = [array for pair in tensors for array in pair]
    expected = torch.autograd.grad(cost, flat)
    updated = backprop.gradient_descent_step(net, x, y=y, lr=0.5, activation=psi)
    for new, old, gradient in zip(sum(updated, ()), flat, expected, strict=True):
        assert_same(new, old - 0.5 * gradient)


def test_algorithm_2_learns_xor() -> None:
    """XOR is the smallest problem that no linear network solves."""
    x = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([[0.0], [1.0], [1.0], [0.0]])
    net = [(draw_normal(1, 4, 2), draw_normal(2, 4)), (draw_normal(3, 1, 4), draw_normal(4, 1))]
    for _ in range(3000):
        net = backprop.gradient_descent_step(net, x, y=y, lr=4.0)
    a = x
    for w, b in net:
        a = activations.sigmoid(network.layer_output(w, a, b=b))
    assert a.round().tolist() == y.tolist()


def test_depth_width_and_parameter_count_of_the_reports_examples() -> None:
    assert network.parameter_count([3, 2, 3, 2, 1]) == 28  # 8 + 9 + 8 + 3
    assert network.parameter_count([3, 2, 3, 2, 1], bias=False) == 20
    first_figure = [4, 8, 8, 8, 4]
    assert (network.depth(first_figure), network.width(first_figure)) == (4, 8)


def test_invalid_arguments_are_refused() -> None:
    w, a, b = np.zeros((2, 3)), np.zeros((4, 3)), np.zeros(2)
    with pytest.raises(ValueError, match=r"w must be \(n, m\).*got \(2, 3\), \(4, 2\) and \(2,\)"):
        network.layer_output(w, a[:, :2], b=b)
    with pytest.raises(
        ValueError, match=r"w_j must be \(m,\) and a_before \(N, m\); got \(2,\) and"
    ):
        network.neuron_output(b, a, b_j=0.0)
    with pytest.raises(ValueError, match="one bias per row of w"):
        network.stacked_outputs(w, a, b=b[:1])
    with pytest.raises(ValueError, match="gradient_j and slope_j must have the same shape"):
        backprop.neuron_error(b, b[:1])
    with pytest.raises(ValueError, match=r"delta_next must be .* slope_j"):
        backprop.neuron_hidden_error(a, b, slope_j=np.zeros(4))
    with pytest.raises(ValueError, match="two or more layers"):
        network.parameter_count([3])
    with pytest.raises(ValueError, match="gradient and slope must have the same shape"):
        backprop.output_error(a, w)
    with pytest.raises(ValueError, match="delta_next must be"):
        backprop.hidden_error(a, w, slope=a)
    for short in (a[:1], a[:1, :1], a[0]):
        with pytest.raises(ValueError, match=r"delta_next must be .*slope \(N, n\)"):
            backprop.hidden_error(np.zeros((4, 2)), w, slope=short)
    with pytest.raises(ValueError, match=r"\(N, n\) and \(N, m\); got \(4, 3\) and \(2, 3\)"):
        backprop.weight_gradient(a, w)
    with pytest.raises(ValueError, match="a network must have at least one layer; got 0"):
        backprop.gradient_descent_step([], a, y=a, lr=0.1)
