"""Gradient descent for one neuron (Algorithm 1)."""

from typing import Any

import numpy as np
import pytest

from tests.foundations.helpers import assert_gradient
from veduta.foundations import descent
from veduta.foundations.arrays import Array


def run_algorithm_1(x_1: float, b: float, **settings: Any) -> descent.Path:
    start, x = np.array([0.0, 0.0, b]), np.array([x_1, 7.0])
    return descent.gradient_descent(start, x, y=11.0, **settings)


def test_problem_as_printed_gives_the_corrected_result() -> None:
    path = run_algorithm_1(2.0, 1.0)
    assert path.parameters[-1] == pytest.approx([0.370367, 1.296285, 1.185184], abs=5e-7)
    assert path.outputs[-1] == pytest.approx(10.999913, abs=5e-7)


def test_printed_result_belongs_to_another_problem() -> None:
    path = run_algorithm_1(1.0, 0.0)
    assert path.parameters[-1] == pytest.approx([0.215681, 1.50976, 0.21568], abs=1e-5)
    assert path.outputs[-1] == pytest.approx(10.99975, abs=5e-6)
    assert 11 - path.outputs[-1] == pytest.approx(2.5e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("x_1", "b", "error", "cost"), [(2.0, 1.0, 0.206, 0.021), (1.0, 0.0, 0.311, 0.048)]
)
def test_error_and_cost_after_5_epochs(x_1: float, b: float, error: float, cost: float) -> None:
    path = run_algorithm_1(x_1, b, epochs=5)
    assert abs(path.outputs[-1] - 11) == pytest.approx(error, abs=5e-4)
    assert path.costs[-1] == pytest.approx(cost, abs=5e-4)


def test_descent_diverges_above_the_largest_learning_rate() -> None:
    assert np.all(np.diff(run_algorithm_1(2.0, 1.0, lr=0.1).costs) > 0)
    limit = descent.largest_learning_rate(np.array([2.0, 7.0]))
    assert np.all(np.diff(run_algorithm_1(2.0, 1.0, lr=0.99 * limit).costs) < 0)
    assert np.all(np.diff(run_algorithm_1(2.0, 1.0, lr=1.01 * limit).costs) > 0)


def test_zero_epochs_give_the_initial_state() -> None:
    assert run_algorithm_1(2.0, 1.0, epochs=0).outputs.tolist() == [1.0]


def test_gradient_agrees_with_central_differences() -> None:
    x, start = np.array([2.0, 7.0]), np.array([0.3, -0.2, 1.0])

    def cost(parameters: Array) -> float:
        return descent.cost(descent.output(parameters, x), 11.0)

    assert_gradient(descent.gradient(descent.output(start, x), x, y=11.0), cost, start)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \(2,\).*got \(3,\)"):
        descent.output(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"epochs must be 0 or more; got -1"):
        run_algorithm_1(2.0, 1.0, epochs=-1)
