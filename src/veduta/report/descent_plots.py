"""Figures of descent: Algorithm 1 at three learning rates, a valley with and without momentum."""

# the report's symbols stand in figures and captions

import numpy as np

from veduta.foundations import descent
from veduta.foundations.arrays import Array
from veduta.foundations.momentum import momentum_step
from veduta.report.drawing import Drawing, drawing
from veduta.report.numbers import as_written
from veduta.report.plots import COLOURS, INK, lines, panel


def descents() -> Drawing:
    """Algorithm 1 at a calm, a restless and a too large learning rate."""
    x, start, epochs = np.array([2.0, 7.0]), np.array([0.0, 0.0, 1.0]), 15
    rates = (0.01, 0.03, 0.1)
    paths = {
        f"η = {lr}": descent.gradient_descent(start, x, y=11.0, lr=lr, epochs=epochs)
        for lr in rates
    }
    steps = np.arange(epochs + 1)
    with panel() as (outputs, axes):
        lines(axes, steps, {name: until_lost(path.outputs) for name, path in paths.items()})
        axes.axhline(11, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(ylim=(-2, 24), xlabel="epoch", ylabel="z", title="output, target 11")
        axes.legend(loc="upper right")
    with panel() as (costs, axes):
        lines(axes, steps, {name: path.costs for name, path in paths.items()})
        axes.set(yscale="log", xlabel="epoch", ylabel="C", title="cost")
    limit = descent.largest_learning_rate(x)
    return drawing(
        "A1",
        "Descent at three learning rates",
        f"The printed problem, x = (2, 7), converges for η below {limit:.4f}. Above half of that "
        "the output jumps across the target from epoch to epoch; at 0.1 each jump is larger than "
        "the one before.",
        {
            "Output z by epoch: two rates approach 11, the largest diverges": outputs,
            "Cost by epoch on a logarithmic scale: it falls for two rates, grows for one": costs,
        },
    )


def until_lost(outputs: Array) -> Array:
    """The outputs up to the first that is off the figure; a line cannot follow further."""
    lost = np.abs(outputs - 11) > 20
    return np.where(np.cumsum(lost) > 1, np.nan, outputs)


def momentum() -> Drawing:
    """Down a long valley, C = (w_1^2 + 30 w_2^2) / 2."""
    steepness, steps = np.array([1.0, 30.0]), 40
    paths: dict[str, Array] = {}
    for name, mu in (("μ = 0", 0.0), ("μ = 0.8", 0.8)):
        w, v = np.array([-4.0, 0.9]), np.zeros(2)
        states = [w]
        for _ in range(steps):
            w, v = momentum_step(w, v, gradient=steepness * w, lr=0.02, mu=mu)
            states.append(w)
        paths[name] = np.array(states)
    costs = {name: (path**2 @ steepness) / 2 for name, path in paths.items()}
    with panel() as (valley, axes):
        x, y = np.meshgrid(np.linspace(-4.5, 2, 120), np.linspace(-1.2, 1.2, 80))
        axes.contour(
            x, y, (x**2 + 30 * y**2) / 2, levels=10, colors=INK, alpha=0.25, linewidths=0.7
        )
        for i, (name, path) in enumerate(paths.items()):
            axes.plot(*path.T, color=COLOURS[i], marker=".ox"[i], markersize=4, label=name)
        axes.set(xlabel="w₁", ylabel="w₂", title="path")
        axes.legend(loc="upper right")
    with panel() as (falling, axes):
        lines(axes, np.arange(steps + 1), costs)
        axes.set(yscale="log", xlabel="step", ylabel="C", title="cost")
    ends = [float(cost[-1]) for cost in costs.values()]
    return drawing(
        "37",
        "Descent with and without momentum",
        f"A valley thirty times steeper across than along, η = 0.02. After {steps} steps the cost "
        f"is {as_written(ends[0])} without momentum and {as_written(ends[1])} with: along "
        "the valley the gradients agree and the velocity grows, across it they cancel.",
        {
            "Two paths over the contours of a long valley; with momentum it gets farther": valley,
            "Cost by step on a logarithmic scale, lower in the end with momentum": falling,
        },
    )
