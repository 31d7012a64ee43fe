"""Layers and the training loop: gradients, accuracy on scikit-learn's digits, early stopping."""

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.foundations.helpers import assert_gradient, draw_distinct, draw_normal
from veduta.foundations.activations import RELU, TANH
from veduta.foundations.arrays import Array
from veduta.foundations.generalization import split, split_into_folds
from veduta.foundations.layers import (
    ActivationLayer,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Pooling,
)
from veduta.foundations.training import (
    EpochResult,
    Samples,
    TrainingSettings,
    backward,
    evaluate,
    forward,
    train,
)


def build_dense_network(rng: np.random.Generator) -> list[Layer]:
    return [
        Dense(64, 128, rng=rng),
        BatchNorm(128),
        ActivationLayer(RELU),
        Dropout(0.8, rng=rng),
        Dense(128, 10, rng=rng),
    ]


def build_convolutional_network(rng: np.random.Generator) -> list[Layer]:
    return [
        Convolution(1, 16, k=3, padding=1, rng=rng),
        BatchNorm(16),
        ActivationLayer(RELU),
        Convolution(16, 32, k=3, padding=1, rng=rng),
        BatchNorm(32),
        ActivationLayer(RELU),
        Pooling("max", 2),
        Flatten(),
        Dropout(0.5, rng=rng),
        Dense(512, 10, rng=rng),
    ]


def compute_mean_accuracy(kind: str) -> float:
    """Return the mean test accuracy of five folds; a tenth of the rest is validation data."""
    digits = load_digits()
    x, labels = digits.data / 16, digits.target
    settings = TrainingSettings(epochs=60, lr=0.05, l1=0.01, l2=0.3, patience=15)
    build = build_dense_network
    if kind == "convolutional":
        x, build = x.reshape(-1, 1, 8, 8), build_convolutional_network
        settings = TrainingSettings(epochs=20, lr=0.02, l1=0.01, l2=0.5, patience=8)
    accuracies = []
    for fold, (development, held_out) in enumerate(
        split_into_folds(len(labels), 5, rng=np.random.default_rng(0))
    ):
        rng = np.random.default_rng(fold)
        subsets = split(len(development), (0.9, 0.1), rng=rng)
        train_indices, validation_indices = (development[subset] for subset in subsets)
        samples, validation, test = (
            Samples(x[i], labels[i]) for i in (train_indices, validation_indices, held_out)
        )
        net = build(rng)
        train(net, samples, validation=validation, settings=settings, rng=rng)
        accuracies.append(evaluate(net, test)[1])
    return float(np.mean(accuracies))


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "minimum"), [("dense", 0.97), ("convolutional", 0.98)])
def test_accuracy_on_digits(kind: str, minimum: float) -> None:
    assert compute_mean_accuracy(kind) >= minimum


def make_rng() -> np.random.Generator:
    return np.random.default_rng(1)


LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "dense": (lambda: Dense(3, 2, rng=make_rng()), (4, 3)),
    "activation": (lambda: ActivationLayer(TANH), (4, 3)),
    "batch norm": (lambda: BatchNorm(3), (4, 3)),
    "batch norm of maps": (lambda: BatchNorm(3), (2, 3, 2, 2)),
    "convolution": (lambda: Convolution(2, 3, k=3, padding=1, rng=make_rng()), (2, 2, 4, 4)),
    "max": (lambda: Pooling("max", 2), (2, 2, 4, 4)),
    "average": (lambda: Pooling("average", 2), (2, 2, 4, 4)),
    "l2": (lambda: Pooling("l2", 2), (2, 2, 4, 4)),
    "flatten": (Flatten, (2, 2, 3, 3)),
    "dropout": (lambda: Dropout(0.6, rng=make_rng()), (4, 3)),
}


