r"""An optimizer for many trials at once; for one trial it equals that of `optim.optimizers`.

A parameter of T trials is one tensor (T, ...); learning rate, weight decay, momentum and betas are
vectors with one entry per trial. Updates are in place. A parameter is cut into pieces that fit into
the cache of the CPU, because an update passes over a piece several times; large parameters are
updated trial by trial by a compiled kernel. Both forms of the update are in `optim.rules`.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from veduta.config.settings import Settings
from veduta.optim.rules import (
    KERNEL_THRESHOLD,
    KERNELS,
    RULES,
    Piece,
    TrialParameter,
    TrialScalars,
    run_kernel,
)
from veduta.optim.schedules import build_schedule, is_constant

PIECE_SIZE = 2**17  # numbers; 2 MiB of float32 with gradient and two moments; fastest from 2^15 on


class VectorizedOptimizer:
    r"""One optimizer for T trials with the same optimizer setting.

    `weight_decay` and `l1` act only on weights, that is, on parameters with two dimensions or more
    per trial. They are added to the gradient, except for adamw, where weight decay is
    w = (1 - \eta \lambda) w before the update. A penalty that no trial has costs no time.

    Args:
        settings: settings of each trial, with the same `optimizer` and the same use of nesterov.
        parameters: contiguous tensors (T, ...) by name; `step` changes them in place.
        gradients: tensors of the same names and shapes; `step` overwrites them.
        steps: number of steps of one epoch, for schedules and warm-up.
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
        self._vectors = _stack_settings(settings)
        self._schedules = [build_schedule(trial, steps) for trial in settings]
        self._has_schedule = not all(map(is_constant, settings))
        self.lr = self._vectors["lr"]  # (T,) float64, of the last step
        self._moments = [
            {name: torch.zeros_like(w) for name, w in parameters.items()}
            for _ in range(self._rule.moments)
        ]
        self._divide(parameters, gradients)

    def step(self) -> None:
        """Update all parameters with the current gradients."""
        if self._has_schedule:
            factors = [schedule(self._steps) for schedule in self._schedules]
            self.lr = self._vectors["lr"] * torch.tensor(factors, dtype=torch.float64)
        self._steps += 1
        for scalar, values in zip(self._scalars, self._compute_scalars(), strict=True):
            scalar.copy_(values[:, None])
        for piece in self._pieces:
            self._update(piece)
        if self._trial_parameters:
            scalars = self._list_trial_scalars()
            for parameter in self._trial_parameters:
                run_kernel(self._name, parameter, scalars[parameter.trial], self._steps)

    def keep_trials(
        self, indices: Tensor, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> None:
        """Continue with the trials at `indices` only.

        Args:
            indices: indices of the trials that remain.
            parameters: parameters of these trials; they replace the previous ones.
            gradients: gradients of these trials.
        """
        self._vectors = {name: values[indices] for name, values in self._vectors.items()}
        self._schedules = [self._schedules[index] for index in indices.tolist()]
        self.lr = self.lr[indices]
        self._moments = [
            {name: moment[indices] for name, moment in moments.items()} for moments in self._moments
        ]
        self._divide(parameters, gradients)

    def _compute_scalars(self) -> tuple[Tensor, ...]:
        """Compute weight decay, L1 penalty and the scalars of the rule for the current step."""
        vectors = {**self._vectors, "lr": self.lr}
        decay = vectors["weight_decay"]
        if self._decoupled:
            decay = 1 - vectors["lr"] * decay
        return decay, vectors["l1"], *self._rule.scalars(vectors, self._steps)

    def _update(self, piece: Piece) -> None:
        if piece.l1 is not None:
            piece.g.addcmul_(torch.sign(piece.w, out=piece.scratch), piece.l1)
        if piece.decay is not None and self._decoupled:
            piece.w.mul_(piece.decay)
        elif piece.decay is not None:
            piece.g.addcmul_(piece.w, piece.decay)
        self._rule.update(piece)

    def _list_trial_scalars(self) -> list[TrialScalars]:
        """List the settings of each trial for the current step."""
        vectors = {**self._vectors, "lr": self.lr}
        columns = [values.tolist() for values in vectors.values()]
        return [dict(zip(vectors, row, strict=True)) for row in zip(*columns, strict=True)]

    def _divide(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> None:
        """Divide large parameters by trial and the others into pieces of `PIECE_SIZE` numbers."""
        example = next(iter(parameters.values()))
        self._scalars = [example.new_zeros(len(example), 1) for _ in self._compute_scalars()]
        self._scratch = example.new_empty(PIECE_SIZE)
        self._pieces: list[Piece] = []
        self._trial_parameters: list[TrialParameter] = []
        for name, parameter in parameters.items():
            tensors = [parameter, gradients[name], *(moments[name] for moments in self._moments)]
            is_penalized = parameter.dim() > 2
            if self._name in KERNELS and parameter[0].numel() >= KERNEL_THRESHOLD:
                self._trial_parameters += [
                    TrialParameter(trial, w, g, moments=tuple(moments), is_penalized=is_penalized)
                    for trial, (w, g, *moments) in enumerate(zip(*tensors, strict=True))
                ]
            else:
                self._pieces += self._create_pieces(tensors, is_penalized=is_penalized)

    def _create_pieces(self, tensors: Sequence[Tensor], *, is_penalized: bool) -> Iterator[Piece]:
        """Yield the pieces of a parameter, its gradient and its moments."""
        decay, l1, *scalars = self._scalars
        has_decay, has_l1 = (
            is_penalized and bool(self._vectors[name].any()) for name in ("weight_decay", "l1")
        )
        flat = [tensor.view(len(tensor), -1) for tensor in tensors]
        for rows, columns in _divide_table(*flat[0].shape):
            w, g, *moments = (tensor[rows, columns] for tensor in flat)
            yield Piece(
                w,
                g,
                moments=tuple(moments),
                scalars=tuple(scalar[rows] for scalar in scalars),
                scratch=self._scratch[: w.numel()].view(w.shape),
                decay=decay[rows] if has_decay else None,
                l1=l1[rows] if has_l1 else None,
            )


def _is_nesterov(settings: Settings) -> bool:
    return settings.optimizer == "sgd" and settings.nesterov


def _stack_settings(settings: Sequence[Settings]) -> dict[str, Tensor]:
    columns = {
        "lr": [s.lr for s in settings],
        "weight_decay": [s.weight_decay for s in settings],
        "l1": [s.l1 for s in settings],
        "momentum": [s.momentum for s in settings],
        "beta_1": [s.betas[0] for s in settings],
        "beta_2": [s.betas[1] for s in settings],
    }
    return {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def _divide_table(rows: int, columns: int) -> list[tuple[slice, slice]]:
    """Return slices that cover a table; a piece has several whole rows where they fit.

    >>> _divide_table(3, 2**16)
    [(slice(0, 2, None), slice(0, 65536, None)), (slice(2, 3, None), slice(0, 65536, None))]
    """
    height, width = max(1, PIECE_SIZE // columns), min(PIECE_SIZE, columns)
    return [
        (slice(row, min(row + height, rows)), slice(start, min(start + width, columns)))
        for row in range(0, rows, height)
        for start in range(0, columns, width)
    ]
