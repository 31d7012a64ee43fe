"""Activation functions (1)-(5) and their derivatives."""

import numpy as np
import pytest
import torch

from tests.foundations.helpers import (
    assert_autograd,
    assert_gradient,
    assert_same,
    draw_distinct,
    to_tensor,
)
from veduta.foundations import activations
from veduta.foundations.arrays import Activation

PAIRS = {
    "relu": (activations.RELU, torch.relu),
    "sigmoid": (activations.SIGMOID, torch.sigmoid),
    "tanh": (activations.TANH, torch.tanh),
    "arctan": (activations.ARCTAN, torch.arctan),
    "step": (activations.BINARY_STEP, None),
}
LARGE_X = np.array([-1e4, -745.0, 745.0, 1e4])


@pytest.mark.parametrize(("psi", "torch_psi"), PAIRS.values(), ids=PAIRS)
def test_values_and_derivatives_agree_with_pytorch(psi: Activation, torch_psi: object) -> None:
    x = draw_distinct(0, 5, 40)
    assert_gradient(psi.derivative(x), psi.function, x)
    if torch_psi is not None:
        assert callable(torch_psi)
        assert_same(psi.function(x), torch_psi(to_tensor(x)))
        assert_autograd(psi.derivative(x), torch_psi, x)


@pytest.mark.parametrize(("psi", "torch_psi"), PAIRS.values(), ids=PAIRS)
def test_no_overflow_for_large_inputs(psi: Activation, torch_psi: object) -> None:
    with np.errstate(all="raise", under="ignore"):
        assert np.all(np.isfinite(psi.function(LARGE_X)))
        assert np.all(np.isfinite(psi.derivative(LARGE_X)))


def test_relu_and_step_around_zero() -> None:
    x = np.array([-1.0, 0.0, 1.0])
    assert activations.relu(x).tolist() == [0, 0, 1]
    assert activations.binary_step(x).tolist() == [0, 0, 1]
    assert activations.relu_derivative(x).tolist() == [0, 0, 1]


def test_tanh_equals_two_sigmoid_of_2x_minus_1() -> None:
    x = np.linspace(-20, 20, 401)
    assert_same(activations.tanh(x), 2 * activations.sigmoid(2 * x) - 1)


def test_derivatives_are_accurate_for_large_inputs() -> None:
    assert activations.sigmoid_derivative(np.array([40.0]))[0] == pytest.approx(np.exp(-40))
    assert activations.tanh_derivative(np.array([20.0]))[0] == pytest.approx(4 * np.exp(-40))


def test_each_activation_saturates_at_the_documented_input() -> None:
    x = np.linspace(0.01, 12, 1200)
    smallest = {
        name: float(x[activations.is_saturated(psi.derivative(x))].min(initial=np.inf))
        for name, (psi, _) in PAIRS.items()
    }
    expected = {"relu": np.inf, "sigmoid": 4.6, "tanh": 3.0, "arctan": 9.95, "step": 0.01}
    assert smallest == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="above 0; got 0"):
        activations.is_saturated(x, limit=0)
