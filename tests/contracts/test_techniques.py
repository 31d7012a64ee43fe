"""Every technique of training does what it should and nothing else: one table, the same checks.

- off equals absent: at its neutral value a technique leaves the bits of a loop that is written out
  in plain torch and has never heard of it;
- its effect: nine steps of a tiny network, worked out in NumPy, with gradients by complex steps,
  which are exact to rounding; where it ends a training, the epoch at which it must;
- saved and resumed: a training that is left after any step, and goes on from its checkpoint, is the
  training that never stopped, to the bit.

A new technique gets every check by one row.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.contracts.courses import expect_resumed, run
from tests.support.trials import run_trial
from veduta.config.settings import Settings
from veduta.foundations import optimizers
from veduta.foundations.optimizers import Moments
from veduta.networks.heads import HeadNetwork, build_head, head_of
from veduta.optim.optimizers import OPTIMIZERS
from veduta.optim.schedules import SCHEDULES
from veduta.runtime.streams import mix
from veduta.training.folds import Fold, undivided
from veduta.training.loop import Epoch, Training, shuffled
from veduta.training.loss import Batch
from veduta.training.state import Examples, See
from veduta.training.step import dropout_noise
from veduta.tuning.executors.serial import Way
from veduta.tuning.trials.space import Trial, trial_of

IMAGES, FEATURES, CLASSES, BATCH, EPOCHS = 12, 2, 3, 4, 3
STEPS = IMAGES // BATCH * EPOCHS
LR = 0.5
BASE: dict[str, Any] = {
    "optimizer": "sgd", "momentum": 0.0, "lr": LR, "batch_size": BATCH, "epochs": EPOCHS,
}  # fmt: skip
Array = np.ndarray[Any, Any]
Weights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Mixed(Examples):
    """Images that say they are partly of their neighbour's class."""

    share: float = 1.0

    def seen_in(self, epoch: int) -> See:
        """The labels of the neighbours beside those of the images."""
        see = super(Mixed, self).seen_in(epoch)
        partners = self.labels.roll(1)

        def mixed(chosen: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Batch:
            shares = torch.full((len(chosen),), self.share, dtype=torch.float64)
            return replace(see(chosen), partner_labels=partners[chosen], shares=shares)

        return mixed


def labels_of(count: int, *, uneven: bool) -> Array:
    return (
        np.array([0] * (count // 2) + [1] * (count // 3) + [2] * count)[:count]
        if uneven
        else (np.arange(count) % CLASSES)
    )


def examples(count: int = IMAGES, seed: int = 0, *, uneven: bool = False) -> Examples:
    """Classes that overlap, in float64."""
    labels = labels_of(count, uneven=uneven)
    features = np.random.default_rng(seed).normal(0, 1.0, (count, FEATURES))
    features += np.array([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]])[labels]
    keys = mix(np.arange(count, dtype=np.uint64) + np.uint64(100 * seed))
    return Examples(torch.tensor(features), torch.tensor(labels), keys)


def folds_of(train: Examples) -> Sequence[Fold]:
    return undivided(train, examples(30, 1))


def start_of(settings: Settings) -> HeadNetwork:
    return build_head(head_of(settings, FEATURES, CLASSES), settings.seed).double()


# ---- nine steps by hand: each function is one line of the recipe, a row replaces what it changes


def linear(w: Weights, x: Array, noise: Array) -> Array:
    return x @ w["dense.0.weight"].T + w["dense.0.bias"]


def dropped(w: Weights, x: Array, noise: Array) -> Array:
    return linear(w, x * (noise >= 0.4) / 0.6, noise)


def hidden(w: Weights, x: Array, noise: Array) -> Array:
    a = np.tanh(linear(w, x, noise))
    return a @ w["dense.1.weight"].T + w["dense.1.bias"]


def normalised(w: Weights, x: Array, noise: Array) -> Array:
    """Equation 40 between a dense layer and its activation."""
    z = linear(w, x, noise)
    centred = z - z.mean(0)
    z = centred / np.sqrt((centred**2).mean(0) + 1e-5)
    a = np.tanh(z * w["norms.0.weight"] + w["norms.0.bias"])
    return a @ w["dense.1.weight"].T + w["dense.1.bias"]


def one_hot(labels: Array) -> Array:
    return np.eye(CLASSES)[labels]


def alike(labels: Array) -> Array:
    return np.ones(len(labels))


def unchanged(w: Array, gradient: Array, is_weight: Array) -> Array:
    return gradient


def descend(w: Array, state: Any, gradient: Array, lr: float) -> tuple[Array, Any]:
    return w - lr * gradient, state


@dataclass(frozen=True, slots=True)
class ByHand:
    """A training of nine steps; what a technique changes of it."""

    forward: Callable[[Weights, Array, Array], Array] = linear
    target: Callable[[Array], Array] = one_hot  # of labels, (B, classes)
    weight: Callable[[Array], Array] = alike  # of labels, (B,)
    gradient: Callable[[Array, Array, Array], Array] = unchanged  # (w, gradient, is a weight)
    update: Callable[[Array, Any, Array, float], tuple[Array, Any]] = descend
    rate: Callable[[int], float] = lambda _: 1.0  # of the step from 0
    decay: Callable[[int], float] = lambda _: 0.0  # of the average, of the step from 1
    mixed: float = 1.0  # share of an image itself

    def weights_after(self, settings: Settings, train: Examples) -> Weights:
        """What is measured after the last step."""
        start = {n: p.detach().numpy().copy() for n, p in start_of(settings).named_parameters()}
        w = average = np.concatenate([part.ravel() for part in start.values()])
        is_weight = np.concatenate([np.full(p.size, p.ndim > 1) for p in start.values()])
        state: Any = Moments(0 * w, 0 * w) if settings.optimizer.startswith("adam") else 0 * w
        x, y = np.asarray(train.features), train.labels.numpy()
        for step in range(STEPS):
            epoch, part = divmod(step, IMAGES // BATCH)
            rows = shuffled(train, settings.seed, epoch + 1)[BATCH * part : BATCH * (part + 1)]
            noise = dropout_noise(settings.seed, epoch + 1, train.keys[rows])(0, FEATURES).numpy()
            labels, others = y[rows], np.roll(y, 1)[rows]

            def loss(v: Array) -> Any:  # complex where v is
                z = self.forward(shaped(v, start), x[rows], noise)  # noqa: B023
                surprise = np.log(np.exp(z).sum(1, keepdims=True)) - z
                each = self.mixed * self.target(labels) + (1 - self.mixed) * self.target(others)  # noqa: B023
                weight = self.weight(labels)  # noqa: B023
                return ((each * surprise).sum(1) * weight).sum() / weight.sum()

            gradient = self.gradient(w, complex_steps(loss, w), is_weight)
            w, state = self.update(w, state, gradient, LR * self.rate(step))
            decay = self.decay(step + 1)
            average = decay * average + (1 - decay) * w
        return shaped(average, start)


def complex_steps(loss: Callable[[Array], Any], w: Array) -> Array:
    """The gradient of a function that is analytic: Im f(w + ih) / h, without cancellation."""
    return np.array([loss(w + 1e-30j * one).imag / 1e-30 for one in np.eye(len(w))])


def shaped(flat: Array, like: Mapping[str, Array]) -> Weights:
    """The parts of a flat vector, in the shapes of `like`."""
    ends = np.cumsum([part.size for part in like.values()])
    parts = np.split(flat, ends[:-1])
    return {name: p.reshape(like[name].shape) for name, p in zip(like, parts, strict=True)}


def with_momentum(w: Array, v: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.momentum_step(w, v, gradient=gradient, lr=lr, mu=0.8)


def with_nesterov(w: Array, v: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.nesterov_step(w, v, gradient=gradient, lr=lr, mu=0.8)


def by_adam(w: Array, state: Moments, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.adam_step(w, state, gradient=gradient, lr=lr, betas=(0.8, 0.9))


def by_adamw(w: Array, state: Moments, gradient: Array, lr: float) -> tuple[Array, Any]:
    """Without decay, which is a technique of its own, it is Adam."""
    return by_adam(w, state, gradient, lr)


def by_rmsprop(w: Array, state: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.rmsprop_step(w, state, gradient=gradient, lr=lr)


def by_adagrad(w: Array, state: Array, gradient: Array, lr: float) -> tuple[Array, Any]:
    return optimizers.adagrad_step(w, state, gradient=gradient, lr=lr)


def shortened(w: Array, gradient: Array, is_weight: Array) -> Array:
    return gradient * min(1.0, 0.1 / (math.sqrt((gradient**2).sum()) + 1e-6))


def one_cycle(step: int) -> float:
    top = 0.3 * STEPS - 1
    if step < top:
        return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * step / top)) / 2
    down = (step - top) / (STEPS - 1 - top)
    return 4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * down)) / 2


# ---- what ends a training


@dataclass(frozen=True, slots=True)
class Ends:
    """A rule by which a training ends: it holds first after the epoch at which it must end."""

    holds: Callable[[Sequence[Epoch]], bool]


def waited_two(epochs: Sequence[Epoch]) -> bool:
    losses = [epoch.val_loss for epoch in epochs]
    return len(losses) - 1 - losses.index(min(losses)) >= 2


# ---- the table


@dataclass(frozen=True, slots=True)
class Technique:
    """One row.

    Attributes:
        on: settings that switch it on.
        off: settings at which it must do nothing.
        effect: what it does, by hand.
        base: what both have besides `BASE`.
        uneven: whether classes have unequal numbers of images where it is on.
    """

    on: dict[str, Any]
    off: dict[str, Any]
    effect: ByHand | Ends
    base: dict[str, Any] = field(default_factory=dict)
    uneven: bool = False


HIDDEN = {"hidden": (4,), "activation": "tanh"}
LONG = {"epochs": 30, "lr": 2.0}
COUNTS = np.bincount(labels_of(IMAGES, uneven=True))
TECHNIQUES: dict[str, Technique] = {
    "momentum": Technique({"momentum": 0.8}, {"momentum": 0.0}, ByHand(update=with_momentum)),
    "nesterov": Technique(
        {"momentum": 0.8, "nesterov": True}, {"nesterov": False}, ByHand(update=with_nesterov)
    ),
    "adagrad": Technique({"optimizer": "adagrad"}, {}, ByHand(update=by_adagrad)),
    "rmsprop": Technique({"optimizer": "rmsprop"}, {}, ByHand(update=by_rmsprop)),
    "adam": Technique(
        {"optimizer": "adam", "betas": (0.8, 0.9)}, {"betas": (0.8, 0.9)}, ByHand(update=by_adam)
    ),
    "adamw": Technique({"optimizer": "adamw", "betas": (0.8, 0.9)}, {}, ByHand(update=by_adamw)),
    "cosine": Technique(
        {"schedule": "cosine"},
        {"schedule": "constant"},
        ByHand(rate=lambda t: (1 + math.cos(math.pi * t / STEPS)) / 2),
    ),
    "step": Technique(
        {"schedule": "step"},
        {"schedule": "constant"},
        ByHand(rate=lambda t: [1, 1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01][t]),
    ),
    "one_cycle": Technique(
        {"schedule": "one_cycle"}, {"schedule": "constant"}, ByHand(rate=one_cycle)
    ),
    "warmup": Technique(
        {"warmup": 1.0}, {"warmup": 0.0}, ByHand(rate=lambda t: min((t + 1) / 4, 1))
    ),
    "weight_decay": Technique(
        {"weight_decay": 0.1},
        {"weight_decay": 0.0},
        ByHand(gradient=lambda w, g, is_weight: g + 0.1 * w * is_weight),
    ),
    "l1": Technique(
        {"l1": 0.05},
        {"l1": 0.0},
        ByHand(gradient=lambda w, g, is_weight: g + 0.05 * np.sign(w) * is_weight),
    ),
    "penalise": Technique(
        {"penalise": "all", "weight_decay": 0.1, "l1": 0.05},
        {"penalise": "all"},
        ByHand(gradient=lambda w, g, _: g + 0.1 * w + 0.05 * np.sign(w)),
    ),
    "clip": Technique({"clip": 0.1}, {"clip": 1e9}, ByHand(gradient=shortened)),
    "label_smoothing": Technique(
        {"label_smoothing": 0.3},
        {"label_smoothing": 0.0},
        ByHand(target=lambda y: 0.7 * one_hot(y) + 0.1),
    ),
    "class_weights": Technique(
        {"class_weights": "balanced"},
        {"class_weights": "balanced"},  # classes that are even
        ByHand(weight=lambda y: 1 / COUNTS[y]),
        uneven=True,
    ),
    "mixed labels": Technique({}, {}, ByHand(mixed=0.7)),
    "dropout": Technique({"dropout": 0.4}, {"dropout": 0.0}, ByHand(forward=dropped)),
    "batch_norm": Technique(
        {"batch_norm": True}, {"batch_norm": False}, ByHand(forward=normalised), base=HIDDEN
    ),
    "hidden layer": Technique({}, {}, ByHand(forward=hidden), base=HIDDEN),
    "ema": Technique(
        {"ema": 0.3}, {"ema": 0.0}, ByHand(decay=lambda t: min(0.3, (1 + t) / (10 + t)))
    ),
    "patience": Technique({"patience": 2}, {"patience": 30}, Ends(waited_two), base=LONG),
    "stop_gap": Technique(
        {"stop_gap": 0.15},
        {"stop_gap": 1.0},
        Ends(lambda e: e[-1].train_accuracy - e[-1].val_accuracy > 0.15),
        base=LONG,
    ),
    "stop_at": Technique(
        {"stop_at": 0.72}, {"stop_at": 1.0}, Ends(lambda e: e[-1].val_accuracy >= 0.72), base=LONG
    ),
}
every = pytest.mark.parametrize("technique", TECHNIQUES.values(), ids=TECHNIQUES)


def trial(technique: Technique, values: Mapping[str, Any]) -> Trial:
    return trial_of(Settings(**{**BASE, **technique.base, **values}))


def images_of(technique: Technique, *, on: bool) -> Examples:
    found = examples(uneven=technique.uneven and on)
    if isinstance(technique.effect, ByHand) and technique.effect.mixed < 1:
        share = technique.effect.mixed if on else 1.0
        return Mixed(found.features, found.labels, found.keys, share=share)
    return found


def trained(settings: Settings, train: Examples) -> Weights:
    """What is measured after the last epoch."""
    training = Training(start_of(settings), train, settings)
    for _ in range(EPOCHS):
        training.finish_epoch()
        training.next_epoch()
    return {name: p.detach().numpy() for name, p in training.measured.named_parameters()}


def test_every_optimiser_and_schedule_has_a_row() -> None:
    assert {*OPTIMIZERS, *SCHEDULES} - {"sgd", "constant"} <= set(TECHNIQUES)


@every
def test_off_equals_absent(technique: Technique) -> None:
    one, train = trial(technique, technique.off), images_of(technique, on=False)
    end = run_trial(one, folds_of(train), way=Way(CLASSES), record=lambda _: None)
    assert end.outcome.epochs == one.settings.epochs

    plain = start_of(Settings(**{**BASE, **technique.base}))
    optimizer = torch.optim.SGD(plain.parameters(), one.settings.lr)
    for epoch in range(1, end.outcome.best_epoch + 1):
        for rows in np.split(shuffled(train, 0, epoch), IMAGES // BATCH):
            optimizer.zero_grad()
            cross_entropy(plain(train.features[rows]), train.labels[rows]).backward()
            optimizer.step()
    found = end.network.state_dict()
    assert all(torch.equal(found[name], w) for name, w in plain.state_dict().items())


@every
def test_its_effect_is_that_by_hand(technique: Technique) -> None:
    one, train = trial(technique, technique.on), images_of(technique, on=True)
    if isinstance(technique.effect, Ends):
        everything, _ = run(trial(technique, technique.off), folds_of(train), Way(CLASSES))
        ends = [technique.effect.holds(everything[:n]) for n in range(1, len(everything) + 1)]
        stopped, end = run(one, folds_of(train), Way(CLASSES))
        assert 1 < len(stopped) == ends.index(True) + 1 < len(everything)
        assert end is not None
        assert end.reason in technique.on
        return
    found = trained(one.settings, train)
    expected = technique.effect.weights_after(one.settings, train)
    assert found.keys() == expected.keys()
    for name, w in expected.items():
        np.testing.assert_allclose(found[name], w, rtol=1e-10, atol=1e-12, err_msg=name)
    if technique.on:  # and it has one
        without = trained(trial(technique, technique.off).settings, images_of(technique, on=False))
        assert np.abs(found["dense.0.weight"] - without["dense.0.weight"]).max() > 1e-3


@every
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_saved_and_resumed_it_is_the_training_that_never_stopped(
    technique: Technique, steps: int, tmp_path: Path
) -> None:
    one, train = trial(technique, technique.on), images_of(technique, on=True)
    expect_resumed(one, folds_of(train), Way(CLASSES), after=steps, folder=tmp_path)
