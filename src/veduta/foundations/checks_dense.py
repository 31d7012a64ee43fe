"""Checks of sections 1.2.1 and 1.2.2 up to Algorithm 2: one neuron, activations, dense layers."""

import numpy as np

from veduta.foundations import activations, backprop, descent, losses, network
from veduta.foundations.arrays import Array
from veduta.foundations.checks import Check, Pair, draw_normal, make_gradient_check

X, Y = draw_normal(4, 3), draw_normal(4, 2, seed=1)
W, B = draw_normal(2, 3, seed=2), draw_normal(2, seed=3)
Z = draw_normal(4, 2)  # pre-activations of the last layer; also the error of the next layer
NET = [
    (draw_normal(5, 3, seed=4), draw_normal(5, seed=5)),
    (draw_normal(2, 5, seed=6), draw_normal(2, seed=7)),
]
POINTS = np.concatenate([np.linspace(-6, -0.1, 20), np.linspace(0.1, 6, 20)])  # without kinks


def make_activation_checks(name: str, x: list[float], values: list[float]) -> tuple[Check, Check]:
    """Return a check of known function values and a check of the derivative."""
    return (
        Check("values by hand", lambda: (evaluate(name, np.array(x)), np.array(values))),
        make_gradient_check(
            "derivative",
            lambda: evaluate(f"{name}_derivative", POINTS),
            lambda at: evaluate(name, at),
            POINTS,
        ),
    )


def evaluate(name: str, x: Array) -> Array:
    """Call a function of `activations`, looked up at the time of the call."""
    result: Array = getattr(activations, name)(x)
    return result


def network_cost(net: backprop.Parameters) -> float:
    """Return the cost (9) of a network on X and Y, with the mean squared error (19)."""
    return network.cost(net, X, y=Y, measure=losses.mean_squared_error)


def last_layer_cost(z: Array) -> float:
    """Return the mean squared error (19) as a function of z^L."""
    return losses.mean_squared_error(Y, activations.sigmoid(z))


def hidden_layer_cost(z: Array) -> Array:
    """Return a cost per entry as a function of z^l, whose error in the next layer is Z."""
    return Z * (activations.tanh(z) @ W.T + B)


def output_error() -> Array:
    """Return (12) for the pre-activations Z."""
    gradient = losses.mean_squared_error_gradient(Y, activations.sigmoid(Z))
    return backprop.output_error(gradient, activations.sigmoid_derivative(Z))


def hidden_error() -> Array:
    """Return (14) for the pre-activations X."""
    return backprop.hidden_error(Z, W, slope=activations.tanh_derivative(X))


def compare_neuron_error() -> Pair:
    """Compare (11) for neuron 1 with its column of (12)."""
    gradient = losses.mean_squared_error_gradient(Y, activations.sigmoid(Z))
    slope = activations.sigmoid_derivative(Z)
    return backprop.neuron_error(gradient[:, 1], slope[:, 1]), output_error()[:, 1]


def compare_neuron_hidden_error() -> Pair:
    """Compare (13) for neuron 1 with its column of (14)."""
    slope = activations.tanh_derivative(X)
    error = backprop.neuron_hidden_error(Z, W[:, 1], slope_j=slope[:, 1])
    return error, hidden_error()[:, 1]


def run_algorithm_1() -> descent.Path:
    """Run Algorithm 1 on the problem printed in the report."""
    start, x = np.array([0.0, 0.0, 1.0]), np.array([2.0, 7.0])
    return descent.gradient_descent(start, x, y=11.0, lr=0.01, epochs=15)


def compare_closed_form() -> Pair:
    """Compare Algorithm 1 with its closed form: each epoch scales the difference z - y."""
    factor = 1 - 0.01 * (2**2 + 7**2 + 1)
    return run_algorithm_1().outputs - 11, (1 - 11) * factor ** np.arange(16.0)