@pytest.mark.parametrize(("build", "shape"), LAYERS.values(), ids=LAYERS)
def test_backward_is_the_derivative_of_forward(
    build: Callable[[], Layer], shape: tuple[int, ...]
) -> None:
    x, first = draw_distinct(0, *shape), build()
    g = draw_normal(2, *first.forward(x, training=True).shape)
    start = dict(first.weights)

    def cost(at: Array, name: str = "", weight: Array | None = None) -> Array:
        fresh = build()
        fresh.weights = start | ({name: weight} if weight is not None else {})
        return np.asarray(g * fresh.forward(at, training=True))

    layer = build()
    layer.forward(x, training=True)
    assert_gradient(layer.backward(g), cost, x)
    assert set(layer.gradients) == set(start)
    for name, w in start.items():
        assert_gradient(layer.gradients[name], lambda at, name=name: cost(x, name, at), w)


def draw_samples(count: int) -> Samples:
    x = draw_normal(0, count, 4)
    return Samples(x, (x[:, 0] + 0.5 * draw_normal(1, count) > 0).astype(np.int64))


def train_network(
    settings: TrainingSettings, *, validation: Samples | None = None
) -> tuple[list[Layer], list[EpochResult]]:
    rng = np.random.default_rng(0)
    net: list[Layer] = [
        Dense(4, 20, rng=rng),
        BatchNorm(20),
        ActivationLayer(),
        Dense(20, 2, rng=rng),
    ]
    samples = draw_samples(40)
    validation = validation or samples
    return net, train(net, samples, validation=validation, settings=settings, rng=rng)


def test_training_repeats_with_the_seed() -> None:
    (first, history), (second, second_history) = (
        train_network(TrainingSettings(epochs=3)),
        train_network(TrainingSettings(epochs=3)),
    )
    assert history == second_history
    assert np.array_equal(first[0].weights["w"], second[0].weights["w"])


def test_training_restores_the_weights_of_the_optimal_epoch() -> None:
    x = draw_normal(5, 60, 4)
    validation = Samples(x, (x[:, 0] > 0).astype(np.int64))
    net, history = train_network(
        TrainingSettings(epochs=200, lr=0.2, patience=5), validation=validation
    )
    losses = [epoch.validation_loss for epoch in history]
    assert 5 < len(history) < 200
    assert len(history) - (losses.index(min(losses)) + 1) == 5
    assert evaluate(net, validation)[0] == pytest.approx(min(losses), abs=1e-15)


def test_penalties_shrink_weights() -> None:
    sizes = {}
    for name, settings in {
        "none": TrainingSettings(epochs=30),
        "l1": TrainingSettings(epochs=30, l1=2.0),
        "l2": TrainingSettings(epochs=30, l2=2.0),
    }.items():
        net, _ = train_network(settings)
        sizes[name] = float(np.abs(net[3].weights["w"]).sum())
    assert max(sizes["l1"], sizes["l2"]) < 0.8 * sizes["none"]


def test_dropout_acts_in_training_only() -> None:
    net = [Dropout(0.5, rng=np.random.default_rng(0))]
    x = np.ones((50, 4))
    assert np.array_equal(forward(net, x), x)
    dropped = forward(net, x, training=True)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert np.array_equal(backward(net, x), dropped)


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="epochs must be 1 or more; got 0"):
        train_network(TrainingSettings(epochs=0))
    for keep in (2.0, 0.0):
        with pytest.raises(ValueError, match=r"keep must lie in \(0, 1\]; got"):
            Dropout(keep, rng=make_rng())
    x, labels = draw_samples(4)
    for wrong in (Samples(x[:3], labels), Samples(x, labels[:3]), Samples(x[:0], labels[:0])):
        with pytest.raises(
            ValueError, match=r"x and y must have the same length, at least 1; got \("
        ):
            train_network(TrainingSettings(epochs=1), validation=wrong)
    with pytest.raises(ValueError, match="kind must be one of max, l2, average; got 'min'"):
        Pooling("min", 2)
