r"""A network of layers that learns: every technique of section 4 in its place, in one loop.

Forward pass, the cost (27), back-propagation, penalties (38), momentum (37); batches in a new order
every epoch (4.6); stopping at the optimal epoch (4.4). `network.train` is the way in.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, Integers, require, require_pairs
from veduta.foundations.momentum import momentum_step
from veduta.foundations.regularisation import l1_gradient, l2_gradient
from veduta.foundations.shuffling import batches, epoch_order
from veduta.foundations.softmax import negative_log_likelihood, negative_log_likelihood_delta
from veduta.foundations.stopping import optimal_epoch, should_stop


class Layer(ABC):
    """What a layer learns, and its two passes; `backward` belongs to the last `forward`."""

    def __init__(self, **weights: Array) -> None:
        self.weights = weights  # what descent moves
        self.gradients: dict[str, Array] = {}  # \partial C / \partial weight, by the same names
        self.running: dict[str, Array] = {}  # what is counted, not learned

    @abstractmethod
    def forward(self, a: Array, *, training: bool) -> Array:
        """What the layer makes of what it receives, a sample a row."""

    @abstractmethod
    def backward(self, delta: Array) -> Array:
        """From the error of what went out to that of what came in; fills `gradients`."""


@dataclass(frozen=True)
class Recipe:
    """How to train: eta, mu, batch size M, lambda of L1 and L2, and the patience of 4.4."""

    epochs: int = 30
    batch_size: int = 32
    lr: float = 0.05
    mu: float = 0.9
    l1: float = 0.0
    l2: float = 0.0
    patience: int | None = None


class Epoch(NamedTuple):
    """Mean cost (27) of an epoch, while training and on the validation data, and accuracy there."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


class Samples(NamedTuple):
    """Inputs (N, ...), and the class of each, (N,)."""

    x: Array
    labels: Integers


def train(
    layers: Sequence[Layer],
    samples: Samples,
    *,
    validation: Samples,
    recipe: Recipe,
    rng: np.random.Generator,
) -> list[Epoch]:
    """Descend until the last epoch or until patience ends, then take back the optimal epoch.

    Args:
        layers: first to last; the last one gives z^L, an output a class. They are changed.
        samples: what to learn from.
        validation: what chooses the epoch.
        recipe: how to train.
        rng: where the order of the samples is drawn from.

    Returns:
        One entry an epoch.

    >>> from veduta.foundations.layers import Dense
    >>> samples = Samples(np.array([[-1.0], [1.0]] * 8), np.array([0, 1] * 8))
    >>> net, rng = [Dense(1, 2, rng=np.random.default_rng(0))], np.random.default_rng(0)
    >>> epochs = train(net, samples, validation=samples, recipe=Recipe(epochs=5), rng=rng)
    >>> len(epochs), epochs[-1].validation_accuracy
    (5, 1.0)
    """
    require(recipe.epochs >= 1, "epochs is a count, 1 or more", recipe.epochs)
    for x, labels in (samples, validation):
        require_pairs(x, labels)
    history: list[Epoch] = []
    best: list[dict[str, Array]] = []
    velocities = [{name: np.zeros_like(w) for name, w in layer.weights.items()} for layer in layers]
    while len(history) < recipe.epochs:
        losses = []
        for batch in batches(epoch_order(len(samples.labels), rng=rng), recipe.batch_size):
            z = forward(layers, samples.x[batch], training=True)
            losses.append(negative_log_likelihood(z, samples.labels[batch]))
            backward(layers, negative_log_likelihood_delta(z, samples.labels[batch]) / len(batch))
            for layer, velocity in zip(layers, velocities, strict=True):
                descend(layer, velocity, recipe=recipe, n=len(samples.labels))
        history.append(Epoch(float(np.concatenate(losses).mean()), *evaluate(layers, validation)))
        watched = [epoch.validation_loss for epoch in history]
        if optimal_epoch(watched) == len(history):
            best = [layer.weights | layer.running for layer in layers]
        if recipe.patience is not None and should_stop(watched, recipe.patience):
            break
    for layer, kept in zip(layers, best, strict=True):
        layer.weights = {name: kept[name] for name in layer.weights}
        layer.running = {name: kept[name] for name in layer.running}
    return history


def forward(layers: Sequence[Layer], x: Array, *, training: bool = False) -> Array:
    """z^L, layer after layer; in evaluation mode unless told."""
    for layer in layers:
        x = layer.forward(x, training=training)
    return x


def backward(layers: Sequence[Layer], delta: Array) -> Array:
    """From the error of z^L to that of the input, last layer first."""
    for layer in reversed(layers):
        delta = layer.backward(delta)
    return delta


def descend(layer: Layer, velocity: dict[str, Array], *, recipe: Recipe, n: int) -> None:
    """One step of (37) for every weight of a layer; the penalties (38) hold for `w` alone."""
    for name, w in layer.weights.items():
        gradient = layer.gradients[name]
        if name == "w":
            gradient = gradient + l1_gradient(w, lam=recipe.l1, n=n)
            gradient = gradient + l2_gradient(w, lam=recipe.l2, n=n)
        layer.weights[name], velocity[name] = momentum_step(
            w, velocity[name], gradient=gradient, lr=recipe.lr, mu=recipe.mu
        )


def evaluate(layers: Sequence[Layer], samples: Samples) -> tuple[float, float]:
    """Mean cost (27) and accuracy in evaluation mode."""
    z = forward(layers, samples.x)
    loss = negative_log_likelihood(z, samples.labels).mean()
    return float(loss), float((z.argmax(axis=1) == samples.labels).mean())
