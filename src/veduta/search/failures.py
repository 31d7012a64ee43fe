"""Why trials fail: the word that the journal keeps, and the sentence that people read.

A trial whose numbers ceased to be finite is a finding: it fails again whenever it is run, and a
grid may well have many of them. What failed for memory, for time or by a fault of the program may
go well another time: it is run again where the run goes on, and too many of these in a row stop it.
One at which the process crashed was run again already, see `experiment.crashed`.
"""

import traceback
from pathlib import Path
from typing import final

from veduta.errors import VedutaError
from veduta.runtime.memory import ran_out
from veduta.training.step import NotFiniteError

DIVERGED, MEMORY, HUNG, RAISED, CRASHED = "diverged", "memory", "hung", "raised", "crashed"
LASTING = {DIVERGED, CRASHED}
"""Causes of failures that would come again."""


@final
class HungError(VedutaError):
    """A training made no step for so long that it was given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"a step must be made at least every {seconds:g} s; none was: raise --hang-seconds "
            "where steps take that long"
        )


def cause_of(error: BaseException) -> str:
    """The word for what went wrong with a trial."""
    if isinstance(error, NotFiniteError):
        return DIVERGED
    if isinstance(error, HungError):
        return HUNG
    return MEMORY if ran_out(error) else RAISED


def reason_of(error: BaseException) -> str:
    """The sentence for it, in one line; with the place in the program where it says nothing else.

    >>> reason_of(MemoryError("too large"))
    'out of memory: too large'
    """
    said = " ".join(str(error).split())
    cause = cause_of(error)
    if cause == MEMORY:
        return f"out of memory: {said}" if said else "out of memory"
    if cause != RAISED:
        return said
    steps = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(steps[-1].filename).name}, line {steps[-1].lineno})" if steps else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{place}"


def too_many(count: int, reason: str) -> VedutaError:
    """The error of a search that is stopped."""
    return VedutaError(
        f"a search stops where {count} trainings in a row fail (max_failures={count}); the last "
        f"one: {reason}: see to that and go on with --resume, where --max-failures may be higher"
    )
