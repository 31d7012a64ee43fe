r"""Learning-rate schedules by name, and the linear warm-up before them.

A schedule is a pure function of the step, so a trial has the same learning rates if it is resumed,
or trained together with trials of other lengths.
"""

import math
from collections.abc import Callable

from veduta.config.settings import Settings

Schedule = Callable[[float], float]
"""Maps a step, from 0, to the factor of the learning rate."""

ONE_CYCLE_RISE = 0.3  # fraction of the steps with increasing learning rate
ONE_CYCLE_START = 1 / 25  # first factor
ONE_CYCLE_END = 1 / 25 / 1e4  # last factor


def make_linear(start: float, end: float, steps: float) -> Schedule:
    """Make a schedule that is linear from `start` to `end` and constant from step `steps` on.

    >>> [make_linear(0.0, 1.0, 4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return lambda step: start + (end - start) * min(step / steps, 1)


def make_half_cosine(start: float, end: float, steps: float) -> Schedule:
    r"""Make a schedule that is half a cosine from `start` to `end`, constant from step `steps` on.

    At step t of n = `steps` it is end + (start - end) (1 + \cos(\pi t / n)) / 2.

    >>> [round(make_half_cosine(1, 0, 4)(step), 3) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """
    return lambda step: end + (start - end) / 2 * (1 + math.cos(math.pi * min(step / steps, 1)))


def join_schedules(first: Schedule, second: Schedule, boundary: float) -> Schedule:
    """Use `first` before the step `boundary`, then `second`, which counts its steps from there."""
    return lambda step: first(step) if step < boundary else second(step - boundary)


def make_constant(_: int) -> Schedule:
    """Make a schedule with a factor of 1 at all steps."""
    return lambda _: 1.0


def make_step_decay(steps: int) -> Schedule:
    """Make a schedule of 1, then 0.1 from half of the steps on, then 0.01 from three quarters on.

    >>> [make_step_decay(8)(step) for step in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    return lambda step: 0.01 if step >= 0.75 * steps else 0.1 if step >= 0.5 * steps else 1.0


def make_cosine(steps: int) -> Schedule:
    """Make a schedule that is half a cosine from 1 at step 0 to 0 at step `steps`.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    without restarts.
    """
    return make_half_cosine(1.0, 0.0, steps)


def make_one_cycle(steps: int) -> Schedule:
    """Make a schedule that rises from 1/25 to 1 in 30 % of the steps, then falls to 1/250,000.

    Momentum is not cycled.

    Source: Smith and Topin, "Super-convergence", 2018, as implemented by torch's OneCycleLR.
    """
    peak = ONE_CYCLE_RISE * steps - 1
    rise = make_half_cosine(ONE_CYCLE_START, 1.0, peak)
    return join_schedules(rise, make_half_cosine(1.0, ONE_CYCLE_END, steps - 1 - peak), peak)


SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "constant": make_constant,
    "cosine": make_cosine,
    "one_cycle": make_one_cycle,
    "step": make_step_decay,
}
"""Functions from the number of steps to the schedule, by name."""


def is_constant(settings: Settings) -> bool:
    """Return whether all steps have the same learning rate."""
    return settings.schedule == "constant" and not settings.warmup


def build_schedule(settings: Settings, steps_per_epoch: int) -> Schedule:
    """Build the schedule of a complete training with `settings`.

    The first `freeze_epochs` epochs, which train only the head, have a constant factor of 1. They
    are followed by `warmup` epochs, rounded to whole steps, in which the factor rises linearly from
    above 0 to the first factor of the named schedule. The named schedule covers the remaining
    steps, at least one.

    Args:
        settings: settings of the trial; the schedule covers `epochs` even if training stops early.
        steps_per_epoch: number of optimizer steps of one epoch.
    """
    head_steps = settings.freeze_epochs * steps_per_epoch
    total = settings.epochs * steps_per_epoch - head_steps
    warmup_steps = min(round(settings.warmup * steps_per_epoch), total - 1)
    schedule = SCHEDULES[settings.schedule](total - warmup_steps)
    if warmup_steps:
        end = schedule(0)
        warmup = make_linear(end / (warmup_steps + 1), end, warmup_steps)
        schedule = join_schedules(warmup, schedule, warmup_steps)
    if head_steps:
        schedule = join_schedules(make_constant(head_steps), schedule, head_steps)
    return schedule


def find_schedule_errors(settings: Settings) -> list[str]:
    """Return error messages for invalid combinations of warmup, freeze_epochs and epochs."""
    warmup, head_epochs, epochs = settings.warmup, settings.freeze_epochs, settings.epochs
    if head_epochs >= epochs:
        received = f"got freeze_epochs {head_epochs} and epochs {epochs}"
        cure = "decrease freeze_epochs or increase epochs"
        return [f"freeze_epochs must be less than epochs; {received}: {cure}"]
    if warmup >= epochs - head_epochs:
        rule = "warmup must be less than epochs"
        received = f"got warmup {warmup:g} and epochs {epochs}"
        if head_epochs:
            rule += " minus freeze_epochs"
            received += f" and freeze_epochs {head_epochs}"
        return [f"{rule}; {received}: decrease warmup or increase epochs"]
    return []
