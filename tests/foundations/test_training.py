"""Whole networks: every layer's gradient, and scikit-learn's digits, learned as promised."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.foundations.drawing import assert_gradient, normal, spaced
from veduta.foundations import network
from veduta.foundations.activations import RELU, TANH
from veduta.foundations.arrays import Array
from veduta.foundations.generalisation import folds, split
from veduta.foundations.layers import (
    Activate,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Pool,
)
from veduta.foundations.training import Layer, Recipe, Samples, backward, evaluate, forward


def dense_net(rng: np.random.Generator) -> list[Layer]:
    return [
        Dense(64, 128, rng=rng),
        BatchNorm(128),
        Activate(RELU),
        Dropout(0.8, rng=rng),
        Dense(128, 10, rng=rng),
    ]


def convolutional_net(rng: np.random.Generator) -> list[Layer]:
    return [
        Convolution(1, 16, k=3, padding=1, rng=rng),
        BatchNorm(16),
        Activate(RELU),
        Convolution(16, 32, k=3, padding=1, rng=rng),
        BatchNorm(32),
        Activate(RELU),
        Pool("max", 2),
        Flatten(),
        Dropout(0.5, rng=rng),
        Dense(512, 10, rng=rng),
    ]


def mean_accuracy(kind: str) -> float:
    """Over five folds; a tenth of what is not held out chooses the epoch."""
    digits = load_digits()
    x, labels = digits.data / 16, digits.target
    recipe = Recipe(epochs=60, lr=0.05, l1=0.01, l2=0.3, patience=15)
    build = dense_net
    if kind == "convolutional":
        x, build = x.reshape(-1, 1, 8, 8), convolutional_net
        recipe = Recipe(epochs=20, lr=0.02, l1=0.01, l2=0.5, patience=8)
    accuracies = []
    for fold, (seen, held) in enumerate(folds(len(labels), 5, rng=np.random.default_rng(0))):
        rng = np.random.default_rng(fold)
        fit, watch = (seen[part] for part in split(len(seen), (0.9, 0.1), rng=rng))
        samples, validation, unseen = (Samples(x[i], labels[i]) for i in (fit, watch, held))
        net = build(rng)
        network.train(net, samples, validation=validation, recipe=recipe, rng=rng)
        accuracies.append(evaluate(net, unseen)[1])
    return float(np.mean(accuracies))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "promised"), [("dense", 0.97), ("convolutional", 0.98)])
def test_digits(kind: str, promised: float) -> None:
    assert mean_accuracy(kind) >= promised


def seeded() -> np.random.Generator:
    return np.random.default_rng(1)


LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "dense": (lambda: Dense(3, 2, rng=seeded()), (4, 3)),
    "activation": (lambda: Activate(TANH), (4, 3)),
    "batch norm": (lambda: BatchNorm(3), (4, 3)),
    "batch norm of maps": (lambda: BatchNorm(3), (2, 3, 2, 2)),
    "convolution": (lambda: Convolution(2, 3, k=3, padding=1, rng=seeded()), (2, 2, 4, 4)),
    "max": (lambda: Pool("max", 2), (2, 2, 4, 4)),
    "average": (lambda: Pool("average", 2), (2, 2, 4, 4)),
    "l2": (lambda: Pool("l2", 2), (2, 2, 4, 4)),
    "flatten": (Flatten, (2, 2, 3, 3)),
    "dropout": (lambda: Dropout(0.6, rng=seeded()), (4, 3)),
}


@pytest.mark.parametrize(("build", "shape"), LAYERS.values(), ids=LAYERS)
def test_backward_is_the_derivative_of_forward(
    build: Callable[[], Layer], shape: tuple[int, ...]
) -> None:
    x, layer = spaced(0, *shape), build()
    g = normal(2, *layer.forward(x, training=True).shape)
    start = dict(layer.weights)

    def cost(at: Array, name: str = "", weight: Array | None = None) -> Array:
        fresh = build()
        fresh.weights = start | ({name: weight} if weight is not None else {})
        return np.asarray(g * fresh.forward(at, training=True))

    again = build()
    again.forward(x, training=True)
    assert_gradient(again.backward(g), cost, x)
    assert set(again.gradients) == set(start)
    for name, w in start.items():
        assert_gradient(again.gradients[name], lambda at, name=name: cost(x, name, at), w)


def small_samples(count: int) -> Samples:
    x = normal(0, count, 4)
    return Samples(x, (x[:, 0] + 0.5 * normal(1, count) > 0).astype(np.int64))


def trained(recipe: Recipe, *, validation: Samples | None = None) -> tuple[list[Layer], list]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    net: list[Layer] = [Dense(4, 20, rng=rng), BatchNorm(20), Activate(), Dense(20, 2, rng=rng)]
    samples = small_samples(40)
    watched = validation or samples
    return net, network.train(net, samples, validation=watched, recipe=recipe, rng=rng)


def test_training_repeats_by_seed() -> None:
    (first, history), (second, again) = trained(Recipe(epochs=3)), trained(Recipe(epochs=3))
    assert history == again
    assert np.array_equal(first[0].weights["w"], second[0].weights["w"])


def test_what_stays_is_the_optimal_epoch() -> None:
    other = normal(5, 60, 4)
    validation = Samples(other, (other[:, 0] > 0).astype(np.int64))
    net, history = trained(Recipe(epochs=200, lr=0.2, patience=5), validation=validation)
    losses = [epoch.validation_loss for epoch in history]
    assert 5 < len(history) < 200
    assert len(history) - (losses.index(min(losses)) + 1) == 5
    assert evaluate(net, validation)[0] == pytest.approx(min(losses), abs=1e-15)


def test_penalties_shrink_weights() -> None:
    size = {}
    for name, recipe in {
        "none": Recipe(epochs=30),
        "l1": Recipe(epochs=30, l1=2.0),
        "l2": Recipe(epochs=30, l2=2.0),
    }.items():
        net, _ = trained(recipe)
        size[name] = float(np.abs(net[3].weights["w"]).sum())
    assert max(size["l1"], size["l2"]) < 0.8 * size["none"]


def test_dropout_acts_in_training_only() -> None:
    net = [Dropout(0.5, rng=np.random.default_rng(0))]
    x = np.ones((50, 4))
    assert np.array_equal(forward(net, x), x)
    dropped = forward(net, x, training=True)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert np.array_equal(backward(net, x), dropped)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="epochs is a count, 1 or more; got 0"):
        trained(Recipe(epochs=0))
    for keep in (2.0, 0.0):
        with pytest.raises(ValueError, match=r"a keep probability lies in \(0, 1\]; got"):
            Dropout(keep, rng=seeded())
    x, labels = small_samples(4)
    for wrong in (Samples(x[:3], labels), Samples(x, labels[:3]), Samples(x[:0], labels[:0])):
        with pytest.raises(ValueError, match=r"one y for each x, and at least one; got \("):
            trained(Recipe(epochs=1), validation=wrong)
    with pytest.raises(ValueError, match="a pooling is one of max, l2, average; got 'min'"):
        Pool("min", 2)
