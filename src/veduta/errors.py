"""All errors that Veduta raises on purpose, in one class tree, and the wording that they share.

VedutaError            exit code 1   the command failed
  InputError           exit code 2   an input of the user is wrong; lists every fault found
    ArtifactError      exit code 2   a model file is damaged, unknown or from a newer version
    WeightsError       exit code 2   weights are missing, damaged or of another architecture
    EngineError        exit code 2   the requested inference engine is not installed
  DecodeError          (recorded)    one file is not a readable image; other files are unaffected

`VersionWarning` is a warning, not an error: a model may predict differently from the tested model.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Self


class VedutaError(Exception):
    """Base class of all errors; the command line catches this class and no other."""

    exit_code = 1


class InputError(VedutaError):
    """An input of the user cannot be used; `faults` holds one line for each fault.

    Each line states the rule, the received value and the cure.

    >>> error = InputError("lr is a positive number; got -1", "data: no such folder: 'x'")
    >>> error.faults
    ('lr is a positive number; got -1', "data: no such folder: 'x'")
    """

    exit_code = 2

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults

    @classmethod
    def unless_empty(cls, faults: Sequence[str]) -> Self | None:
        """Return the error for `faults`, None without faults: `if error := ...: raise error`."""
        return cls(*faults) if faults else None


class ArtifactError(InputError):
    """A model directory is damaged, is not a model, or was written by a newer version."""


class WeightsError(InputError):
    """Weights are missing, damaged, or belong to another architecture."""


class EngineError(InputError):
    """The requested inference engine is not installed."""


class VersionWarning(UserWarning):
    """A model was trained with another version of a library that can change its predictions.

    `warnings.simplefilter("error", VersionWarning)` rejects such a model instead.
    """


class DecodeError(VedutaError):
    """One file is not an image that Veduta can read.

    Attributes:
        problem: a short fixed term for tables (`unreadable`, `empty`, `too large`, ...).
        detail: a sentence for the user.
    """

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return the cure for an unknown name: the closest known name, or all known names.

    >>> suggest_name("wieght_decay", ["lr", "weight_decay"])
    "did you mean 'weight_decay'?"
    """
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def describe_unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not in a registry.

    >>> describe_unknown_name("optimizer", "adan", ["adam", "sgd"])
    "no optimizer is called 'adan'; did you mean 'adam'?"
    """
    return f"no {kind} is called {name!r}; {suggest_name(name, known)}"


def describe_os_error(error: OSError) -> str:
    """Return the reason of an operating system error without its error number and path.

    >>> describe_os_error(FileNotFoundError(2, "No such file or directory", "x.png"))
    'No such file or directory'
    """
    return error.strerror or str(error)
