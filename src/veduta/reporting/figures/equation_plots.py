"""Figures of sections 1 and 2: descent, activations, vanishing gradients, kernels and pooling."""

import numpy as np
from matplotlib.figure import Figure

from veduta.foundations import (
    activations,
    backprop,
    convolution,
    descent,
    losses,
    pooling,
    preprocessing,
)
from veduta.foundations.arrays import Activation, Array
from veduta.foundations.network import layer_output
from veduta.reporting.figures.plots import (
    COLORS,
    INK,
    Drawing,
    format_number,
    make_drawing,
    open_panel,
    plot_lines,
)

# ruff: noqa: RUF001  # figures and captions use the symbols of the report


ACTIVATIONS = {
    "ReLU": activations.RELU,
    "step": activations.BINARY_STEP,
    "sigmoid": activations.SIGMOID,
    "tanh": activations.TANH,
    "arctan": activations.ARCTAN,
}


def draw_network_figures() -> list[Drawing]:
    """Draw the figures of section 1.2, in report order."""
    return [
        draw_gradient_descent(),
        draw_activations(),
        draw_learning_slowdown(),
        draw_vanishing_gradients(),
    ]


def draw_gradient_descent() -> Drawing:
    """Draw Algorithm 1 for three learning rates: it converges, oscillates and diverges."""
    x, start, epochs = np.array([2.0, 7.0]), np.array([0.0, 0.0, 1.0]), 15
    paths = {
        f"η = {lr}": descent.gradient_descent(start, x, y=11.0, lr=lr, epochs=epochs)
        for lr in (0.01, 0.03, 0.1)
    }
    steps = np.arange(epochs + 1)
    with open_panel() as (outputs, axes):
        plot_lines(axes, steps, {name: clip_outputs(path.outputs) for name, path in paths.items()})
        axes.axhline(11, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(ylim=(-2, 24), xlabel="epoch", ylabel="z", title="output, target 11")
        axes.legend(loc="upper right")
    with open_panel() as (costs, axes):
        plot_lines(axes, steps, {name: path.costs for name, path in paths.items()})
        axes.set(yscale="log", xlabel="epoch", ylabel="C", title="cost")
    limit = descent.largest_learning_rate(x)
    return make_drawing(
        "A1",
        "Gradient descent at three learning rates",
        f"For the printed input, x = (2, 7), gradient descent converges for η below {limit:.4f}. "
        "Above half of this limit, the output oscillates around the target. At η = 0.1 it "
        "diverges: each step is larger than the one before.",
        {
            "Output z by epoch: two learning rates approach 11, the largest diverges": outputs,
            "Cost by epoch on a logarithmic scale: it falls for two learning rates and grows for "
            "the largest": costs,
        },
    )


def clip_outputs(outputs: Array) -> Array:
    """Replace all outputs after the first one outside the figure by NaN, which ends the line."""
    outside = np.abs(outputs - 11) > 20
    return np.where(np.cumsum(outside) > 1, np.nan, outputs)


def draw_activations() -> Drawing:
    """Draw the five activation functions and their derivatives."""
    x = np.linspace(-6, 6, 601)
    with open_panel() as (functions, axes):
        plot_lines(axes, x, {name: psi.function(x) for name, psi in ACTIVATIONS.items()})
        axes.set(ylim=(-1.8, 3), xlabel="x", title="ψ(x)")
    with open_panel() as (derivatives, axes):
        plot_lines(axes, x, {name: psi.derivative(x) for name, psi in ACTIVATIONS.items()})
        axes.set(ylim=(-0.05, 1.1), xlabel="x", title="ψ′(x)")
        axes.legend(loc="upper left")
    saturation = {
        name: float(x[(x > 0) & activations.is_saturated(ACTIVATIONS[name].derivative(x))].min())
        for name in ("sigmoid", "tanh")
    }
    return make_drawing(
        "5",
        "Activations and their derivatives",
        f"Where the derivative is close to 0, a neuron is saturated. The derivative falls below "
        f"0.01 at |x| = {saturation['sigmoid']:.1f} for the sigmoid and at "
        f"|x| = {saturation['tanh']:.1f} for tanh; that of arctan stays above 0.01 in this range. "
        "The derivative of ReLU is 0 for negative x; the derivative of the step is 0 everywhere.",
        {
            "Curves of ReLU, binary step, sigmoid, tanh and arctan from -6 to 6": functions,
            "Their derivatives: that of ReLU is 0, then 1; the others are largest at 0 and "
            "decrease on both sides": derivatives,
        },
    )


def draw_learning_slowdown() -> Drawing:
    """Draw how a sigmoid neuron unlearns a confident wrong output under two cost functions."""
    epochs, lr, x, y = 300, 0.15, np.ones((1, 1)), np.zeros((1, 1))
    outputs: dict[str, list[float]] = {"squared error": [], "cross-entropy": []}
    gradients: dict[str, list[float]] = {"(23) squared error": [], "(25) cross-entropy": []}
    for (name, a_by_epoch), gradient_by_epoch in zip(
        outputs.items(), gradients.values(), strict=True
    ):
        w, b = np.full((1, 1), 2.0), np.full(1, 2.0)
        for _ in range(epochs):
            z = layer_output(w, x, b=b)
            a = activations.sigmoid(z)
            delta = a - y
            if name == "squared error":
                slope = activations.sigmoid_derivative(z)
                delta = losses.squared_error_delta(y, a, slope=slope)
            gradient = backprop.weight_gradient(delta, x)
            a_by_epoch.append(float(a[0, 0]))
            gradient_by_epoch.append(float(gradient[0, 0]))
            w, b = w - lr * gradient, b - lr * backprop.bias_gradient(delta)
    with open_panel() as (output_figure, axes):
        plot_lines(axes, np.arange(epochs), outputs)
        axes.set(xlabel="epoch", ylabel="a", title="output, target 0", ylim=(0, 1.02))
    with open_panel() as (gradient_figure, axes):
        plot_lines(axes, np.arange(epochs), gradients)
        axes.set(xlabel="epoch", ylabel="∂C/∂w", title="gradient of the weight", ylim=(0, 1.02))
    first = [gradient_by_epoch[0] for gradient_by_epoch in gradients.values()]
    return make_drawing(
        "25",
        "Learning slowdown",
        f"A sigmoid neuron with initial output {outputs['squared error'][0]:.2f} and target 0. "
        f"With the squared error, its first gradient is {first[0]:.3f}, because of the factor ψ′; "
        f"with the cross-entropy it is {first[1]:.2f}. The larger the error, the slower the neuron "
        "learns with the squared error, and the faster with the cross-entropy.",
        {
            "Output by epoch: with cross-entropy it falls at once, with the squared error after a "
            "delay": output_figure,
            "Gradient by epoch: with cross-entropy it starts high, with the squared error near "
            "0": gradient_figure,
        },
    )


def draw_vanishing_gradients() -> Drawing:
    """Draw the norm of the weight gradient of every layer of a deep network before training."""
    depth, names = 12, ("sigmoid", "tanh", "ReLU")
    norms = {name: compute_gradient_norms(ACTIVATIONS[name], depth) for name in names}
    layers = np.arange(2, depth + 2)
    with open_panel() as (norm_figure, axes):
        plot_lines(axes, layers, norms)
        axes.set(yscale="log", xlabel="layer", ylabel="‖∂C/∂W‖", title="gradient by layer")
    with open_panel() as (power_figure, axes):
        x = np.linspace(-6, 6, 301)
        for i, (name, power) in enumerate((("ψ′", 1), ("ψ′ squared", 2), ("ψ′ to the 4th", 4))):
            slope = activations.sigmoid_derivative(x) ** power
            axes.plot(x, slope, color=COLORS[i], linestyle=("-", "--", "-.")[i], label=name)
        axes.set(yscale="log", ylim=(1e-8, 1), xlabel="z", title="sigmoid: powers of ψ′")
        axes.legend(loc="lower center")
    ratio = norms["sigmoid"][-1] / norms["sigmoid"][0]
    return make_drawing(
        "16",
        "Vanishing gradients by depth",
        f"{depth} layers of 30 neurons with initial weights. With the sigmoid, the gradient of the "
        f"first layer is {format_number(ratio, 1)} times smaller than that of the last layer: each "
        "layer of the backward pass multiplies by ψ′, which is at most 1/4. For ReLU, ψ′ is 0 or "
        "1.",
        {
            "Gradient norm by layer: towards the first layer it falls by many orders of magnitude "
            "for the sigmoid, and little for tanh and ReLU": norm_figure,
            "The first, second and fourth power of the derivative of the sigmoid": power_figure,
        },
    )


def compute_gradient_norms(psi: Activation, depth: int) -> Array:
    """Return the norm of the weight gradient (16) per layer, for a random error of the last one."""
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


def draw_image_figures() -> list[Drawing]:
    """Draw the figures of section 2, in report order."""
    photograph = load_gray_photograph()
    return [draw_feature_maps(photograph), draw_pooling(photograph)]


def load_gray_photograph() -> Array:
    """Return scikit-learn's photograph of a Chinese temple in gray, (1, 1, H / 3, W / 3)."""
    from sklearn.datasets import load_sample_image

    channels = preprocessing.scale_to_unit(load_sample_image("china.jpg")).transpose(2, 0, 1)
    return pooling.average_pool(channels.mean(axis=0)[None, None], 3)


def draw_feature_maps(photograph: Array) -> Drawing:
    """Draw the feature map of each standard kernel."""
    panels = {
        "The photograph, a temple behind trees, in gray": draw_image(photograph, "photograph")
    }
    for name, kernel in convolution.named_kernels().items():
        # reflection padding adds no edges at the border
        feature_map = convolution.convolve(
            photograph,
            kernel[None, None],
            b=np.zeros(1),
            padding=len(kernel) // 2,
            border="reflect",
        )
        detects_edges = abs(kernel.sum()) < 0.5
        content = "light and dark edges on gray" if detects_edges else "the filtered photograph"
        panels[f"Feature map of {name}: {content}"] = draw_image(
            feature_map, name, kernel=kernel, signed=detects_edges
        )
    return make_drawing(
        "30",
        "Standard kernels and their feature maps",
        "The corner of each feature map shows its kernel. Kernels that sum to 0 detect edges, in "
        "one direction (Sobel, Prewitt, Gabor) or in all directions (Laplacian); "
        "constant regions become gray. The other two kernels sum to 1 and keep the brightness.",
        panels,
    )


def draw_pooling(photograph: Array) -> Drawing:
    """Draw max pooling and L2 pooling of one feature map."""
    edges = np.abs(
        convolution.convolve(
            photograph, convolution.sobel()[None, None], b=np.zeros(1), padding=1, border="reflect"
        )
    )
    p = 6
    largest, norm = pooling.max_pool(edges, p), pooling.l2_pool(edges, p)
    correlation = np.corrcoef(largest.ravel(), norm.ravel())[0, 1]
    return make_drawing(
        "31b",
        "Max and L2 pooling",
        f"Absolute values of the Sobel feature map, {edges.shape[2]} x {edges.shape[3]}, pooled "
        f"over {p} x {p} regions to {norm.shape[2]} x {norm.shape[3]}. The L2 norm of a region "
        f"lies between its maximum and {p} times its maximum (on average "
        f"{np.mean(norm / largest):.1f} times here), depending on how many entries are large. The "
        f"correlation between the two results is {correlation:.2f}.",
        {
            "Sobel feature map, absolute values: vertical edges are bright": draw_image(
                edges, "before"
            ),
            "The same after max pooling, at lower resolution": draw_image(largest, f"max, p = {p}"),
            "The same after L2 pooling, at lower resolution": draw_image(norm, f"L2, p = {p}"),
        },
    )


def draw_image(
    image: Array, title: str, *, kernel: Array | None = None, signed: bool = False
) -> Figure:
    """Draw one image in gray.

    Args:
        image: image with one channel, (1, 1, H, W).
        title: title of the figure.
        kernel: kernel to show in the corner, (k, k).
        signed: whether 0 is medium gray instead of black.
    """
    pixels = image[0, 0]
    high = float(np.percentile(np.abs(pixels), 99))
    low = -high if signed else 0.0
    with open_panel(4.2, 4.2 * pixels.shape[0] / pixels.shape[1] + 0.25) as (figure, axes):
        axes.imshow(pixels, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title)
        if kernel is not None:
            corner = axes.inset_axes((0.0, 0.0, 0.24, 0.36), anchor="SW")
            limit = float(np.abs(kernel).max())
            corner.imshow(kernel, cmap="PuOr", vmin=-limit, vmax=limit, interpolation="nearest")
            corner.set(xticks=[], yticks=[])
    return figure
