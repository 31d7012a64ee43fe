r"""Update rules of the vectorized optimizer, in two forms.

The vectorized form updates a slice of many trials' parameters with tensor operations, in which the
scalars of an optimizer are vectors with one entry per trial. The kernel form calls the compiled
kernel of torch (`fused=True`), which takes scalars as numbers, once per trial.

Both forms are needed. On one core, with 256 x 1280 weights per trial, the vectorized form of adam
takes 2.1 to 2.9 times as long as the kernel, because it passes over the numbers several times. With
64 trials of 6 x 1280 weights the kernel takes twice as long, and with 64 trials of 256 biases 13
times, because of the cost of a call. For sgd both forms give the same bits; for adam they differ by
rounding (up to 5e-7 after nine steps), so replacing one by the other would change results.

All updates are in place and overwrite the gradient.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

ALPHA = 0.99  # default of torch.optim.RMSprop
EPSILON = {"adam": 1e-8, "adamw": 1e-8, "rmsprop": 1e-8, "adagrad": 1e-10}  # as in torch.optim
KERNEL_THRESHOLD = 2**15  # numbers of one trial in one parameter from which the kernel is faster


# vectorized form


@dataclass(frozen=True, slots=True)
class Piece:
    """Views of the tensors of one vectorized update, each of shape (rows, numbers).

    Attributes:
        w: weights.
        g: gradient.
        moments: moments of the optimizer.
        scalars: the scalars of the rule, (rows, 1) each.
        scratch: temporary memory.
        decay: weight decay, (rows, 1); None if no row has any.
        l1: L1 penalty, (rows, 1); None if no row has any.
    """

    w: Tensor
    g: Tensor
    moments: tuple[Tensor, ...]
    scalars: tuple[Tensor, ...]
    scratch: Tensor
    decay: Tensor | None
    l1: Tensor | None


Vectors = Mapping[str, Tensor]
"""Values of each setting by its name, (T,) float64."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A vectorized update rule.

    Attributes:
        moments: number of moments.
        scalars: maps the settings and the step t, from 1, to the scalars of all trials.
        update: updates a piece in place.
    """

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


def _compute_momentum_scalars(settings: Vectors, _: int) -> tuple[Tensor, ...]:
    return settings["momentum"], -settings["lr"]


def _adam(piece: Piece) -> None:
    r"""Adam: m = \beta_1 m + (1 - \beta_1) g, \; s = \beta_2 s + (1 - \beta_2) g^2.

    Then w = w - \eta \hat{m} / (\sqrt{\hat{s}} + \epsilon), rearranged so that the bias corrections
    by 1 - \beta^t are scalars of a trial.
    """
    (mean, square), (rest_1, rest_2, epsilon, step) = piece.moments, piece.scalars
    g = piece.g
    mean.lerp_(g, rest_1)
    square.lerp_(g.mul_(g), rest_2)
    torch.sqrt(square, out=g)
    torch.div(mean, g.add_(epsilon), out=g)
    piece.w.addcmul_(g, step)


def _compute_adam_scalars(settings: Vectors, t: int) -> tuple[Tensor, ...]:
    beta_1, beta_2 = settings["beta_1"], settings["beta_2"]
    root = (1 - beta_2**t).sqrt()
    step = -settings["lr"] * root / (1 - beta_1**t)
    return 1 - beta_1, 1 - beta_2, EPSILON["adam"] * root, step


def _rmsprop(piece: Piece) -> None:
    r"""RMSprop: s = \alpha s + (1 - \alpha) g^2, \; w = w - \eta g / (\sqrt{s} + \epsilon)."""
    (square,), (step,) = piece.moments, piece.scalars
    square.mul_(ALPHA).addcmul_(piece.g, piece.g, value=1 - ALPHA)
    _step_scaled_by_root(piece, square, step, EPSILON["rmsprop"])


def _adagrad(piece: Piece) -> None:
    r"""Adagrad: s = s + g^2, \; w = w - \eta g / (\sqrt{s} + \epsilon)."""
    (total,), (step,) = piece.moments, piece.scalars
    total.addcmul_(piece.g, piece.g)
    _step_scaled_by_root(piece, total, step, EPSILON["adagrad"])


def _step_scaled_by_root(piece: Piece, square: Tensor, step: Tensor, epsilon: float) -> None:
    torch.sqrt(square, out=piece.scratch)
    piece.w.addcmul_(piece.g.div_(piece.scratch.add_(epsilon)), step)


def _compute_step_scalars(settings: Vectors, _: int) -> tuple[Tensor, ...]:
    return (-settings["lr"],)


RULES = {
    "adagrad": Rule(1, _compute_step_scalars, _adagrad),
    "adam": Rule(2, _compute_adam_scalars, _adam),
    "adamw": Rule(2, _compute_adam_scalars, _adam),
    "nesterov": Rule(1, _compute_momentum_scalars, _nesterov),
    "rmsprop": Rule(1, _compute_step_scalars, _rmsprop),
    "sgd": Rule(1, _compute_momentum_scalars, _sgd),
}
"""Vectorized rules by name."""


# kernel form


@dataclass(frozen=True, slots=True)
class TrialParameter:
    """One parameter of one trial, with its gradient and moments of the same shape.

    Attributes:
        trial: index of the trial.
        w: weights.
        g: gradient.
        moments: moments of the optimizer.
        is_penalized: whether `weight_decay` and `l1` act on the parameter.
    """

    trial: int
    w: Tensor
    g: Tensor
    moments: tuple[Tensor, ...]
    is_penalized: bool


TrialScalars = Mapping[str, float]
"""The settings of one trial, by name."""


def run_kernel(rule: str, parameter: TrialParameter, scalars: TrialScalars, step: int) -> None:
    """Update the parameter of one trial in place.

    Args:
        rule: a name in `KERNELS`.
        parameter: the parameter; its gradient is overwritten.
        scalars: learning rate of this step and other settings of the trial.
        step: number of the step, from 1.
    """
    if not parameter.is_penalized:
        scalars = {**scalars, "weight_decay": 0.0}
    elif scalars["l1"]:
        parameter.g.add_(parameter.w.sign(), alpha=scalars["l1"])
    KERNELS[rule](parameter, scalars, step)


def _run_adam(parameter: TrialParameter, scalars: TrialScalars, step: int) -> None:
    _call_adam_kernel(parameter, scalars, step, decoupled=False)


def _run_adamw(parameter: TrialParameter, scalars: TrialScalars, step: int) -> None:
    _call_adam_kernel(parameter, scalars, step, decoupled=True)


def _call_adam_kernel(
    parameter: TrialParameter, scalars: TrialScalars, step: int, *, decoupled: bool
) -> None:
    mean, square = parameter.moments
    adam(
        [parameter.w],
        [parameter.g],
        [mean],
        [square],
        [],
        [torch.tensor(float(step - 1))],  # number of previous steps
        fused=True,
        decoupled_weight_decay=decoupled,
        amsgrad=False,
        beta1=scalars["beta_1"],
        beta2=scalars["beta_2"],
        lr=scalars["lr"],
        weight_decay=scalars["weight_decay"],
        eps=EPSILON["adam"],
        maximize=False,
    )


def _run_sgd(parameter: TrialParameter, scalars: TrialScalars, _: int) -> None:
    _call_sgd_kernel(parameter, scalars, nesterov=False)


def _run_nesterov(parameter: TrialParameter, scalars: TrialScalars, _: int) -> None:
    _call_sgd_kernel(parameter, scalars, nesterov=True)


def _call_sgd_kernel(parameter: TrialParameter, scalars: TrialScalars, *, nesterov: bool) -> None:
    sgd(
        [parameter.w],
        [parameter.g],
        [parameter.moments[0] if scalars["momentum"] else None],
        fused=True,
        weight_decay=scalars["weight_decay"],
        momentum=scalars["momentum"],
        lr=scalars["lr"],
        dampening=0.0,
        nesterov=nesterov,
        maximize=False,
    )


KERNELS: dict[str, Callable[[TrialParameter, TrialScalars, int], None]] = {
    "adam": _run_adam,
    "adamw": _run_adamw,
    "nesterov": _run_nesterov,
    "sgd": _run_sgd,
}
"""Kernel calls by name of the rule; the other rules have only the vectorized form."""
