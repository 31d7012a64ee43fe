"""Run the checks of an equation: each computes something by two ways, now."""

from typing import NamedTuple

from veduta.foundations import checks_dense, checks_images, checks_improving, checks_losses
from veduta.foundations.oracles import Check

CHECKS: dict[str, tuple[Check, ...]] = {
    **checks_dense.CHECKS,
    **checks_losses.CHECKS,
    **checks_images.CHECKS,
    **checks_improving.CHECKS,
}
"""From an equation's number, as `equations.INDEX` spells it, to what is claimed of it."""


class Outcome(NamedTuple):
    """What came of one check."""

    claim: str
    error: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the two ways agree."""
        return self.error <= self.limit


def run(number: str) -> list[Outcome]:
    """Every check of one equation.

    >>> [outcome.passed for outcome in run("14")]
    [True]
    """
    return [Outcome(check.claim, check.error(), check.limit) for check in CHECKS[number]]
