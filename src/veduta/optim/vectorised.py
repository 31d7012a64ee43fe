r"""Updates of many trials at once: what `optim.optimizers` does for one, with vectors for scalars.

A parameter of T trials is one tensor (T, ...), and learning rate, weight decay, momentum and betas
are vectors with one entry a trial. Everything happens in place, piece by piece: a piece is as many
rows (or as much of one row) as stay in the cache while an update passes over them several times.
The gradient is used up. The forms are those of torch.optim; the sources are named there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from veduta.config.settings import Settings

PIECE = 2**16  # numbers: parameter, gradient and two moments of float32 fill a cache of 1 MiB
ALPHA = 0.99  # torch.optim.RMSprop's
EPSILON = {"adam": 1e-8, "adamw": 1e-8, "rmsprop": 1e-8, "adagrad": 1e-10}  # torch.optim's


@dataclass(frozen=True, slots=True)
class Piece:
    """Views of what one update works on: (rows, numbers) each, scalars of the rows (rows, 1)."""

    w: Tensor
    g: Tensor
    moments: tuple[Tensor, ...]
    scalars: tuple[Tensor, ...]  # what the rule's `scalars` gave, then the decay
    scratch: Tensor
    decays: bool


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
    (velocity,), (mu, step, *_) = piece.moments, piece.scalars
    velocity.mul_(mu).add_(piece.g)
    piece.w.addcmul_(velocity, step)


def _nesterov(piece: Piece) -> None:
    r"""Nesterov: v = \mu v + \nabla C, \; w = w - \eta (\nabla C + \mu v)."""
    (velocity,), (mu, step, *_) = piece.moments, piece.scalars
    velocity.mul_(mu).add_(piece.g)
    piece.w.addcmul_(piece.g.addcmul_(velocity, mu), step)


def _momentum_scalars(of: Vectors, _: int) -> tuple[Tensor, ...]:
    return of["momentum"], -of["lr"]


def _adam(piece: Piece) -> None:
    r"""Adam: m = \beta_1 m + (1 - \beta_1) g, \; s = \beta_2 s + (1 - \beta_2) g^2.

    And w = w - \eta \hat{m} / (\sqrt{\hat{s}} + \epsilon), multiplied out so that the corrections
    by 1 - \beta^t are scalars of a trial.
    """
    (mean, square), (rest_1, rest_2, epsilon, step, *_) = piece.moments, piece.scalars
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
    (square,), (step, *_) = piece.moments, piece.scalars
    square.mul_(ALPHA).addcmul_(piece.g, piece.g, value=1 - ALPHA)
    _rooted(piece, square, step, EPSILON["rmsprop"])


def _adagrad(piece: Piece) -> None:
    r"""Adagrad: s = s + g^2, \; w = w - \eta g / (\sqrt{s} + \epsilon)."""
    (total,), (step, *_) = piece.moments, piece.scalars
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


class VectorisedOptimizer:
    r"""One optimiser for T trials of one kind.

    Args:
        settings: of each trial; all name the same optimiser, with or without nesterov.
        parameters: by name, (T, ...), contiguous; changed in place by `step`.
        gradients: by the same names and of the same shapes; used up by `step`.

    `weight_decay` acts on weights alone, that is on parameters of two dimensions or more a trial:
    added to the gradient, in adamw as w = (1 - \eta \lambda) w before the update.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        first = settings[0]
        self._decoupled = first.optimizer == "adamw"
        self._rule = RULES["nesterov" if _is_nesterov(first) else first.optimizer]
        self._steps = 0
        self._of = _vectors(settings)
        self._moments = [
            {name: torch.zeros_like(w) for name, w in parameters.items()}
            for _ in range(self._rule.moments)
        ]
        self._cut(parameters, gradients)

    def step(self) -> None:
        """One update of all parameters from what `gradients` hold."""
        self._steps += 1
        of = self._of
        decay = 1 - of["lr"] * of["weight_decay"] if self._decoupled else of["weight_decay"]
        scalars = (*self._rule.scalars(of, self._steps), decay)
        for place, values in zip(self._scalars, scalars, strict=True):
            place.copy_(values[:, None])
        for piece in self._pieces:
            if piece.decays and self._decoupled:
                piece.w.mul_(piece.scalars[-1])
            elif piece.decays:
                piece.g.addcmul_(piece.w, piece.scalars[-1])
            self._rule.update(piece)

    def keep(
        self, places: Tensor, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> None:
        """Go on with the trials at `places` alone, whose parameters are now `parameters`."""
        self._of = {name: values[places] for name, values in self._of.items()}
        self._moments = [{n: m[places] for n, m in kept.items()} for kept in self._moments]
        self._cut(parameters, gradients)

    def _cut(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Cut everything into pieces of at most `PIECE` numbers."""
        example = next(iter(parameters.values()))
        trials, count = len(example), len(self._rule.scalars(self._of, 1)) + 1
        self._scalars = [example.new_zeros(trials, 1) for _ in range(count)]
        scratch = example.new_empty(PIECE)
        decaying = bool((self._of["weight_decay"] != 0).any())
        self._pieces = []
        for name, parameter in parameters.items():
            flat = [t.view(trials, -1) for t in (parameter, gradients[name])]
            flat += [moments[name].view(trials, -1) for moments in self._moments]
            for rows, columns in _pieces(*flat[0].shape):
                w, g, *moments = (tensor[rows, columns] for tensor in flat)
                self._pieces.append(
                    Piece(
                        w,
                        g,
                        moments=tuple(moments),
                        scalars=tuple(place[rows] for place in self._scalars),
                        scratch=scratch[: w.numel()].view(w.shape),
                        decays=decaying and parameter.dim() > 2,
                    )
                )


def _is_nesterov(settings: Settings) -> bool:
    return settings.optimizer == "sgd" and settings.nesterov


def _vectors(settings: Sequence[Settings]) -> dict[str, Tensor]:
    columns = {
        "lr": [s.lr for s in settings],
        "weight_decay": [s.weight_decay for s in settings],
        "momentum": [s.momentum for s in settings],
        "beta_1": [s.betas[0] for s in settings],
        "beta_2": [s.betas[1] for s in settings],
    }
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def _pieces(rows: int, columns: int) -> list[tuple[slice, slice]]:
    """Slices that cover a table, whole rows where several fit into a piece.

    >>> _pieces(3, 2**15)
    [(slice(0, 2, None), slice(0, 32768, None)), (slice(2, 3, None), slice(0, 32768, None))]
    """
    high, wide = max(1, PIECE // columns), min(PIECE, columns)
    return [
        (slice(row, min(row + high, rows)), slice(start, min(start + wide, columns)))
        for row in range(0, rows, high)
        for start in range(0, columns, wide)
    ]
