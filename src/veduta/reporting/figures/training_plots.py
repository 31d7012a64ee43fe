"""Figures of sections 3 and 4: overfitting, momentum, penalties, dropout, batch normalization."""

# ruff: noqa: RUF001  # figures and captions use the symbols of the report

import numpy as np

from veduta.foundations import batch_norm, regularization, stopping
from veduta.foundations.activations import TANH
from veduta.foundations.arrays import Array
from veduta.foundations.layers import ActivationLayer, Dense
from veduta.foundations.optimizers import momentum_step
from veduta.foundations.training import Samples, TrainingSettings, evaluate, train
from veduta.reporting.figures.plots import (
    COLORS,
    DASHES,
    INK,
    Drawing,
    format_number,
    make_drawing,
    open_panel,
    plot_lines,
)


def draw_training_figures() -> list[Drawing]:
    """Draw the figures of sections 3 and 4, in report order."""
    samples, validation = load_digit_samples(120)
    return [
        draw_overfitting(samples, validation),
        draw_momentum(),
        draw_penalties(samples, validation),
        draw_dropout(),
        draw_batch_normalization(),
    ]


def load_digit_samples(count: int) -> tuple[Samples, Samples]:
    """Return `count` training samples and 500 validation samples of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, labels = data.data[order] / 16, data.target[order]
    return (
        Samples(x[:count], labels[:count]),
        Samples(x[count : count + 500], labels[count : count + 500]),
    )


def draw_overfitting(samples: Samples, validation: Samples) -> Drawing:
    """Draw the costs of a network that memorizes wrong labels, and of one that is too small."""
    rng, epochs = np.random.default_rng(0), 60
    guesses = rng.integers(0, 10, len(samples.labels))
    wrong = rng.random(len(guesses)) < 0.2
    noisy = Samples(samples.x, np.where(wrong, guesses, samples.labels))
    settings = TrainingSettings(epochs=epochs, batch_size=16, lr=0.05)
    histories = {}
    for name, width in (("over", 100), ("under", 2)):
        net = [Dense(64, width, rng=rng), ActivationLayer(TANH), Dense(width, 10, rng=rng)]
        histories[name] = train(net, noisy, validation=validation, settings=settings, rng=rng)
    figures, steps = {}, np.arange(1, epochs + 1)
    best = stopping.optimal_epoch([epoch.validation_loss for epoch in histories["over"]])
    for name, history in histories.items():
        with open_panel() as (figure, axes):
            series = {
                "training": [epoch.train_loss for epoch in history],
                "validation": [epoch.validation_loss for epoch in history],
            }
            plot_lines(axes, steps, series)
            axes.set(xlabel="epoch", ylabel="C", ylim=(0, 2.6), title=f"{name}fitting")
            if name == "over":
                axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (4, 3)))
                axes.annotate("stop", (best, 2.3), (6, 0), textcoords="offset points")
        figures[name] = figure
    over, under = histories["over"][-1], histories["under"][-1]
    return make_drawing(
        "section 3",
        "Overfitting and underfitting",
        f"Training on {len(samples.labels)} digits, some with wrong labels. Left: a network with "
        "100 hidden neurons memorizes even the wrong labels. Its training cost ends at "
        f"{over.train_loss:.3f}, while its validation cost is lowest at epoch {best}, whose "
        "weights early stopping (section 4.4) keeps. Right: 2 hidden neurons are too few for ten "
        f"classes; the training cost ends at {under.train_loss:.2f} and the validation cost at "
        f"{under.validation_loss:.2f}.",
        {
            "Training cost falls to 0; validation cost falls, then rises after the dashed line of "
            "early stopping": figures["over"],
            "Training and validation cost both stay high": figures["under"],
        },
    )


def draw_momentum() -> Drawing:
    """Draw gradient descent on C = (w_1^2 + 30 w_2^2) / 2 with and without momentum."""
    curvature, steps = np.array([1.0, 30.0]), 40
    paths: dict[str, Array] = {}
    for name, mu in (("μ = 0", 0.0), ("μ = 0.8", 0.8)):
        w, v = np.array([-4.0, 0.9]), np.zeros(2)
        states = [w]
        for _ in range(steps):
            w, v = momentum_step(w, v, gradient=curvature * w, lr=0.02, mu=mu)
            states.append(w)
        paths[name] = np.array(states)
    costs = {name: (path**2 @ curvature) / 2 for name, path in paths.items()}
    with open_panel() as (path_figure, axes):
        x, y = np.meshgrid(np.linspace(-4.5, 2, 120), np.linspace(-1.2, 1.2, 80))
        axes.contour(
            x, y, (x**2 + 30 * y**2) / 2, levels=10, colors=INK, alpha=0.25, linewidths=0.7
        )
        for i, (name, path) in enumerate(paths.items()):
            axes.plot(*path.T, color=COLORS[i], marker=".ox"[i], markersize=4, label=name)
        axes.set(xlabel="w₁", ylabel="w₂", title="path")
        axes.legend(loc="upper right")
    with open_panel() as (cost_figure, axes):
        plot_lines(axes, np.arange(steps + 1), costs)
        axes.set(yscale="log", xlabel="step", ylabel="C", title="cost")
    last = [float(cost[-1]) for cost in costs.values()]
    return make_drawing(
        "37",
        "Gradient descent with and without momentum",
        "A quadratic cost with thirty times the curvature along w₂ as along w₁, η = 0.02. After "
        f"{steps} steps the cost is {format_number(last[0])} without momentum and "
        f"{format_number(last[1])} with momentum: along w₁ the gradients have the same sign and "
        "the velocity grows, along w₂ they alternate and cancel.",
        {
            "Two paths over the contours of the cost; with momentum the path gets closer to the "
            "minimum": path_figure,
            "Cost by step on a logarithmic scale; with momentum it ends lower": cost_figure,
        },
    )


def draw_penalties(samples: Samples, validation: Samples) -> Drawing:
    """Draw the weights of one layer trained without a penalty, with L2 and with L1."""
    penalties = {"no penalty": (0.0, 0.0), "L2": (0.0, 4.0), "L1": (1.2, 0.0)}
    figures, zeros, accuracies = {}, [], []
    for i, (name, (l1, l2)) in enumerate(penalties.items()):
        rng = np.random.default_rng(0)
        net = [Dense(64, 10, rng=rng)]
        settings = TrainingSettings(epochs=150, lr=0.02, l1=l1, l2=l2)
        train(net, samples, validation=samples, settings=settings, rng=rng)
        w = net[0].weights["w"].ravel()
        zeros.append(float((np.abs(w) < 0.01).mean()))
        accuracies.append(evaluate(net, validation)[1])
        with open_panel(3.4, 2.6) as (figure, axes):
            counts, edges = np.histogram(w, bins=61, range=(-1, 1))
            axes.stairs(counts, edges, fill=True, color=COLORS[i])
            axes.set(xlabel="w", ylabel="weights", title=name, yscale="log", ylim=(0.7, 640))
        figures[f"Histogram of the weights, {name}"] = figure
    return make_drawing(
        "39",
        "Weights with L1 and L2 penalties",
        f"One layer, trained on {len(samples.labels)} digits. The fraction of weights within 0.01 "
        f"of zero is {zeros[0]:.0%} without a penalty, {zeros[1]:.0%} with L2 and {zeros[2]:.0%} "
        "with L1, whose gradient is the same for small and large weights. The accuracy on other "
        f"digits is {accuracies[0]:.1%}, {accuracies[1]:.1%} and {accuracies[2]:.1%}.",
        figures,
    )


def draw_dropout() -> Drawing:
    """Draw which nodes dropout keeps in each batch, and the mean with and without rescaling."""
    keep, rng = 0.5, np.random.default_rng(0)
    kept = np.array([regularization.dropout(np.ones(12), keep, rng=rng)[1] > 0 for _ in range(24)])
    means = np.array(
        [regularization.dropout(np.ones(400), keep, rng=rng)[0].mean() for _ in range(24)]
    )
    batches = np.arange(1, 25)
    with open_panel() as (node_figure, axes):
        batch, node = np.nonzero(kept)
        axes.scatter(batch + 1, node + 1, s=26, color=COLORS[0], label="kept")
        batch, node = np.nonzero(~kept)
        axes.scatter(batch + 1, node + 1, s=26, facecolors="none", edgecolors=INK, alpha=0.45)
        axes.set(xlabel="batch", ylabel="node", title="kept (filled) and dropped")
    with open_panel() as (mean_figure, axes):
        plot_lines(axes, batches, {"divided by p": means, "not divided": means * keep})
        axes.axhline(1, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(ylim=(0, 1.6), xlabel="batch", ylabel="mean", title="mean of 400 nodes of 1")
        axes.legend(loc="upper right", ncols=2)
    return make_drawing(
        "section 4.3",
        "Dropout",
        f"Each node is kept with probability p = {keep}, drawn anew for each batch. In evaluation "
        "all 400 nodes are present and their mean is 1 (thin line). If the kept nodes are divided "
        f"by p, the mean over these batches is {means.mean():.2f}; otherwise it is "
        f"{keep * means.mean():.2f}.",
        {
            "Twelve nodes over 24 batches, about half of them dropped each time": node_figure,
            "Mean of the layer by batch: around 1 when divided by p, around 0.5 "
            "otherwise": mean_figure,
        },
    )


def draw_batch_normalization() -> Drawing:
    """Draw histograms of three features of a batch before and after (40)."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2000, 3)) * [0.4, 2.0, 1.0] + [-4.0, 0.0, 5.0]
    statistics = batch_norm.batch_statistics(z)
    normalized = batch_norm.batch_norm(z, statistics, gamma=np.ones(3), beta=np.zeros(3))
    means = ", ".join(f"{mean:.1f}" for mean in statistics.mean)
    deviations = ", ".join(f"{variance**0.5:.1f}" for variance in statistics.variance)
    figures = []
    for values, title in ((z, "before"), (normalized, "after, γ = 1, β = 0")):
        with open_panel() as (figure, axes):
            for i, feature in enumerate(values.T):
                counts, edges = np.histogram(feature, bins=102, range=(-8, 9))
                axes.stairs(
                    counts, edges, color=COLORS[i], linestyle=DASHES[i], label=f"feature {i + 1}"
                )
            axes.set(xlabel="z", ylabel="samples", title=title)
            axes.legend(loc="upper right")
        figures.append(figure)
    return make_drawing(
        "40",
        "Batch normalization",
        f"Three features of a batch with means {means} and standard deviations {deviations}. After "
        "normalization each has mean 0 and standard deviation 1, for the initial values of γ and "
        "β.",
        {
            "Three histograms far apart, with different widths": figures[0],
            "The same three histograms on top of each other": figures[1],
        },
    )
