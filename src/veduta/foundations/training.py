r"""Training loop with the techniques of section 4, and shuffled mini-batches (section 4.6).

Each step runs the forward pass, the cost (27), the backward pass, the penalties (38) and the
momentum update (37). Samples are shuffled in every epoch, and early stopping (section 4.4) restores
the weights of the optimal epoch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from veduta.foundations.arrays import Array, Integers, require, require_pairs
from veduta.foundations.layers import Layer
from veduta.foundations.losses import negative_log_likelihood, negative_log_likelihood_delta
from veduta.foundations.optimizers import momentum_step
from veduta.foundations.regularization import l1_gradient, l2_gradient
from veduta.foundations.stopping import optimal_epoch, should_stop


@dataclass(frozen=True)
class TrainingSettings:
    r"""Hyperparameters of training.

    Attributes:
        epochs: largest number of epochs.
        batch_size: M, the mini-batch size.
        lr: \eta, the learning rate.
        mu: \mu, the decay factor of the velocity.
        l1: \lambda, the strength of the L1 penalty.
        l2: \lambda, the strength of the L2 penalty.
        patience: epochs without a lower validation loss before training stops; None never stops.
    """

    epochs: int = 30
    batch_size: int = 32
    lr: float = 0.05
    mu: float = 0.9
    l1: float = 0.0
    l2: float = 0.0
    patience: int | None = None


class EpochResult(NamedTuple):
    """Mean training loss (27) during an epoch; validation loss and accuracy after it."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


class Samples(NamedTuple):
    """Inputs x, (N, ...), and the class index of each input, (N,)."""

    x: Array
    labels: Integers


def train(
    layers: Sequence[Layer],
    samples: Samples,
    *,
    validation: Samples,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> list[EpochResult]:
    """Train a network, then restore the weights of the epoch with the lowest validation loss.

    Args:
        layers: first to last; the last one outputs the logits. Their weights are changed.
        samples: training samples.
        validation: validation samples, which determine the optimal epoch.
        settings: hyperparameters of training.
        rng: random generator for the order of the samples.

    Returns:
        One entry per epoch.

    >>> from veduta.foundations.layers import Dense
    >>> samples = Samples(np.array([[-1.0], [1.0]] * 8), np.array([0, 1] * 8))
    >>> net, rng = [Dense(1, 2, rng=np.random.default_rng(0))], np.random.default_rng(0)
    >>> settings = TrainingSettings(epochs=5)
    >>> history = train(net, samples, validation=samples, settings=settings, rng=rng)
    >>> len(history), history[-1].validation_accuracy
    (5, 1.0)
    """
    require(settings.epochs >= 1, "epochs must be 1 or more", settings.epochs)
    for x, labels in (samples, validation):
        require_pairs(x, labels)
    history: list[EpochResult] = []
    best: list[dict[str, Array]] = []
    velocities = [{name: np.zeros_like(w) for name, w in layer.weights.items()} for layer in layers]
    while len(history) < settings.epochs:
        train_loss = train_epoch(layers, samples, velocities, settings=settings, rng=rng)
        history.append(EpochResult(train_loss, *evaluate(layers, validation)))
        validation_losses = [epoch.validation_loss for epoch in history]
        if optimal_epoch(validation_losses) == len(history):
            best = [layer.weights | layer.running for layer in layers]
        if settings.patience is not None and should_stop(validation_losses, settings.patience):
            break
    for layer, state in zip(layers, best, strict=True):
        layer.weights = {name: state[name] for name in layer.weights}
        layer.running = {name: state[name] for name in layer.running}
    return history


def train_epoch(
    layers: Sequence[Layer],
    samples: Samples,
    velocities: Sequence[dict[str, Array]],
    *,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> float:
    """Update the weights and velocities once per mini-batch; return the mean cost (27)."""
    losses = []
    order = shuffle_samples(len(samples.labels), rng=rng)
    for batch in split_into_batches(order, settings.batch_size):
        z = forward(layers, samples.x[batch], training=True)
        losses.append(negative_log_likelihood(z, samples.labels[batch]))
        backward(layers, negative_log_likelihood_delta(z, samples.labels[batch]) / len(batch))
        for layer, velocity in zip(layers, velocities, strict=True):
            update_weights(layer, velocity, settings=settings, n=len(samples.labels))
    return float(np.concatenate(losses).mean())


def forward(layers: Sequence[Layer], x: Array, *, training: bool = False) -> Array:
    """Return the output of the last layer for inputs x, in evaluation mode by default."""
    for layer in layers:
        x = layer.forward(x, training=training)
    return x


def backward(layers: Sequence[Layer], delta: Array) -> Array:
    """Pass the error of the last layer's output back through all layers; return that of x."""
    for layer in reversed(layers):
        delta = layer.backward(delta)
    return delta


def update_weights(
    layer: Layer, velocity: dict[str, Array], *, settings: TrainingSettings, n: int
) -> None:
    """Apply one momentum step (37) to all weights of a layer; only `w` is penalized (38)."""
    for name, w in layer.weights.items():
        gradient = layer.gradients[name]
        if name == "w":
            gradient = gradient + l1_gradient(w, lam=settings.l1, n=n)
            gradient = gradient + l2_gradient(w, lam=settings.l2, n=n)
        layer.weights[name], velocity[name] = momentum_step(
            w, velocity[name], gradient=gradient, lr=settings.lr, mu=settings.mu
        )


def evaluate(layers: Sequence[Layer], samples: Samples) -> tuple[float, float]:
    """Return the mean cost (27) and the accuracy in evaluation mode."""
    z = forward(layers, samples.x)
    loss = negative_log_likelihood(z, samples.labels).mean()
    return float(loss), float((z.argmax(axis=1) == samples.labels).mean())


def shuffle_samples(samples: int, *, rng: np.random.Generator) -> Integers:
    r"""Section 4.6: a random permutation of the sample indices, drawn anew for each epoch.

    >>> sorted(shuffle_samples(5, rng=np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4]
    """
    require(samples >= 1, "there must be at least one sample to shuffle", samples)
    return rng.permutation(samples)


def split_into_batches(order: Integers, size: int) -> Iterator[Integers]:
    r"""Section 4.6 with (21): consecutive mini-batches of M samples, which cover each sample once.

    The last batch may be smaller. If it would hold a single sample, that sample is added to the
    batch before it, because (40) needs the variance of at least two samples.

    Args:
        order: sample indices in the order of this epoch, (N,).
        size: M, the mini-batch size.

    Yields:
        The sample indices of each batch.

    >>> [batch.tolist() for batch in split_into_batches(np.arange(7), 3)]
    [[0, 1, 2], [3, 4, 5, 6]]
    """
    require(size >= 1, "the batch size must be 1 or more", size)
    starts = list(range(0, len(order), size))
    if size > 1 and len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]
