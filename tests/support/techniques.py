"""A table of training techniques, each with its effect worked out by hand.

The effect is a training of nine steps of a tiny network in NumPy, with gradients by complex steps,
which are exact up to rounding; or, for a stopping rule, the epoch at which training must end.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from veduta.config.settings import Settings
from veduta.foundations import optimizers
from veduta.foundations.optimizers import Moments
from veduta.networks.heads import HeadNetwork, build_head_network, describe_head
from veduta.runtime.streams import mix_bits
from veduta.training.examples import BatchSource, Examples
from veduta.training.folds import Fold, create_single_fold
from veduta.training.loop import Epoch, shuffle_examples
from veduta.training.loss import Batch
from veduta.training.step import create_dropout_noise
from veduta.types import IndexArray

IMAGES, FEATURES, CLASSES, BATCH, EPOCHS = 12, 2, 3, 4, 3
STEPS = IMAGES // BATCH * EPOCHS
LR = 0.5
BASE: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.0, "lr": LR, "batch_size": BATCH, "epochs": EPOCHS,
}  # fmt: skip
Array = np.ndarray[Any, Any]
Weights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class MixedLabels(Examples):
    """Examples whose labels are mixed with those of their neighbors.

    `fraction` is the weight of the own label.
    """

    fraction: float = 1.0

    def get_batch_source(self, epoch: int, *, view_epoch: int | None = None) -> BatchSource:
        """Add the labels of the neighbors to the batches of an epoch."""
        load_batch = super(MixedLabels, self).get_batch_source(epoch, view_epoch=view_epoch)
        partners = self.labels.roll(1)

        def load_mixed(indices: IndexArray) -> Batch:
            fractions = torch.full((len(indices),), self.fraction, dtype=torch.float64)
            batch = load_batch(indices)
            return replace(batch, partner_labels=partners[indices], fractions=fractions)

        return load_mixed


def create_labels(count: int, *, imbalanced: bool) -> Array:
    """Return labels of three classes, of equal or unequal frequency."""
    return (
        np.array([0] * (count // 2) + [1] * (count // 3) + [2] * count)[:count]
        if imbalanced
        else (np.arange(count) % CLASSES)
    )


def create_examples(count: int = IMAGES, seed: int = 0, *, imbalanced: bool = False) -> Examples:
    """Return features of overlapping classes in float64."""
    labels = create_labels(count, imbalanced=imbalanced)
    features = np.random.default_rng(seed).normal(0, 1.0, (count, FEATURES))
    features += np.array([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])[labels]
    keys = mix_bits(np.arange(count, dtype=np.uint64) + np.uint64(100 * seed))
    return Examples(torch.tensor(features), torch.tensor(labels), keys)


def create_folds(train: Examples) -> Sequence[Fold]:
    return create_single_fold(train, create_examples(30, 1))


def build_network(settings: Settings) -> HeadNetwork:
    """Return the network of a trial before training."""
    return build_head_network(describe_head(settings, FEATURES, CLASSES), settings.seed).double()


# nine steps by hand: each function is one line of the training step; a row replaces some of them


def linear(w: Weights, x: Array, noise: Array) -> Array:
    return x @ w["dense.0.weight"].T + w["dense.0.bias"]


def linear_with_dropout(w: Weights, x: Array, noise: Array) -> Array:
    return linear(w, x * (noise >= 0.4) / 0.6, noise)


def one_hidden_layer(w: Weights, x: Array, noise: Array) -> Array:
    a = np.tanh(linear(w, x, noise))
    return a @ w["dense.1.weight"].T + w["dense.1.bias"]


def batch_normalized(w: Weights, x: Array, noise: Array) -> Array:
    """Return logits with equation (40) between a dense layer and its activation."""
    z = linear(w, x, noise)
    centered = z - z.mean(0)
    z = centered / np.sqrt((centered**2).mean(0) + 1e-5)
    a = np.tanh(z * w["norms.0.weight"] + w["norms.0.bias"])
    return a @ w["dense.1.weight"].T + w["dense.1.bias"]


def one_hot(labels: Array) -> Array:
    return np.eye(CLASSES)[labels]


def equal_weights(labels: Array) -> Array:
    return np.ones(len(labels))


def keep_gradient(w: Array, gradient: Array, is_weight: Array) -> Array:
    return gradient


def descend(w: Array, state: Any, gradient: Array, lr: float) -> tuple[Array, Any]:
    return w - lr * gradient, state


@dataclass(frozen=True, slots=True)
class TrainingByHand:
    """A training of nine steps, written in NumPy; a technique replaces some of its functions.

    Attributes:
        forward: logits from weights, features and dropout noise.
        target: target distributions (B, classes) from labels.
        weight: weights of the images (B,) from labels.
        gradient: gradient from weights, gradient and whether an entry is a weight (not a bias).
        update: new weights and state from weights, state, gradient and learning rate.
        rate: factor of the learning rate in a step, from 0.
        decay: decay of the weight average in a step, from 1.
        mixed: fraction of the own label in the target.
    """

    forward: Callable[[Weights, Array, Array], Array] = linear
    target: Callable[[Array], Array] = one_hot
    weight: Callable[[Array], Array] = equal_weights
    gradient: Callable[[Array, Array, Array], Array] = keep_gradient
    update: Callable[[Array, Any, Array, float], tuple[Array, Any]] = descend
    rate: Callable[[int], float] = lambda _: 1.0
    decay: Callable[[int], float] = lambda _: 0.0
    mixed: float = 1.0

    def train(self, settings: Settings, train: Examples) -> Weights:
        """Return the weights that are evaluated after the last step."""
        parameters = build_network(settings).named_parameters()
        start = {name: p.detach().numpy().copy() for name, p in parameters}
        w = average = np.concatenate([array.ravel() for array in start.values()])
        is_weight = np.concatenate([np.full(p.size, p.ndim > 1) for p in start.values()])
        state: Any = Moments(0 * w, 0 * w) if settings.optimizer.startswith("adam") else 0 * w
        x, y = np.asarray(train.features), train.labels.numpy()
        for step in range(STEPS):
            epoch, batch = divmod(step, IMAGES // BATCH)
            rows = shuffle_examples(train, settings.seed, epoch + 1)[
                BATCH * batch : BATCH * (batch + 1)
            ]
            noise = create_dropout_noise(settings.seed, epoch + 1, train.keys[rows])(
                0, FEATURES
            ).numpy()
            labels, others = y[rows], np.roll(y, 1)[rows]

            def compute_loss(v: Array) -> Any:  # complex where v is
                z = self.forward(reshape(v, start), x[rows], noise)  # noqa: B023
                losses = np.log(np.exp(z).sum(1, keepdims=True)) - z
                target = self.mixed * self.target(labels) + (1 - self.mixed) * self.target(others)  # noqa: B023
                weight = self.weight(labels)  # noqa: B023
                return ((target * losses).sum(1) * weight).sum() / weight.sum()

            gradient = self.gradient(w, differentiate(compute_loss, w), is_weight)
            w, state = self.update(w, state, gradient, LR * self.rate(step))
            decay = self.decay(step + 1)
            average = decay * average + (1 - decay) * w
        return reshape(average, start)


def differentiate(function: Callable[[Array], Any], w: Array) -> Array:
    """Return the gradient of an analytic function by complex steps: Im f(w + ih) / h."""
    return np.array([function(w + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(w))])


def reshape(flat: Array, like: Mapping[str, Array]) -> Weights:
    """Split a flat vector into arrays of the shapes of `like`."""
    ends = np.cumsum([array.size for array in like.values()])
    parts = np.split(flat, ends[:-1])
    return {name: p.reshape(like[name].shape) for name, p in zip(like, parts, strict=True)}


def step_momentum(w: Array, v: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.momentum_step(w, v, gradient=gradient, lr=lr, mu=0.8)


def step_nesterov(w: Array, v: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.nesterov_step(w, v, gradient=gradient, lr=lr, mu=0.8)


def step_adam(w: Array, state: Moments, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.adam_step(w, state, gradient=gradient, lr=lr, betas=(0.8, 0.9))


def step_adamw(w: Array, state: Moments, gradient: Array, lr: float) -> tuple[Array, Any]:
    """AdamW without weight decay, which is a technique of its own, is Adam."""
    return step_adam(w, state, gradient, lr)


def step_rmsprop(w: Array, state: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.rmsprop_step(w, state, gradient=gradient, lr=lr)


def step_adagrad(w: Array, state: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.adagrad_step(w, state, gradient=gradient, lr=lr)


def clip_gradient(w: Array, gradient: Array, is_weight: Array) -> Array:
    return gradient * min(1.0, 0.1 / (math.sqrt((gradient**2).sum()) + 1e-6))


def one_cycle(step: int) -> float:
    """Return the factor of the learning rate in a step."""
    top = 0.3 * STEPS - 1
    if step < top:
        return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * step / top)) / 2
    down = (step - top) / (STEPS - 1 - top)
    return 4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * down)) / 2


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """A stopping rule: `applies` to the epochs so far for the first time when training must end."""

    applies: Callable[[Sequence[Epoch]], bool]


def has_no_patience(epochs: Sequence[Epoch]) -> bool:
    losses = [epoch.val_loss for epoch in epochs]
    return len(losses) - 1 - losses.index(min(losses)) >= 2


@dataclass(frozen=True, slots=True)
class Technique:
    """A row of the table.

    Attributes:
        on: settings that enable the technique.
        off: settings with which it must have no effect.
        effect: its effect by hand.
        base: settings of both, besides `BASE`.
        imbalanced: whether classes have different sizes where the technique is enabled.
    """

    on: dict[str, Any]
    off: dict[str, Any]
    effect: TrainingByHand | EarlyStop
    base: dict[str, Any] = field(default_factory=dict)
    imbalanced: bool = False


HIDDEN = {"hidden": (4,), "activation": "tanh"}
LONG = {"epochs": 30, "lr": 2.0}
COUNTS = np.bincount(create_labels(IMAGES, imbalanced=True))
TECHNIQUES: dict[str, Technique] = {
    "momentum": Technique(
        {"momentum": 0.8}, {"momentum": 0.0}, TrainingByHand(update=step_momentum)
    ),
    "nesterov": Technique(
        {"momentum": 0.8, "nesterov": True},
        {"nesterov": False},
        TrainingByHand(update=step_nesterov),
    ),
    "adagrad": Technique({"optimizer": "adagrad"}, {}, TrainingByHand(update=step_adagrad)),
    "rmsprop": Technique({"optimizer": "rmsprop"}, {}, TrainingByHand(update=step_rmsprop)),
    "adam": Technique(
        {"optimizer": "adam", "betas": (0.8, 0.9)},
        {"betas": (0.8, 0.9)},
        TrainingByHand(update=step_adam),
    ),
    "adamw": Technique(
        {"optimizer": "adamw", "betas": (0.8, 0.9)}, {}, TrainingByHand(update=step_adamw)
    ),
    "cosine": Technique(
        {"schedule": "cosine"},
        {"schedule": "constant"},
        TrainingByHand(rate=lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2),
    ),
    "step": Technique(
        {"schedule": "step"},
        {"schedule": "constant"},
        TrainingByHand(rate=lambda t: [1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01][t]),
    ),
    "one_cycle": Technique(
        {"schedule": "one_cycle"}, {"schedule": "constant"}, TrainingByHand(rate=one_cycle)
    ),
    "warmup": Technique(
        {"warmup": 1.0}, {"warmup": 0.0}, TrainingByHand(rate=lambda t: min((t + 1) / 4, 1))
    ),
    "weight_decay": Technique(
        {"weight_decay": 0.1},
        {"weight_decay": 0.0},
        TrainingByHand(gradient=lambda w, g, is_weight: g + 0.1 * w * is_weight),
    ),
    "l1": Technique(
        {"l1": 0.05},
        {"l1": 0.0},
        TrainingByHand(gradient=lambda w, g, is_weight: g + 0.05 * np.sign(w) * is_weight),
    ),
    "penalize": Technique(
        {"penalize": "all", "weight_decay": 0.1, "l1": 0.05},
        {"penalize": "all"},
        TrainingByHand(gradient=lambda w, g, _: g + 0.1 * w + 0.05 * np.sign(w)),
    ),
    "clip": Technique({"clip": 0.1}, {"clip": 1e9}, TrainingByHand(gradient=clip_gradient)),
    "label_smoothing": Technique(
        {"label_smoothing": 0.3},
        {"label_smoothing": 0.0},
        TrainingByHand(target=lambda y: 0.7 * one_hot(y) + 0.1),
    ),
    "class_weights": Technique(
        {"class_weights": "balanced"},
        {"class_weights": "balanced"},  # of classes of equal size
        TrainingByHand(weight=lambda y: 1 / COUNTS[y]),
        imbalanced=True,
    ),
    "mixed labels": Technique({}, {}, TrainingByHand(mixed=0.7)),
    "dropout": Technique(
        {"dropout": 0.4}, {"dropout": 0.0}, TrainingByHand(forward=linear_with_dropout)
    ),
    "batch_norm": Technique(
        {"batch_norm": True},
        {"batch_norm": False},
        TrainingByHand(forward=batch_normalized),
        base=HIDDEN,
    ),
    "hidden layer": Technique({}, {}, TrainingByHand(forward=one_hidden_layer), base=HIDDEN),
    "ema": Technique(
        {"ema": 0.3}, {"ema": 0.0}, TrainingByHand(decay=lambda t: min(0.3, (1 + t) / (10 + t)))
    ),
    "patience": Technique({"patience": 2}, {"patience": 30}, EarlyStop(has_no_patience), base=LONG),
    "stop_gap": Technique(
        {"stop_gap": 0.15},
        {"stop_gap": 1.0},
        EarlyStop(lambda e: e[-1].train_accuracy - e[-1].val_accuracy > 0.15),
        base=LONG,
    ),
    "stop_at": Technique(
        {"stop_at": 0.72},
        {"stop_at": 1.0},
        EarlyStop(lambda e: e[-1].val_accuracy >= 0.72),
        base=LONG,
    ),
}
