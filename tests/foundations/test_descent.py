import numpy as np
import pytest

from tests.foundations.drawing import assert_gradient
from veduta.foundations import descent
from veduta.foundations.arrays import Array


def path(x_1: float, b: float, **settings: float) -> descent.Path:
    start, x = np.array([0.0, 0.0, b]), np.array([x_1, 7.0])
    return descent.gradient_descent(start, x, y=11.0, **settings)


def test_algorithm_1_as_printed_gives_other_figures_than_printed() -> None:
    found = path(2.0, 1.0)
    assert found.parameters[-1] == pytest.approx([0.370367, 1.296285, 1.185184], abs=5e-7)
    assert found.outputs[-1] == pytest.approx(10.999913, abs=5e-7)


def test_the_printed_figures_belong_to_another_problem() -> None:
    found = path(1.0, 0.0)
    assert found.parameters[-1] == pytest.approx([0.215681, 1.50976, 0.21568], abs=1e-5)
    assert found.outputs[-1] == pytest.approx(10.99975, abs=5e-6)
    assert 11 - found.outputs[-1] == pytest.approx(2.5e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("x_1", "b", "off", "cost"), [(2.0, 1.0, 0.206, 0.021), (1.0, 0.0, 0.311, 0.048)]
)
def test_after_5_epochs_only_the_cost_is_of_the_order_of_a_hundredth(
    x_1: float, b: float, off: float, cost: float
) -> None:
    found = path(x_1, b, epochs=5)
    assert abs(found.outputs[-1] - 11) == pytest.approx(off, abs=5e-4)
    assert found.costs[-1] == pytest.approx(cost, abs=5e-4)


def test_eta_of_a_tenth_diverges_and_the_largest_rate_is_the_border() -> None:
    assert np.all(np.diff(path(2.0, 1.0, lr=0.1).costs) > 0)
    limit = descent.largest_learning_rate(np.array([2.0, 7.0]))
    assert np.all(np.diff(path(2.0, 1.0, lr=0.99 * limit).costs) < 0)
    assert np.all(np.diff(path(2.0, 1.0, lr=1.01 * limit).costs) > 0)


def test_no_epoch_is_the_start() -> None:
    assert path(2.0, 1.0, epochs=0).outputs.tolist() == [1.0]


def test_gradient() -> None:
    x, start = np.array([2.0, 7.0]), np.array([0.3, -0.2, 1.0])

    def cost(parameters: Array) -> float:
        return descent.cost(descent.output(parameters, x), 11.0)

    assert_gradient(descent.gradient(descent.output(start, x), x, y=11.0), cost, start)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"x is \(2,\).*got \(3,\)"):
        descent.output(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match=r"epochs is a count.*got -1"):
        path(2.0, 1.0, epochs=-1)
