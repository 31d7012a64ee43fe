r"""Updates of many trials at once: what `optim.optimizers` does for one, with vectors for scalars.

A parameter of T trials is one tensor (T, ...), and learning rate, weight decay, momentum and betas
are vectors with one entry a trial. Everything happens in place, piece by piece: a piece is as many
rows (or as much of one row) as stay in the cache while an update passes over them several times.
What an update does is said in `optim.rules`; large parameters are those of `optim.one_pass`.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from veduta.config.settings import Settings
from veduta.optim import one_pass
from veduta.optim.one_pass import LARGE, ONE_PASS, Single
from veduta.optim.rules import RULES, Piece
from veduta.optim.schedules import build_schedule, is_constant

PIECE = 2**17  # numbers: with gradient and two moments 2 MiB in float32; the best from 2^15 on


class VectorisedOptimizer:
    r"""One optimiser for T trials of one kind.

    Args:
        settings: of each trial; all name the same optimiser, with or without nesterov.
        parameters: by name, (T, ...), contiguous; changed in place by `step`.
        gradients: by the same names and of the same shapes; used up by `step`.
        steps: of an epoch, for schedules and warm-up.

    `weight_decay` and `l1` act on weights alone, that is on parameters of two dimensions or more a
    trial: added to the gradient, weight_decay in adamw as w = (1 - \eta \lambda) w before the
    update. What no trial has costs nothing.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        *,
        steps: int,
    ) -> None:
        first = settings[0]
        self._decoupled = first.optimizer == "adamw"
        self._name = "nesterov" if _is_nesterov(first) else first.optimizer
        self._rule = RULES[self._name]
        self._steps = 0
        self._of = _vectors(settings)
        self._schedules = [build_schedule(one, steps) for one in settings]
        self._scheduled = not all(map(is_constant, settings))
        self.lr = self._of["lr"]  # (T,) float64: that of the last step
        self._moments = [
            {name: torch.zeros_like(w) for name, w in parameters.items()}
            for _ in range(self._rule.moments)
        ]
        self._cut(parameters, gradients)

    def step(self) -> None:
        """One update of all parameters from what `gradients` hold."""
        if self._scheduled:
            factors = [schedule(self._steps) for schedule in self._schedules]
            self.lr = self._of["lr"] * torch.tensor(factors, dtype=torch.float64)
        self._steps += 1
        for place, values in zip(self._scalars, self._values(), strict=True):
            place.copy_(values[:, None])
        for piece in self._pieces:
            self._update(piece)
        if self._singles:
            of = self._of_trials()
            for single in self._singles:
                one_pass.update(self._name, single, of[single.trial], self._steps)

    def keep(
        self, places: Tensor, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> None:
        """Go on with the trials at `places` alone, whose parameters are now `parameters`."""
        self._of = {name: values[places] for name, values in self._of.items()}
        self._schedules = [self._schedules[place] for place in places.tolist()]
        self.lr = self.lr[places]
        self._moments = [{n: m[places] for n, m in kept.items()} for kept in self._moments]
        self._cut(parameters, gradients)

    def _values(self) -> tuple[Tensor, ...]:
        """What `_scalars` hold at this step: the decay, L1, and the scalars of the rule."""
        of = {**self._of, "lr": self.lr}
        decay = 1 - of["lr"] * of["weight_decay"] if self._decoupled else of["weight_decay"]
        return decay, of["l1"], *self._rule.scalars(of, self._steps)

    def _update(self, piece: Piece) -> None:
        if piece.l1 is not None:
            piece.g.addcmul_(torch.sign(piece.w, out=piece.scratch), piece.l1)
        if piece.decay is not None and self._decoupled:
            piece.w.mul_(piece.decay)
        elif piece.decay is not None:
            piece.g.addcmul_(piece.w, piece.decay)
        self._rule.update(piece)

    def _of_trials(self) -> list[dict[str, float]]:
        """The settings of each trial at this step."""
        of = {**self._of, "lr": self.lr}
        columns = [values.tolist() for values in of.values()]
        return [dict(zip(of, row, strict=True)) for row in zip(*columns, strict=True)]

    def _cut(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Cut everything into pieces of at most `PIECE` numbers, or large parameters by trial."""
        example = next(iter(parameters.values()))
        self._scalars = [example.new_zeros(len(example), 1) for _ in self._values()]
        self._scratch = example.new_empty(PIECE)
        self._pieces: list[Piece] = []
        self._singles: list[Single] = []
        for name, parameter in parameters.items():
            tensors = [parameter, gradients[name], *(moments[name] for moments in self._moments)]
            if self._name in ONE_PASS and parameter[0].numel() >= LARGE:
                self._singles += [
                    Single(trial, w, g, moments=tuple(moments), penalised=parameter.dim() > 2)
                    for trial, (w, g, *moments) in enumerate(zip(*tensors, strict=True))
                ]
            else:
                self._pieces += self._in_pieces(tensors, penalised=parameter.dim() > 2)

    def _in_pieces(self, tensors: Sequence[Tensor], *, penalised: bool) -> Iterator[Piece]:
        """The pieces of a parameter, its gradient and its moments."""
        decay, l1, *scalars = self._scalars
        decays, has_l1 = (
            penalised and bool(self._of[name].any()) for name in ("weight_decay", "l1")
        )
        flat = [tensor.view(len(tensor), -1) for tensor in tensors]
        for rows, columns in _pieces(*flat[0].shape):
            w, g, *moments = (tensor[rows, columns] for tensor in flat)
            yield Piece(
                w,
                g,
                moments=tuple(moments),
                scalars=tuple(place[rows] for place in scalars),
                scratch=self._scratch[: w.numel()].view(w.shape),
                decay=decay[rows] if decays else None,
                l1=l1[rows] if has_l1 else None,
            )


def _is_nesterov(settings: Settings) -> bool:
    return settings.optimizer == "sgd" and settings.nesterov


def _vectors(settings: Sequence[Settings]) -> dict[str, Tensor]:
    columns = {
        "lr": [s.lr for s in settings],
        "weight_decay": [s.weight_decay for s in settings],
        "l1": [s.l1 for s in settings],
        "momentum": [s.momentum for s in settings],
        "beta_1": [s.betas[0] for s in settings],
        "beta_2": [s.betas[1] for s in settings],
    }
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def _pieces(rows: int, columns: int) -> list[tuple[slice, slice]]:
    """Slices that cover a table, whole rows where several fit into a piece.

    >>> _pieces(3, 2**16)
    [(slice(0, 2, None), slice(0, 65536, None)), (slice(2, 3, None), slice(0, 65536, None))]
    """
    high, wide = max(1, PIECE // columns), min(PIECE, columns)
    return [
        (slice(row, min(row + high, rows)), slice(start, min(start + wide, columns)))
        for row in range(0, rows, high)
        for start in range(0, columns, wide)
    ]
