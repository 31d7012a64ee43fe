"""Figures of section 1.2: activations, the slow-down, vanishing gradients."""

# ruff: noqa: RUF001  # the report's symbols stand in figures and captions

import numpy as np

from veduta.foundations import activations, backprop, cross_entropy
from veduta.foundations.arrays import Activation, Array
from veduta.foundations.network import layer_output
from veduta.report.descent_plots import descents
from veduta.report.drawing import Drawing, drawing
from veduta.report.numbers import as_written
from veduta.report.plots import COLOURS, lines, panel

NAMES = {
    "ReLU": activations.RELU,
    "step": activations.BINARY_STEP,
    "sigmoid": activations.SIGMOID,
    "tanh": activations.TANH,
    "arctan": activations.ARCTAN,
}


def dense_drawings() -> list[Drawing]:
    """In the order of the report."""
    return [descents(), curves(), slow_down(), vanishing()]


def curves() -> Drawing:
    """The five activation functions and their derivatives."""
    x = np.linspace(-6, 6, 601)
    with panel() as (functions, axes):
        lines(axes, x, {name: psi.function(x) for name, psi in NAMES.items()})
        axes.set(ylim=(-1.8, 3), xlabel="x", title="ψ(x)")
    with panel() as (derivatives, axes):
        lines(axes, x, {name: psi.derivative(x) for name, psi in NAMES.items()})
        axes.set(ylim=(-0.05, 1.1), xlabel="x", title="ψ′(x)")
        axes.legend(loc="upper left")
    flat = {
        name: float(x[(x > 0) & activations.saturated(NAMES[name].derivative(x))].min())
        for name in ("sigmoid", "tanh")
    }
    return drawing(
        "5",
        "Activations and their derivatives",
        f"Where the derivative is near 0 a neuron is saturated. It falls below 0.01 at |x| of "
        f"{flat['sigmoid']:.1f} for the sigmoid and {flat['tanh']:.1f} for tanh; arctan is not "
        "there within this range. ReLU is flat for negative x, the step everywhere.",
        {
            "Curves of ReLU, binary step, sigmoid, tanh and arctan from -6 to 6": functions,
            "Their derivatives: ReLU's is 0 then 1, the others peak at 0 and fall off": derivatives,
        },
    )


def slow_down() -> Drawing:
    """One sigmoid neuron that starts sure and wrong, under two costs."""
    epochs, lr, one, zero = 300, 0.15, np.ones((1, 1)), np.zeros((1, 1))
    outputs: dict[str, list[float]] = {"square error": [], "cross entropy": []}
    slopes: dict[str, list[float]] = {"(23) square error": [], "(25) cross entropy": []}
    for (name, seen), steepness in zip(outputs.items(), slopes.values(), strict=True):
        w, b = np.full((1, 1), 2.0), np.full(1, 2.0)
        for _ in range(epochs):
            z = layer_output(w, one, b=b)
            a = activations.sigmoid(z)
            delta = a - zero
            if name == "square error":
                slope = activations.sigmoid_derivative(z)
                delta = cross_entropy.square_error_delta(zero, a, slope=slope)
            gradient = backprop.weight_gradient(delta, one)
            seen.append(float(a[0, 0]))
            steepness.append(float(gradient[0, 0]))
            w, b = w - lr * gradient, b - lr * backprop.bias_gradient(delta)
    with panel() as (answers, axes):
        lines(axes, np.arange(epochs), outputs)
        axes.set(xlabel="epoch", ylabel="a", title="output, target 0", ylim=(0, 1.02))
    with panel() as (gradients, axes):
        lines(axes, np.arange(epochs), slopes)
        axes.set(xlabel="epoch", ylabel="∂C/∂w", title="gradient of the weight", ylim=(0, 1.02))
    first = [steepness[0] for steepness in slopes.values()]
    return drawing(
        "25",
        "Learning slow-down",
        f"A sigmoid neuron that starts at {outputs['square error'][0]:.2f} and should give 0. "
        f"Under the square error its first gradient is {first[0]:.3f}, by the factor ψ′; under the "
        f"cross entropy {first[1]:.2f}. The worse the answer, the slower the one learns and the "
        "faster the other.",
        {
            "Output by epoch: under cross entropy it falls at once, else after a delay": answers,
            "Gradient by epoch: cross entropy starts high, square error starts near 0": gradients,
        },
    )


def vanishing() -> Drawing:
    """Size of the gradient of every layer's weights in a deep net, before any training."""
    depth, kinds = 12, ("sigmoid", "tanh", "ReLU")
    norms = {name: gradient_norms(NAMES[name], depth) for name in kinds}
    layers = np.arange(2, depth + 2)
    with panel() as (figure, axes):
        lines(axes, layers, norms)
        axes.set(yscale="log", xlabel="layer", ylabel="‖∂C/∂W‖", title="gradient by layer")
    with panel() as (peaks, axes):
        x = np.linspace(-6, 6, 301)
        for i, (name, power) in enumerate((("ψ′", 1), ("ψ′ twice", 2), ("ψ′ four times", 4))):
            slope = activations.sigmoid_derivative(x) ** power
            axes.plot(x, slope, color=COLOURS[i], linestyle=("-", "--", "-.")[i], label=name)
        axes.set(yscale="log", ylim=(1e-8, 1), xlabel="z", title="sigmoid: slopes multiply")
        axes.legend(loc="lower center")
    ratio = norms["sigmoid"][-1] / norms["sigmoid"][0]
    return drawing(
        "16",
        "Vanishing gradients by depth",
        f"{depth} layers of 30 neurons with fresh weights. With the sigmoid the first layer's "
        f"gradient is {as_written(ratio, 1)} times smaller than the last one's: each layer on "
        "the way back multiplies by ψ′, which is at most 1/4. ReLU's slope is 0 or 1.",
        {
            "Gradient norm by layer: it falls by many orders towards the first layer for the "
            "sigmoid, little for tanh and ReLU": figure,
            "The sigmoid's derivative to the first, second and fourth power": peaks,
        },
    )


def gradient_norms(psi: Activation, depth: int) -> Array:
    """Norms of (16), first layer first, on the way back from a random error."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(2 / 30) if psi is activations.RELU else np.sqrt(1 / 30)
    weights = [rng.standard_normal((30, 30)) * scale for _ in range(depth)]
    a, z = [rng.standard_normal((20, 30))], []
    for w in weights:
        z.append(layer_output(w, a[-1], b=np.zeros(30)))
        a.append(psi.function(z[-1]))
    delta = backprop.output_error(rng.standard_normal((20, 30)), psi.derivative(z[-1]))
    norms = [float(np.linalg.norm(backprop.weight_gradient(delta, a[-2])))]
    for layer in range(depth - 2, -1, -1):
        slope = psi.derivative(z[layer])
        delta = backprop.hidden_error(delta, weights[layer + 1], slope=slope)
        norms.insert(0, float(np.linalg.norm(backprop.weight_gradient(delta, a[layer]))))
    return np.array(norms)
