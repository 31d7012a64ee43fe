"""Every error Veduta raises on purpose, in one tree, so that one `except` can turn it into a line.

VedutaError            exit code 1   the work failed
  InputError           exit code 2   something the user gave is wrong; lists every fault found
    ArtefactError      exit code 2   a model file is damaged, foreign or from another version
    WeightsError       exit code 2   weights are missing, damaged or of another architecture
    EngineError        exit code 2   the inference engine asked for is not installed
  DecodeError          (recorded)    one file is not an image we read; never fatal by itself

`VersionWarning` is a warning, not an error: the answers of a model may differ from the tested ones.
"""

from collections.abc import Sequence
from typing import Self


class VedutaError(Exception):
    """Root of the tree: the command line catches this class and no other."""

    exit_code = 1


class InputError(VedutaError):
    """What the user gave cannot be used; `faults` holds one line for each thing that is wrong.

    Each line says the rule, what came, and the cure.

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
        """The error for `faults`, or None where there are none: `if error := ...: raise error`."""
        return cls(*faults) if faults else None


class ArtefactError(InputError):
    """A model directory is damaged, foreign, or written by a newer version."""


class WeightsError(InputError):
    """Weights are missing, damaged, or belong to another architecture."""


class EngineError(InputError):
    """The inference engine asked for is not installed here."""


class VersionWarning(UserWarning):
    """A model was trained with another version of a library that can change its answers.

    `warnings.simplefilter("error", VersionWarning)` refuses such a model instead.
    """


class DecodeError(VedutaError):
    """One file is not an image that Veduta reads.

    `problem` is a short stable word for tables (`unreadable`, `empty`, `too large`, ...), `detail`
    a sentence for people.
    """

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem
        self.detail = detail
