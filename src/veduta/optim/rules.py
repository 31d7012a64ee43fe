r"""What one update does to a piece of many trials' parameters, optimiser by optimiser.

The forms are those of torch.optim, and of `foundations`; scalars of an optimiser are vectors here,
one entry a trial. Everything happens in place, and uses up the gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ALPHA = 0.99  # torch.optim.RMSprop's
EPSILON = {"adam": 1e-8, "adamw": 1e-8, "rmsprop": 1e-8, "adagrad": 1e-10}  # torch.optim's


@dataclass(frozen=True, slots=True)
class Piece:
    """Views of what one update works on: (rows, numbers) each, scalars of the rows (rows, 1)."""

    w: Tensor
    g: Tensor
    moments: tuple[Tensor, ...]
    scalars: tuple[Tensor, ...]  # what the rule's `scalars` gave
    scratch: Tensor
    decay: Tensor | None  # (rows, 1), where a row decays
    l1: Tensor | None  # (rows, 1), where a row has this penalty


Vectors = Mapping[str, Tensor]
"""By name of the setting: (T,) float64."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How many moments it keeps, its scalars at step t (from 1), and the update of a piece."""

    moments: int
    scalars: Callable[[Vectors, int], tuple[Tensor, ...]]
    update: Callable[[Piece], None]


def _sgd(piece: Piece) -> None:
    r"""Equation 37: v = \mu v + \nabla C, \; w = w - \eta v (torch's form)."""
    (velocity,), (mu, step) = piece.moments, piece.scalars
    velocity.mul_(mu).add_(piece.g)
    piece.w.addcmul_(velocity, step)


def _nesterov(piece: Piece) -> None:
    r"""Nesterov: v = \mu v + \nabla C, \; w = w - \eta (\nabla C + \mu v)."""
    (velocity,), (mu, step) = piece.moments, piece.scalars
    velocity.mul_(mu).add_(piece.g)
    piece.w.addcmul_(piece.g.addcmul_(velocity, mu), step)


def _momentum_scalars(of: Vectors, _: int) -> tuple[Tensor, ...]:
    return of["momentum"], -of["lr"]


def _adam(piece: Piece) -> None:
    r"""Adam: m = \beta_1 m + (1 - \beta_1) g, \; s = \beta_2 s + (1 - \beta_2) g^2.

    And w = w - \eta \hat{m} / (\sqrt{\hat{s}} + \epsilon), multiplied out so that the corrections
    by 1 - \beta^t are scalars of a trial.
    """
    (mean, square), (rest_1, rest_2, epsilon, step) = piece.moments, piece.scalars
    g = piece.g
    mean.lerp_(g, rest_1)
    square.lerp_(g.mul_(g), rest_2)
    torch.sqrt(square, out=g)
    torch.div(mean, g.add_(epsilon), out=g)
    piece.w.addcmul_(g, step)


def _adam_scalars(of: Vectors, t: int) -> tuple[Tensor, ...]:
    root = (1 - of["beta_2"] ** t).sqrt()
    step = -of["lr"] * root / (1 - of["beta_1"] ** t)
    return 1 - of["beta_1"], 1 - of["beta_2"], EPSILON["adam"] * root, step


def _rmsprop(piece: Piece) -> None:
    r"""RMSprop: s = \alpha s + (1 - \alpha) g^2, \; w = w - \eta g / (\sqrt{s} + \epsilon)."""
    (square,), (step,) = piece.moments, piece.scalars
    square.mul_(ALPHA).addcmul_(piece.g, piece.g, value=1 - ALPHA)
    _rooted(piece, square, step, EPSILON["rmsprop"])


def _adagrad(piece: Piece) -> None:
    r"""Adagrad: s = s + g^2, \; w = w - \eta g / (\sqrt{s} + \epsilon)."""
    (total,), (step,) = piece.moments, piece.scalars
    total.addcmul_(piece.g, piece.g)
    _rooted(piece, total, step, EPSILON["adagrad"])


def _rooted(piece: Piece, square: Tensor, step: Tensor, epsilon: float) -> None:
    torch.sqrt(square, out=piece.scratch)
    piece.w.addcmul_(piece.g.div_(piece.scratch.add_(epsilon)), step)


def _step_scalars(of: Vectors, _: int) -> tuple[Tensor, ...]:
    return (-of["lr"],)


RULES = {
    "adagrad": Rule(1, _step_scalars, _adagrad),
    "adam": Rule(2, _adam_scalars, _adam),
    "adamw": Rule(2, _adam_scalars, _adam),
    "nesterov": Rule(1, _momentum_scalars, _nesterov),
    "rmsprop": Rule(1, _step_scalars, _rmsprop),
    "sgd": Rule(1, _momentum_scalars, _sgd),
}
