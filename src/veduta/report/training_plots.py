"""Figures of sections 3 and 4: stopping, penalties, dropout, batch normalisation."""

# ruff: noqa: RUF001  # the report's symbols stand in figures and captions

import numpy as np

from veduta.foundations import batch_norm, dropout, stopping
from veduta.foundations.activations import TANH
from veduta.foundations.layers import Activate, Dense
from veduta.foundations.network import train
from veduta.foundations.training import Recipe, Samples, evaluate
from veduta.report.descent_plots import momentum
from veduta.report.drawing import Drawing, drawing
from veduta.report.plots import COLOURS, DASHES, INK, lines, panel


def training_drawings() -> list[Drawing]:
    """In the order of the report."""
    few, validation = digits(120)
    return [
        fitting(few, validation),
        momentum(),
        penalties(few, validation),
        dropped(),
        normalised(),
    ]


def digits(few: int) -> tuple[Samples, Samples]:
    """scikit-learn's handwritten digits: a few to learn from, 500 others to judge by."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, labels = data.data[order] / 16, data.target[order]
    return Samples(x[:few], labels[:few]), Samples(x[few : few + 500], labels[few : few + 500])


def fitting(few: Samples, validation: Samples) -> Drawing:
    """A net that memorises a few noisy labels, with the stopping line; one that cannot learn."""
    rng, epochs = np.random.default_rng(0), 60
    guesses = rng.integers(0, 10, len(few.labels))
    samples = Samples(few.x, np.where(rng.random(len(guesses)) < 0.2, guesses, few.labels))
    histories = {}
    for name, width in (("over", 100), ("under", 2)):
        net = [Dense(64, width, rng=rng), Activate(TANH), Dense(width, 10, rng=rng)]
        recipe = Recipe(epochs=epochs, batch_size=16, lr=0.05)
        histories[name] = train(net, samples, validation=validation, recipe=recipe, rng=rng)
    figures, steps = {}, np.arange(1, epochs + 1)
    best = stopping.optimal_epoch([epoch.validation_loss for epoch in histories["over"]])
    for name, history in histories.items():
        with panel() as (figure, axes):
            series = {
                "training": [epoch.train_loss for epoch in history],
                "validation": [epoch.validation_loss for epoch in history],
            }
            lines(axes, steps, series)
            axes.set(xlabel="epoch", ylabel="C", ylim=(0, 2.6), title=f"{name}fitting")
            if name == "over":
                axes.axvline(best, color=INK, linewidth=1, linestyle=(0, (4, 3)))
                axes.annotate("stop", (best, 2.3), (6, 0), textcoords="offset points")
        figures[name] = figure
    over, under = histories["over"][-1], histories["under"][-1]
    return drawing(
        "section 3",
        "Over- and underfitting",
        f"{len(few.labels)} digits, some labelled wrongly. Left, 100 hidden neurons learn even the "
        f"mistakes: the training cost ends at {over.train_loss:.3f}, while validation is best at "
        f"epoch {best}, where early stopping (section 4.4) keeps the net. Right, 2 hidden neurons "
        f"are too few for ten classes: training cost {under.train_loss:.2f}, validation "
        f"{under.validation_loss:.2f}.",
        {
            "Training cost falls to 0; validation cost falls, then rises after the dashed stopping "
            "line": figures["over"],
            "Training and validation cost both stay high": figures["under"],
        },
    )


def penalties(few: Samples, validation: Samples) -> Drawing:
    """The weights of one layer, trained without a penalty, under L2 and under L1."""
    kinds = {"no penalty": Recipe(), "L2": Recipe(l2=4.0), "L1": Recipe(l1=1.2)}
    figures, zeros, scores = {}, [], []
    for i, (name, kind) in enumerate(kinds.items()):
        rng = np.random.default_rng(0)
        net = [Dense(64, 10, rng=rng)]
        recipe = Recipe(epochs=150, lr=0.02, l1=kind.l1, l2=kind.l2)
        train(net, few, validation=few, recipe=recipe, rng=rng)
        w = net[0].weights["w"].ravel()
        zeros.append(float((np.abs(w) < 0.01).mean()))
        scores.append(evaluate(net, validation)[1])
        with panel(3.4, 2.6) as (figure, axes):
            counts, edges = np.histogram(w, bins=61, range=(-1, 1))
            axes.stairs(counts, edges, fill=True, color=COLOURS[i])
            axes.set(xlabel="w", ylabel="weights", title=name, yscale="log", ylim=(0.7, 640))
        figures[f"Histogram of the weights, {name}"] = figure
    return drawing(
        "39",
        "Weights under L1 and L2",
        f"One layer, {len(few.labels)} digits. Share of weights within 0.01 of zero: "
        f"{zeros[0]:.0%} without a penalty, {zeros[1]:.0%} under L2, {zeros[2]:.0%} under L1, "
        f"which pulls small weights as hard as large ones. Accuracy on other digits: "
        f"{scores[0]:.1%}, {scores[1]:.1%} and {scores[2]:.1%}.",
        figures,
    )


def dropped() -> Drawing:
    """Which nodes stay, batch by batch, and why what stays is divided by p."""
    keep, rng = 0.5, np.random.default_rng(0)
    kept = np.array([dropout.dropout(np.ones(12), keep, rng=rng)[1] > 0 for _ in range(24)])
    means = np.array([dropout.dropout(np.ones(400), keep, rng=rng)[0].mean() for _ in range(24)])
    batches = np.arange(1, 25)
    with panel() as (nodes, axes):
        at, node = np.nonzero(kept)
        axes.scatter(at + 1, node + 1, s=26, color=COLOURS[0], label="kept")
        at, node = np.nonzero(~kept)
        axes.scatter(at + 1, node + 1, s=26, facecolors="none", edgecolors=INK, alpha=0.45)
        axes.set(xlabel="batch", ylabel="node", title="kept (filled) and dropped")
    with panel() as (levels, axes):
        series = {"divided by p": means, "not divided": means * keep}
        lines(axes, batches, series)
        axes.axhline(1, color=INK, linewidth=0.8, alpha=0.6)
        axes.set(ylim=(0, 1.6), xlabel="batch", ylabel="mean", title="mean of 400 nodes of 1")
        axes.legend(loc="upper right", ncols=2)
    return drawing(
        "section 4.3",
        "Dropout",
        f"Each node is kept with probability p = {keep}, drawn anew for each batch. In evaluation "
        "all 400 nodes are present and their mean is 1 (thin line). Kept nodes divided by p have "
        f"that mean too, {means.mean():.2f} over these batches; undivided, it is "
        f"{keep * means.mean():.2f}.",
        {
            "Twelve nodes over 24 batches, about half of them dropped each time": nodes,
            "Mean of the layer by batch: around 1 when divided by p, around 0.5 when not": levels,
        },
    )


def normalised() -> Drawing:
    """Three features of a batch before and after (40)."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((2000, 3)) * [0.4, 2.0, 1.0] + [-4.0, 0.0, 5.0]
    statistics = batch_norm.batch_statistics(z)
    after = batch_norm.batch_norm(z, statistics, gamma=np.ones(3), beta=np.zeros(3))
    means = ", ".join(f"{mean:.1f}" for mean in statistics.mean)
    deviations = ", ".join(f"{variance**0.5:.1f}" for variance in statistics.variance)
    figures = []
    for values, title in ((z, "before"), (after, "after, γ = 1, β = 0")):
        with panel() as (figure, axes):
            for i, feature in enumerate(values.T):
                counts, edges = np.histogram(feature, bins=102, range=(-8, 9))
                axes.stairs(
                    counts, edges, color=COLOURS[i], linestyle=DASHES[i], label=f"feature {i + 1}"
                )
            axes.set(xlabel="z", ylabel="samples", title=title)
            axes.legend(loc="upper right")
        figures.append(figure)
    return drawing(
        "40",
        "Batch normalisation",
        f"Three features of a batch, with means {means} and deviations {deviations}. Afterwards "
        "every one has mean 0 and deviation 1, until γ and β have learned better.",
        {
            "Three histograms far apart, of different widths": figures[0],
            "The same three histograms on top of each other": figures[1],
        },
    )
