"""Checks of section 1.2 up to Algorithm 2: descent, activations, dense layers."""

import numpy as np

from veduta.foundations import activations, backprop, descent, losses, network
from veduta.foundations.arrays import Array
from veduta.foundations.oracles import Check, Pair, differences, draw

X, Y, W, B = draw(4, 3), draw(4, 2, seed=1), draw(2, 3, seed=2), draw(2, seed=3)
NET = [(draw(5, 3, seed=4), draw(5, seed=5)), (draw(2, 5, seed=6), draw(2, seed=7))]
POINTS = np.concatenate([np.linspace(-6, -0.1, 20), np.linspace(0.1, 6, 20)])  # off the kinks


def activation_checks(name: str, x: list[float], values: list[float]) -> tuple[Check, Check]:
    """Values worked out by hand, and the derivative."""
    return (
        Check("values by hand", lambda: (function(name, np.array(x)), np.array(values))),
        differences(
            "derivative",
            lambda: function(f"{name}_derivative", POINTS),
            lambda at: function(name, at),
            POINTS,
        ),
    )


def function(name: str, x: Array) -> Array:
    """Call an activation by its name, as it is now."""
    result: Array = getattr(activations, name)(x)
    return result


def net_cost(net: backprop.Parameters) -> float:
    """(9) of the net above, with the mean square error (19)."""
    return network.cost(net, X, y=Y, measure=losses.mean_square_error)


def last_output(z: Array) -> float:
    """The cost as a function of z^L."""
    return losses.mean_square_error(Y, activations.sigmoid(z))


def hidden_output(z: Array) -> Array:
    """What the cost sum(G . z^{l+1}) is, as a function of z^l; G is draw(4, 2)."""
    return draw(4, 2) * (activations.tanh(z) @ W.T + B)


def output_error() -> Array:
    """(12) at the outputs Z = draw(4, 2)."""
    z = draw(4, 2)
    gradient = losses.mean_square_error_gradient(Y, activations.sigmoid(z))
    return backprop.output_error(gradient, activations.sigmoid_derivative(z))


def hidden_error() -> Array:
    """(14) at the outputs X."""
    return backprop.hidden_error(draw(4, 2), W, slope=activations.tanh_derivative(X))


def one_neuron(equation: int) -> Pair:
    """(11) against (12), (13) against (14), for neuron 1."""
    if equation == 11:
        z = draw(4, 2)
        gradient = losses.mean_square_error_gradient(Y, activations.sigmoid(z))
        slope = activations.sigmoid_derivative(z)
        return backprop.neuron_error(gradient[:, 1], slope[:, 1]), output_error()[:, 1]
    slope = activations.tanh_derivative(X)
    one = backprop.neuron_hidden_error(draw(4, 2), W[:, 1], slope_j=slope[:, 1])
    return one, hidden_error()[:, 1]


def descended() -> Pair:
    """Algorithm 1 against its closed form: the distance to y shrinks by one factor an epoch."""
    x = np.array([2.0, 7.0])
    path = descent.gradient_descent(np.array([0.0, 0.0, 1.0]), x, y=11.0, lr=0.01, epochs=15)
    return path.outputs - 11, (1 - 11) * (1 - 0.01 * (2**2 + 7**2 + 1)) ** np.arange(16.0)


def printed_problem() -> Pair:
    """Algorithm 1 against the figures worked out for the problem as printed."""
    x = np.array([2.0, 7.0])
    path = descent.gradient_descent(np.array([0.0, 0.0, 1.0]), x, y=11.0, lr=0.01, epochs=15)
    return path.parameters[-1].round(6), np.array([0.370367, 1.296285, 1.185184])


def step_check(layer: int, part: int) -> Check:
    """Algorithm 2 moves W (part 0) or b (1) of a layer by -eta times the gradient of the cost."""

    def moved() -> Array:
        return backprop.gradient_descent_step(NET, X, y=Y, lr=-1.0)[layer][part] - start

    def replaced(array: Array) -> float:
        net = [list(pair) for pair in NET]
        net[layer][part] = array
        return net_cost([(w, b) for w, b in net])

    start = NET[layer][part]
    return differences(f"step of {'Wb'[part]}, layer {layer + 2},", moved, replaced, start)


CHECKS: dict[str, tuple[Check, ...]] = {
    "A1": (Check("closed form", descended), Check("printed problem", printed_problem)),
    "1": activation_checks("relu", [-2.0, 0.0, 3.0], [0.0, 0.0, 3.0]),
    "2": activation_checks("binary_step", [-2.0, 0.0, 3.0], [0.0, 0.0, 1.0]),
    "3": activation_checks("sigmoid", [-1e4, 0.0, np.log(3), 1e4], [0, 1 / 2, 3 / 4, 1]),
    "4": activation_checks("tanh", [-1e4, 0.0, np.log(2), 1e4], [-1, 0, 3 / 5, 1]),
    "5": activation_checks("arctan", [-1.0, 0.0, np.sqrt(3)], [-np.pi / 4, 0, np.pi / 3]),
    "6a": (
        Check("by hand", lambda: (
            network.neuron_output(np.array([2.0, 7.0]), np.array([[1.0, 1.0]]), b_j=2.0), [11.0])),
        Check("a row of (8)", lambda: (
            network.neuron_output(W[1], X, b_j=B[1]), network.layer_output(W, X, b=B)[:, 1])),
    ),
    "6b": (Check("psi entry by entry", lambda: (
        network.neuron_activation(np.tanh, X[:, 0]), [np.tanh(z) for z in X[:, 0]])),),
    "7a": (Check("equals (8)", lambda: (
        network.stacked_outputs(W, X, b=B), network.layer_output(W, X, b=B))),),
    "7b": (Check("psi of the matrix", lambda: (
        network.stacked_activations(np.tanh, X), np.tanh(X))),),
    "8": (Check("summed index by index", lambda: (
        network.layer_output(W, X, b=B), np.einsum("jk,ik->ij", W, X) + B)),),
    "9": (Check("forward pass written out", lambda: (net_cost(NET), losses.mean_square_error(
        Y, 1 / (1 + np.exp(-(1 / (1 + np.exp(-X @ NET[0][0].T - NET[0][1])))
                           @ NET[1][0].T - NET[1][1]))))),),
    "10": (Check("equals (12)", lambda: (
        backprop.error_by_definition(last_output, draw(4, 2)), output_error()), 1e-6),),
    "11": (Check("one column of (12)", lambda: one_neuron(11)),),
    "12": (differences("delta", output_error, last_output, draw(4, 2)),),
    "13": (Check("one column of (14)", lambda: one_neuron(13)),),
    "14": (differences("delta", hidden_error, hidden_output, X),),
    "15": (differences("gradient by b", lambda: backprop.bias_gradient(Y),
                       lambda b: Y * (X @ W.T + b), B),),
    "16": (differences("gradient by W", lambda: backprop.weight_gradient(Y, X),
                       lambda w: Y * (X @ w.T + B), W),),
    "A2": tuple(step_check(layer, part) for layer in (0, 1) for part in (0, 1)),
}  # fmt: skip
