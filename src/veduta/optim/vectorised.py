r"""Updates of many trials at once: what `optim.optimizers` does for one, with vectors for scalars.

A parameter of T trials is one tensor (T, ...), and learning rate, weight decay, momentum and betas
are vectors with one entry a trial. Everything happens in place, piece by piece: a piece is as many
rows (or as much of one row) as stay in the cache while an update passes over them several times.
What an update does is said in `optim.rules`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from veduta.config.settings import Settings
from veduta.optim.rules import RULES, Piece

PIECE = 2**17  # numbers: with gradient and two moments 2 MiB in float32; the best from 2^15 on


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

    >>> _pieces(3, 2**16)
    [(slice(0, 2, None), slice(0, 65536, None)), (slice(2, 3, None), slice(0, 65536, None))]
    """
    high, wide = max(1, PIECE // columns), min(PIECE, columns)
    return [
        (slice(row, min(row + high, rows)), slice(start, min(start + wide, columns)))
        for row in range(0, rows, high)
        for start in range(0, columns, wide)
    ]