def compare_known_result() -> Pair:
    """Compare the result of Algorithm 1 with known parameters, rounded to six decimals."""
    parameters = run_algorithm_1().parameters[-1].round(6)
    return parameters, np.array([0.370367, 1.296285, 1.185184])


def make_step_check(layer: int, part: int) -> Check:
    """Return the check that Algorithm 2 moves W (part 0) or b (part 1) against the gradient."""
    start = NET[layer][part]

    def step() -> Array:  # with a learning rate of -1, the step is the gradient itself
        return backprop.gradient_descent_step(NET, X, y=Y, lr=-1.0)[layer][part] - start

    def cost(array: Array) -> float:
        net = [list(pair) for pair in NET]
        net[layer][part] = array
        return network_cost([(w, b) for w, b in net])

    return make_gradient_check(f"step of {'Wb'[part]}, layer {layer + 2},", step, cost, start)


CHECKS: dict[str, tuple[Check, ...]] = {
    "A1": (
        Check("closed form", compare_closed_form),
        Check("problem as printed", compare_known_result),
    ),
    "1": make_activation_checks("relu", [-2.0, 0.0, 3.0], [0.0, 0.0, 3.0]),
    "2": make_activation_checks("binary_step", [-2.0, 0.0, 3.0], [0.0, 0.0, 1.0]),
    "3": make_activation_checks("sigmoid", [-1e4, 0.0, np.log(3), 1e4], [0, 1 / 2, 3 / 4, 1]),
    "4": make_activation_checks("tanh", [-1e4, 0.0, np.log(2), 1e4], [-1, 0, 3 / 5, 1]),
    "5": make_activation_checks("arctan", [-1.0, 0.0, np.sqrt(3)], [-np.pi / 4, 0, np.pi / 3]),
    "6a": (
        Check("value by hand", lambda: (
            network.neuron_output(np.array([2.0, 7.0]), np.array([[1.0, 1.0]]), b_j=2.0), [11.0])),
        Check("one column of (8)", lambda: (
            network.neuron_output(W[1], X, b_j=B[1]), network.layer_output(W, X, b=B)[:, 1])),
    ),
    "6b": (Check("psi entry by entry", lambda: (
        network.neuron_activation(np.tanh, X[:, 0]), [np.tanh(z) for z in X[:, 0]])),),
    "7a": (Check("equals (8)", lambda: (
        network.stacked_outputs(W, X, b=B), network.layer_output(W, X, b=B))),),
    "7b": (Check("psi of the matrix", lambda: (
        network.stacked_activations(np.tanh, X), np.tanh(X))),),
    "8": (Check("explicit sum over indices", lambda: (
        network.layer_output(W, X, b=B), np.einsum("jk,ik->ij", W, X) + B)),),
    "9": (Check("explicit forward pass", lambda: (network_cost(NET), losses.mean_squared_error(
        Y, 1 / (1 + np.exp(-(1 / (1 + np.exp(-X @ NET[0][0].T - NET[0][1])))
                           @ NET[1][0].T - NET[1][1]))))),),
    "10": (Check("equals (12)", lambda: (
        backprop.error_by_definition(last_layer_cost, Z), output_error()), 1e-6),),
    "11": (Check("one column of (12)", compare_neuron_error),),
    "12": (make_gradient_check("delta", output_error, last_layer_cost, Z),),
    "13": (Check("one column of (14)", compare_neuron_hidden_error),),
    "14": (make_gradient_check("delta", hidden_error, hidden_layer_cost, X),),
    "15": (make_gradient_check("gradient with respect to b", lambda: backprop.bias_gradient(Y),
                               lambda b: Y * (X @ W.T + b), B),),
    "16": (make_gradient_check("gradient with respect to W",
                               lambda: backprop.weight_gradient(Y, X),
                               lambda w: Y * (X @ w.T + B), W),),
    "A2": tuple(make_step_check(layer, part) for layer in (0, 1) for part in (0, 1)),
}  # fmt: skip
