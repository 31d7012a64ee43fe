r"""Learning rates that change on the way: schedules by name, and a linear warm-up before them.

A schedule is a function of the step alone, so a trial that goes on after an interruption, or runs
beside trials of other lengths, sees what it sees alone. Big ones are joined from small ones.
"""

import math
from collections.abc import Callable

from veduta.config.settings import Settings

Schedule = Callable[[float], float]
"""Step, from 0 -> the factor that multiplies the learning rate."""

RISE, LOW, LAST = 0.3, 1 / 25, 1 / 25 / 1e4  # of one_cycle: share of its steps, start, end


def linear(start: float, end: float, steps: float) -> Schedule:
    """A straight line from `start` to `end`, which it keeps from `steps` on.

    >>> [linear(0.0, 1.0, 4)(step) for step in (0, 1, 4, 9)]
    [0.0, 0.25, 1.0, 1.0]
    """
    return lambda step: start + (end - start) * min(step / steps, 1)


def half_cosine(start: float, end: float, steps: float) -> Schedule:
    r"""Half a cosine from s = `start` to e = `end`, which it keeps: e + (s - e) (1 + cos) / 2.

    The cosine is that of \pi t / n, at step t of n = `steps`.

    >>> [round(half_cosine(1, 0, 4)(step), 3) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.854, 0.5, 0.0, 0.0]
    """
    return lambda step: end + (start - end) / 2 * (1 + math.cos(math.pi * min(step / steps, 1)))


def joined(first: Schedule, then: Schedule, at: float) -> Schedule:
    """`first` up to the step `at`, from there `then`, which counts its steps from there."""
    return lambda step: first(step) if step < at else then(step - at)


def constant(_: int) -> Schedule:
    """1 throughout."""
    return lambda _: 1.0


def step_decay(steps: int) -> Schedule:
    """1, then 0.1 from half of the steps on, then 0.01 from three quarters on.

    >>> [step_decay(8)(step) for step in (0, 3, 4, 6)]
    [1.0, 1.0, 0.1, 0.01]
    """
    return lambda step: 0.01 if step >= 0.75 * steps else 0.1 if step >= 0.5 * steps else 1.0


def cosine(steps: int) -> Schedule:
    """Half a cosine from 1 to 0, which the step after the last would have.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017,
    without restarts.
    """
    return half_cosine(1.0, 0.0, steps)


def one_cycle(steps: int) -> Schedule:
    """Up from 1/25 to 1 over 30 % of the steps, then down to 1/250,000; momentum is not cycled.

    Source: Smith and Topin, "Super-convergence", 2018, in the form of torch's OneCycleLR.
    """
    top = RISE * steps - 1
    return joined(half_cosine(LOW, 1.0, top), half_cosine(1.0, LAST, steps - 1 - top), top)


SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "one_cycle": one_cycle,
    "step": step_decay,
}
"""By name: the number of steps -> the schedule."""


def is_constant(settings: Settings) -> bool:
    """Whether every step has the learning rate itself."""
    return settings.schedule == "constant" and not settings.warmup


def schedule_of(settings: Settings, steps: int) -> Schedule:
    """The schedule of a whole training under `settings`.

    The epochs that train the head alone (`freeze_epochs`) have the learning rate itself; the
    schedule is that of the epochs after them, in which stages behind it train too. A warm-up of
    `settings.warmup` epochs, in whole steps, rises in a straight line, from its first step on above
    0, to where the schedule proper starts; that covers the steps after it, one at least.

    Args:
        settings: of the trial; `epochs` is how long the schedule is, wherever training stops.
        steps: of one epoch.
    """
    alone = settings.freeze_epochs * steps
    total = settings.epochs * steps - alone
    warm = min(round(settings.warmup * steps), total - 1)
    then = SCHEDULES[settings.schedule](total - warm)
    if warm:
        start = then(0)
        then = joined(linear(start / (warm + 1), start, warm), then, warm)
    return joined(constant(alone), then, alone) if alone else then


def schedule_faults(settings: Settings) -> list[str]:
    """What warm-up, epochs of the head alone, and epochs must not be together."""
    warmup, alone, epochs = settings.warmup, settings.freeze_epochs, settings.epochs
    faults = []
    if alone >= epochs:
        came = f"got freeze_epochs {alone} and epochs {epochs}: lower the one or raise the other"
        faults.append(f"freeze_epochs must be less than epochs; {came}")
    elif warmup >= epochs - alone:
        besides = f", {alone} of them of the head alone" if alone else ""
        came = f"got warmup {warmup:g} and epochs {epochs}{besides}"
        faults.append(f"warmup must be less than epochs; {came}: lower the one or raise the other")
    return faults
