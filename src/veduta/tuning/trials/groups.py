"""Which trials run together: groups that share all but scalars, cut into tiles that fit a cache.

Both depend on the trials and the shape of their head alone, never on free memory or a stopwatch.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from veduta.config.settings import OF_A_TRIAL, Settings
from veduta.tuning.trials.space import Trial, unused

Tile = tuple[Trial, ...]
"""Trials of one group whose heads are trained as one; equal dropout rates stand side by side."""

VARYING = frozenset(
    {
        *("lr", "weight_decay", "momentum", "betas", "dropout", "epochs", "patience"),
        *("l1", "label_smoothing", "schedule", "warmup", "stop_gap", "stop_at"),
    }
)  # inside a group; all else (features, batch size, optimiser, shape of the head) is shared

FUSED: Mapping[str, Any] = {
    "freeze": "all",
    "dropout_layers": None,
    "norm_first": True,
    "penalise": "weights",
    "clip": None,
    "ema": 0.0,
    "class_weights": "none",
}
"""What the fused executor does not have, with the values that ask for nothing of it."""

NUMBERS = 2**21
"""Weights in a tile: with gradients and two moments in float32, 32 MiB.

Of an MLP with 330,000 weights six trials take 0.93 of the processor time of twice three, and more
would gain 5 % at best.
"""

HALVED = NUMBERS // 2
"""Weights of a group from which it makes two tiles, so that a second processor has work."""

WIDEST = 32
"""Trials in a tile: more would gain little (3.3 ms an epoch and trial at 64, 3.9 at 32, 5.3 at 16),
and leave a second processor without work."""


def fusable(settings: Settings) -> bool:
    """Whether the fused executor can run a trial; all of a group, or none of it.

    Else the serial executor does, as a tile of its own. What a trial does not use decides nothing.

    >>> fusable(Settings(l1=1e-5)), fusable(Settings(clip=1.0))
    (True, False)
    """
    idle = unused(settings)
    return all(name in idle or getattr(settings, name) == v for name, v in FUSED.items())


def groups(trials: Sequence[Trial]) -> list[tuple[Trial, ...]]:
    """Trials that differ in nothing but `VARYING`, groups and members in the order of `trials`."""
    found: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in trials:
        shared = tuple(trial.parameters[name] for name in OF_A_TRIAL if name not in VARYING)
        found.setdefault((*shared, trial.settings.seed), []).append(trial)
    return [tuple(group) for group in found.values()]


def tiles(group: Sequence[Trial], parameters: int) -> list[Tile]:
    """Cut a group into the fewest tiles of at most `WIDEST` trials and `NUMBERS` weights, evenly.

    Several trials of more than `HALVED` weights together are two tiles at least.

    Args:
        group: one of `groups`.
        parameters: of the head of each trial; one that is not `fusable` is a tile of its own.
    """
    if not fusable(group[0].settings):
        return [(trial,) for trial in group]
    ordered = sorted(group, key=lambda trial: trial.settings.dropout)
    count = -(-len(ordered) // min(WIDEST, max(1, NUMBERS // parameters)))
    if len(ordered) * parameters > HALVED:
        count = max(count, min(2, len(ordered)))
    edges = [len(ordered) * number // count for number in range(count + 1)]
    return [tuple(ordered[a:b]) for a, b in pairwise(edges)]
