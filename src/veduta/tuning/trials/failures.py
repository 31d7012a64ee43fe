"""Why trials fail: the cause as one word, and the message for people."""

import traceback
from pathlib import Path
from typing import Literal, TypeAlias, final

from veduta.errors import VedutaError
from veduta.runtime.memory import is_out_of_memory
from veduta.training.step import NotFiniteError

FailureCause: TypeAlias = Literal["diverged", "memory", "hung", "raised", "crashed"]

PERMANENT_CAUSES: frozenset[FailureCause] = frozenset({"diverged", "crashed"})
"""Causes that would occur again; a resumed run tries trials with other causes again."""


@final
class HungError(VedutaError):
    """A training was given up because it made no step for a long time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"a step must be made at least every {seconds:g} s; none was: raise --hang-seconds "
            "where steps take that long"
        )


def find_failure_cause(error: BaseException) -> FailureCause:
    """Return the cause of a failure."""
    if isinstance(error, NotFiniteError):
        return "diverged"
    if isinstance(error, HungError):
        return "hung"
    return "memory" if is_out_of_memory(error) else "raised"


def describe_failure(error: BaseException) -> str:
    """Return the message of a failure on one line; an unexpected error includes its location.

    >>> describe_failure(MemoryError("too large"))
    'out of memory: too large'
    """
    message = " ".join(str(error).split())
    cause = find_failure_cause(error)
    if cause == "memory":
        return f"out of memory: {message}" if message else "out of memory"
    if cause != "raised":
        return message
    frames = traceback.extract_tb(error.__traceback__)
    location = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if message else ''}{message}{location}"


def build_failure_limit_error(count: int, reason: str) -> VedutaError:
    """Return the error of a search that ends because `count` trainings in a row failed."""
    return VedutaError(
        f"a search stops when {count} trainings in a row fail (max_failures={count}); the last "
        f"failure is: {reason}: remove its cause and continue with --resume, if need be with a "
        "higher --max-failures"
    )
